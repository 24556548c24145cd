"""Rows and columns: CSV by frame, CSV of pooled scores, and the table a person reads."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from vqmeter.report import STATISTICS, Report, Result
from vqmeter.sources import name_of

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
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table

    lines = box.SIMPLE_HEAD if can_say("─", sys.stdout.encoding) else box.ASCII2
    out = io.StringIO()
    console = Console(file=out, width=120, highlight=False, color_system=None)
    for result in report.results:
        if not result.pooled:
            continue
        out.write(title_of(result) + "\n")
        table = Table(box=lines, show_edge=False, pad_edge=False)
        table.add_column("score", no_wrap=True)
        for name in ("mean", *_SHOWN[1:]):
            table.add_column(name, justify="right", no_wrap=True)
        for name, values in result.pooled.items():
            table.add_row(name, *(shown(values.get(s)) for s in _SHOWN))
        console.print(table)
        out.write("\n")
    yield "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def can_say(text: str, encoding: str | None) -> bool:
    """Whether a terminal or pipe of this encoding takes `text`."""
    try:
        return bool(text.encode(encoding or "ascii"))
    except (UnicodeEncodeError, LookupError):
        return False


def title_of(result: Result) -> str:
    """`dist.mp4 against ref.yuv, 300 frames of 1920x1080`."""
    dist, ref = result.inputs["distorted"], result.inputs.get("reference")
    against = f" against {name_of(ref['path'])}" if ref else ""
    count = len(result.columns["n"])
    return f"{name_of(dist['path'])}{against}, {count} frame{'s' * (count != 1)} of {dist['width']}x{dist['height']}"


def shown(value: float | None) -> str:
    """A number as the table shows it: four decimals, six where it is small, `inf`, or nothing."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.6f}" if abs(value) <= 1 else f"{value:.4f}"
