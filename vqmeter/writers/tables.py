"""Rows and columns: CSV by frame, CSV of pooled scores, and the table a person reads."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from vqmeter.report import STATISTICS, Report, Result

_SHOWN = ("score", "min", "p5", "median", "max", "std")


def render_csv(report: Report) -> Iterator[str]:
    """One row a frame: `file,n,t,<scores>`; `inf` where a frame is identical, empty where a score has no value."""
    names = list(dict.fromkeys(name for result in report.results for name, s in result.series.items() if s.values))
    yield _row(["file", "n", "t", *names])
    for result in report.results:
        infinite = {name for name, series in result.series.items() if series.scale.decibels}
        for row in result.rows():
            cells = [_cell(row.get(name, ""), name in infinite) for name in names]
            yield _row([result.name, row["n"], row["t"], *cells])


def render_pooled_csv(report: Report) -> Iterator[str]:
    """One row a file and score: `file,name,score,mean,...`."""
    yield _row(["file", "name", *STATISTICS])
    for result in report.results:
        for name, values in result.pooled.items():
            yield _row([result.name, name, *(_cell(values.get(s, ""), True) for s in STATISTICS)])


def _cell(value: Any, infinite: bool) -> Any:
    return "inf" if value is None and infinite else "" if value is None else value


def _row(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def render_table(report: Report) -> Iterator[str]:
    """Pooled scores for a person: one row a score, one block a file."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False, color_system=None)
    for result in report.results:
        if not result.pooled:
            continue
        table = Table(title=Text(title_of(result)), title_justify="left", title_style="", pad_edge=False)
        table.add_column("score", no_wrap=True)
        for name in ("mean", *_SHOWN[1:]):
            table.add_column(name, justify="right", no_wrap=True)
        for name, values in result.pooled.items():
            table.add_row(name, *(shown(values.get(s)) for s in _SHOWN))
        console.print(table)
    yield out.getvalue()


def title_of(result: Result) -> str:
    """`dist.mp4 against ref.yuv, 300 frames of 1920x1080`."""
    dist, ref = result.inputs["distorted"], result.inputs.get("reference")
    against = f" against {ref['path']}" if ref else ""
    return f"{dist['path']}{against}, {len(result.columns['n'])} frames of {dist['width']}x{dist['height']}"


def shown(value: float | None) -> str:
    """A number as the table shows it: six significant digits, `inf`, or nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if abs(value) < 1 else f"{value:.4f}"
