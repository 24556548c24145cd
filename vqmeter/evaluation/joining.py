"""Scores beside labels, matched by file: the whole path where it fits, else as much of its end as does, then the stem."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vqmeter.evaluation.scores import ScoreTable
from vqmeter.training.datasets.items import Dataset, Item

_MEDIA = (".mp4", ".avi", ".yuv", ".y4m", ".mkv", ".mov", ".webm", ".264", ".265", ".hevc", ".bmp", ".png", ".jpg", ".jpeg",
          ".tif", ".tiff", ".webp", ".m4v", ".ts", ".mpg", ".wmv", ".raw")  # fmt: skip


@dataclass
class Pairs:
    """Items that have both a score and a label; what does not is named.

    `scores` and `labels` are (N,) float64. `failed` had a score that is no number, `unlabelled` a label that is none.
    """

    name: str
    items: list[Item]
    scores: NDArray[np.float64]
    labels: NDArray[np.float64]
    better: str | None = None
    no_score: list[str] = field(default_factory=list)
    no_label: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def join(table: ScoreTable, dataset: Dataset) -> Pairs:
    """The items of `dataset` with their scores."""
    pairs = Pairs(table.name, [], np.empty(0), np.empty(0), table.better)
    matched = _match(table, dataset, pairs)
    used = set(matched.values())
    scores = []
    for item in dataset.items:
        if id(item) not in matched:
            continue
        name, file = dataset.name_of(item.path), matched[id(item)]
        if math.isnan(table.values[file]):
            reason = table.failed.get(file)
            pairs.failed.append(f"{name} ({reason})" if reason else name)
        elif not math.isfinite(item.score):
            pairs.unlabelled.append(name)
        else:
            pairs.items.append(item)
            scores.append(table.values[file])
    doubtful = {_stem(name) for name in pairs.ambiguous}
    pairs.no_label = [file for file in table.values if file not in used and _stem(file) not in doubtful]
    pairs.scores = np.array(scores, np.float64)
    pairs.labels = np.array([item.score for item in pairs.items], np.float64)
    return pairs


def _match(table: ScoreTable, dataset: Dataset, pairs: Pairs) -> dict[int, str]:
    """Item -> its file in the table. A file that several items could mean goes to the one most like it, or to none.

    Where names repeat from folder to folder (jp2k/img1.bmp, jpeg/img1.bmp), the folder must be the same, if both tell it.
    """
    by_stem: dict[str, list[str]] = {}
    for file in table.values:
        by_stem.setdefault(_stem(file), []).append(file)
    stems = Counter(_stem(item.path) for item in dataset.items)
    repeat = any(n > 1 for n in stems.values()) or any(len(files) > 1 for files in by_stem.values())
    claims: dict[str, list[Item]] = {}
    for item in dataset.items:
        name = dataset.name_of(item.path)
        found = [file for file in by_stem.get(_stem(name), []) if not repeat or _same_folder(name, file)]
        found = _best(name, found)
        if len(found) == 1:
            claims.setdefault(found[0], []).append(item)
        else:
            (pairs.ambiguous if found else pairs.no_score).append(name)
    matched = {}
    for file, items in claims.items():
        names = {dataset.name_of(item.path): item for item in items}
        best = _best(file, list(names))
        if len(best) == 1 and len(names) == len(items):
            matched[id(names[best[0]])] = file
            pairs.no_score += [name for name in names if name != best[0]]
        else:
            pairs.ambiguous += names
    return matched


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").lower().split("/") if part not in ("", ".")][::-1]


def _stem(path: str) -> str:
    name = (_parts(path) or [""])[0]
    ending = next((e for e in _MEDIA if name.endswith(e)), "")
    return name.removesuffix(ending)


def _best(name: str, candidates: Sequence[str]) -> list[str]:
    """The candidates that share most with `name`: its file name with the ending, then folder by folder."""
    if len(candidates) < 2:
        return list(candidates)
    ranks = {file: _likeness(_parts(name), _parts(file)) for file in candidates}
    return [file for file in candidates if ranks[file] == max(ranks.values())]


def _same_folder(first: str, second: str) -> bool:
    ours, theirs = _parts(first), _parts(second)
    return len(ours) < 2 or len(theirs) < 2 or ours[1] == theirs[1]


def _likeness(ours: list[str], theirs: list[str]) -> tuple[int, int]:
    folders = 0
    for a, b in zip(ours[1:], theirs[1:], strict=False):
        if a != b:
            break
        folders += 1
    return folders, int(ours[0] == theirs[0])


def common(first: Pairs, second: Pairs) -> tuple[Pairs, Pairs]:
    """Both on the items that both have, in one order."""
    places = {id(item): n for n, item in enumerate(second.items)}
    both = [(n, places[id(item)]) for n, item in enumerate(first.items) if id(item) in places]
    return _take(first, [a for a, _ in both]), _take(second, [b for _, b in both])


def _take(pairs: Pairs, places: Iterable[int]) -> Pairs:
    chosen = np.array(list(places), np.int64)
    return Pairs(pairs.name, [pairs.items[n] for n in chosen], pairs.scores[chosen], pairs.labels[chosen], pairs.better)
