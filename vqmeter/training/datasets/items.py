"""What a data set is: items with human scores, which way they count, and what is wrong with a copy of it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NAMED = 5


@dataclass(frozen=True)
class Item:
    """One rated picture or video.

    `group` is the content: items that share it never stand on both sides of a split. `size` and `rate` describe headless
    raw files, `columns` is the row of the label file where it has columns of its own.
    """

    path: str
    score: float
    reference: str | None = None
    group: str = ""
    type: str = ""
    level: int | None = None
    size: tuple[int, int] | None = None
    rate: float | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        """The value under a column of the label file, or of `group`, `type`, `level`, `reference`; None without one."""
        known = {"group": self.group, "type": self.type, "level": "" if self.level is None else str(self.level),
                 "reference": self.reference or ""}  # fmt: skip
        return self.columns.get(name) or known.get(name) or None


@dataclass(frozen=True)
class Dataset:
    """Items and their scale: `low` and `high` are the ends of the rating scale, not of the scores seen.

    `expected` is the published number of items; `root` is where media are; `notes` tell what was assumed.
    """

    name: str
    items: tuple[Item, ...]
    higher_is_better: bool = True
    low: float | None = None
    high: float | None = None
    unit: str = "MOS"
    expected: int | None = None
    root: str = ""
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str]:
        """The contents, in the order they first appear."""
        return list(dict.fromkeys(item.group for item in self.items))

    def name_of(self, path: str) -> str:
        """`path` beneath the root, with forward slashes."""
        inside = bool(self.root) and os.path.abspath(path).startswith(os.path.abspath(self.root) + os.sep)
        return (os.path.relpath(path, self.root) if inside else path).replace(os.sep, "/")


def problems(dataset: Dataset, media: bool = True, scores: bool = True) -> list[str]:
    """Everything wrong with this copy, a sentence each, to be read before anything is trained; [] when all is well.

    `media` False leaves out whether the files are there, for work on scores alone; `scores` False leaves out which items
    have none, where these may come from elsewhere.
    """
    items, found = dataset.items, []

    def tell(what: str, names: Iterable[str]) -> None:
        listed = list(dict.fromkeys(names))
        if listed:
            found.append(f"{dataset.name}: {len(listed)} {what}: {some(listed)}")

    if dataset.expected is not None and len(items) != dataset.expected:
        found.append(f"{dataset.name}: {len(items)} items where {dataset.expected} are expected")
    elif not items:
        found.append(f"{dataset.name}: no items")
    if scores:
        tell("without a score", (dataset.name_of(i.path) for i in items if not math.isfinite(i.score)))
    tell(f"with a score far outside {dataset.low}..{dataset.high}",
         (f"{dataset.name_of(i.path)} ({i.score:g})" for i in items if _outside(dataset, i.score)))  # fmt: skip
    tell("named more than once", (dataset.name_of(p) for p, n in Counter(i.path for i in items).items() if n > 1))
    if media:
        tell("missing files", (dataset.name_of(i.path) for i in items if not os.path.isfile(i.path)))
        references = dict.fromkeys(i.reference for i in items if i.reference)
        tell("missing references", (dataset.name_of(r) for r in references if not os.path.isfile(r)))
    values = {item.score for item in items if math.isfinite(item.score)}
    if len(items) > 1 and len(values) == 1:
        found.append(f"{dataset.name}: every score is {values.pop():g}; is this the right column?")
    return found


def _outside(dataset: Dataset, score: float) -> bool:
    """Realigned and z-scored labels go a little over the ends of their scale; another column goes far over."""
    if dataset.low is None or dataset.high is None:
        return False
    slack = 0.2 * (dataset.high - dataset.low)
    return score < dataset.low - slack or score > dataset.high + slack


def some(names: list[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
