"""An evaluation as a table for a person, and as a file of strict JSON."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqmeter.report import strict
from vqmeter.writers.tables import can_say

_TITLES = {"srocc": "SROCC", "krocc": "KROCC", "plcc": "PLCC", "rmse": "RMSE", "plcc_logistic4": "PLCC log-4",
           "rmse_logistic4": "RMSE log-4", "plcc_logistic5": "PLCC log-5", "rmse_logistic5": "RMSE log-5"}  # fmt: skip
_FEW = 10
Row = tuple[str, object, Mapping[str, float]]


def render_json(document: Mapping[str, Any]) -> str:
    return json.dumps(strict(document), allow_nan=False, indent=1) + "\n"


def render_table(document: Mapping[str, Any]) -> str:
    """A block a score: the whole, its interval, splits, columns, then what failed and how the other model compares."""
    return "\n".join(part for found in document["evaluations"] for part in _block(document, found))


def _block(document: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    n, labels = found["all"]["n"], document["labels"]
    turned = ", turned round (one is better when lower)" if found["flipped"] else ""
    yield f"{found['score']} against {labels['unit']} of {labels['name']}: {n} items, {found['groups']} contents{turned}"
    rows: list[Row] = [("all", n, found["all"])]
    if found["intervals"]:
        ends = {key: value for key, value in found["intervals"].items() if isinstance(value, list)}
        rows += [(f"95 % {side}", "", {key: value[k] for key, value in ends.items()}) for k, side in enumerate(("from", "to"))]
    if found["splits"]:
        figures = found["splits"]["figures"]
        count = max((f["splits"] for f in figures.values()), default=0)
        rows += [(f"{found['splits']['how']} {stat}", f"{count} splits" if stat == "median" else "",
                  {key: f[stat] for key, f in figures.items()}) for stat in ("median", "mean", "sd")]  # fmt: skip
    yield _table("", rows)
    if n <= _FEW:
        yield "".join(f"  {row['file']}: score {row['score']:.4f}, label {row['label']:.4f}\n" for row in found["items"])
    for name, part in found["by"].items():
        rows = [(value or "(none)", row["n"], row) for value, row in part["values"].items()]
        rows += [(f"[{stat}]", "", {k: f[stat] for k, f in part["summary"].items()}) for stat in ("median", "mean", "sd")]
        yield _table(name, rows)
    yield from _failures(found)
    if found["against"]:
        yield from _against(found["score"], found["against"])


def _failures(found: Mapping[str, Any]) -> Iterator[str]:
    """A line for every fit that failed and every curve that turns round."""
    for curve, fit in found["all"]["fits"].items():
        if fit["error"]:
            yield f"{curve}: the fit failed: {fit['error']}"
        elif not fit["monotone"]:
            yield f"{curve}: the fitted curve is not monotone over these scores"
    for name in ("intervals", "splits"):
        if found[name] and found[name]["failed_fits"]:
            where = "resamples" if name == "intervals" else "splits"
            yield f"{found[name]['failed_fits']} fits failed in {where}; left out there"
    for name, part in found["by"].items():
        failed = [value for value, row in part["values"].items() if any(fit["error"] for fit in row["fits"].values())]
        if failed:
            yield f"{name}: the fit failed for {', '.join(failed)}"


def _against(score: str, other: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n{score} (a) against {other['score']} (b), the {other['n']} items both have"
    for name in ("srocc", "plcc"):
        part = other[name]
        yield (f"  {_TITLES[name]}: a {_number(part['a'])}, b {_number(part['b'])}, between them {_number(part['between'])}; "
               f"Williams t({part['williams']['df']}) = {_number(part['williams']['t'])}, p = {_p(part['williams']['p'])}; "
               f"Steiger Z = {_number(part['steiger']['z'])}, p = {_p(part['steiger']['p'])}")  # fmt: skip
    if "bootstrap" in other:
        gap = other["bootstrap"]
        yield f"  SROCC a - b: {gap['difference']:+.4f}, 95 % from {gap['low']:+.4f} to {gap['high']:+.4f} (bootstrap)"
    if "wilcoxon" in other:
        rank = other["wilcoxon"]
        yield (f"  Wilcoxon signed ranks of SROCC over {rank['splits']} splits {rank['how']}: p = {_p(rank['p'])}, "
               f"a better in {rank['wins']} (splits overlap: p is too small)")  # fmt: skip


def _table(title: str, rows: Sequence[Row]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    keys = [key for key in _TITLES if any(key in row for _, _, row in rows)]
    table = Table(box=box.SIMPLE_HEAD if can_say("─", sys.stdout.encoding) else box.ASCII2, show_edge=False, pad_edge=False)
    table.add_column(title, no_wrap=True)
    for name in ("n", *(_TITLES[key] for key in keys)):
        table.add_column(name, justify="right", no_wrap=True)
    for name, count, row in rows:
        table.add_row(name, str(count), *(_number(row.get(key)) for key in keys))
    out = io.StringIO()
    Console(file=out, width=140, highlight=False, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"
