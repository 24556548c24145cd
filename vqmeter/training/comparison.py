"""A source's table made again: every variant trained on the same splits, our figures beside the published ones.

Every row and split is a run of its own in a folder beneath, kept as `figures.json` once it is done, so that a comparison
goes on where it stopped. The mean and the standard deviation (n - 1) over splits are told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqmeter.errors import UsageError
from vqmeter.metric import nearest
from vqmeter.report import strict
from vqmeter.training.cards import figures, per_reference
from vqmeter.training.data import Data
from vqmeter.training.recipes import Comparison, Recipe, with_options
from vqmeter.training.run import Run
from vqmeter.writers import write_whole

PUBLISHED_ONLY: Mapping[str, Any] = {"published": "only"}  # options of a row that the source has and no recipe makes


@dataclass(frozen=True)
class Row:
    """A variant: the figures of every split, and those of the source."""

    name: str
    splits: tuple[Mapping[str, float], ...]
    published: Mapping[str, float]

    def mean(self, column: str) -> tuple[float, float]:
        """Mean and standard deviation over splits; NaN where there is none."""
        values = np.array([row.get(column, math.nan) for row in self.splits])
        values = values[np.isfinite(values)]
        return (float(values.mean()) if len(values) else math.nan, float(values.std(ddof=1)) if len(values) > 1 else math.nan)


def named(recipe: Recipe, name: str) -> Comparison:
    """The comparison of a recipe called `name`.

    Raises
        UsageError: it has none of that name.
    """
    known = recipe.comparisons
    if name not in known:
        raise UsageError(f"no comparison '{name}'{nearest(name, known)} ({', '.join(known) or 'this recipe has none'})")
    return known[name]


def compare(recipe: Recipe, comparison: Comparison, parts: Sequence[Data], run: Run) -> list[Row]:
    """Train and judge every variant on every split.

    Raises
        UsageError: the data lack what a variant needs.
    """
    rows = []
    for name, options in comparison.rows.items():
        published = {column: value for (row, column), value in comparison.published.items() if row == name}
        own = options != PUBLISHED_ONLY
        variant = with_options(recipe, options) if own else recipe
        found = [_one(variant, data, run.inside(f"{_plain(name)}-{n}")) for n, data in enumerate(parts)] if own else []
        rows.append(Row(name, tuple(found), published))
    return rows


def _one(recipe: Recipe, data: Data, run: Run) -> dict[str, float]:
    """The figures of one variant on one split, made or read back."""
    kept = run.folder / "figures.json"
    if kept.exists():
        return {key: math.nan if value is None else float(value) for key, value in json.loads(kept.read_text("utf-8")).items()}
    trained = recipe.train(data, run)
    found = dict(trained.figures)
    items = data.test or data.val
    if len(items) >= 3 and all(math.isfinite(item.score) for item in items):
        raw = np.asarray(trained.predict(items), np.float64)
        found |= figures(raw, items, trained, data) | {"srocc_per_reference": per_reference(raw, items, trained, data)}
    run.folder.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps(strict(found)))
    return found


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def render(comparison: Comparison, rows: list[Row]) -> Iterator[str]:
    """The table as lines for a terminal: ours, and behind it what the source has."""
    n = max((len(row.splits) for row in rows), default=0)
    yield f"{comparison.title} ({comparison.source})"
    width = max(len(row.name) for row in rows)
    yield " " * width + "  " + "  ".join(f"{c:>28}" for c in comparison.columns)
    yield " " * width + "  " + "  ".join(f"{f'ours, {n} splits':>17} {'published':>10}" for _ in comparison.columns)
    for row in rows:
        cells = []
        for column in comparison.columns:
            mean, sd = row.mean(column)
            ours = "-" if math.isnan(mean) else f"{mean:.3f}" + ("" if math.isnan(sd) else f" ({sd:.3f})")
            cells.append(f"{ours:>17} {_figure(row.published.get(column)):>10}")
        yield f"{row.name:<{width}}  " + "  ".join(cells)
    yield f"On the real data: {comparison.real}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def to_json(comparison: Comparison, rows: list[Row]) -> dict[str, Any]:
    """The table as plain values."""
    columns = comparison.columns
    table = [
        {
            "name": row.name,
            "published": dict(row.published),
            "splits": [dict(split) for split in row.splits],
            "mean": {c: row.mean(c)[0] for c in columns},
            "sd": {c: row.mean(c)[1] for c in columns},
        }
        for row in rows
    ]
    said = {"title": comparison.title, "source": comparison.source, "real": comparison.real}
    return {**said, "columns": list(columns), "rows": table}
