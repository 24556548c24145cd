"""Bjontegaard deltas as a table for a person, as CSV and strict JSON, and the curves as a picture."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vqmeter.bdrate.delta import Delta, Ladder
from vqmeter.errors import UsageError
from vqmeter.report import strict
from vqmeter.training import need
from vqmeter.writers import whole
from vqmeter.writers.tables import can_say

FORMS = ("table", "json", "csv")
PICTURES = (".png", ".svg")
_COLUMNS = ("anchor", "test", "score", "unit", "better", "method", "bd_rate_percent", "bd_quality", "overlap_quality",
            "overlap_rate", "quality_from", "quality_to", "rate_from", "rate_to", "points_anchor", "points_test")  # fmt: skip
_NO_NUMBER = "-"


def check_output(path: str) -> None:
    """Fail before the work where an output could not be made.

    Raises
        UsageError: an ending it does not know, or matplotlib is missing.
    """
    if path.lower().endswith(PICTURES):
        need("matplotlib", "plots", f"-o {path}")
    elif not path.lower().endswith((".json", ".csv")):
        raise UsageError(f"{path}: what form should this be? End the name in .json, .csv, {', '.join(PICTURES)}")


def render_json(document: Mapping[str, Any], found: Sequence[Delta], ladders: Sequence[Ladder]) -> str:
    """`document` with the deltas and the points they were made of; rates in bits a second."""
    curves = [{"name": one.name, "score": one.score, "unit": one.unit, "better": "lower" if one.sign < 0 else "higher",
               "rates": one.rates.tolist(), "qualities": one.qualities.tolist()} for one in ladders]  # fmt: skip
    whole_document = strict({**document, "deltas": [asdict(one) for one in found], "curves": curves})
    return json.dumps(whole_document, allow_nan=False, indent=1) + "\n"


def render_csv(found: Sequence[Delta]) -> str:
    """One row a test and score; rates in bits a second, overlaps as shares, empty where there is no number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in found:
        ends = (*(one.quality_range or ("", "")), *(one.rate_range or ("", "")))
        deltas = ["" if value is None else value for value in (one.bd_rate, one.bd_quality)]
        writer.writerow([one.anchor, one.test, one.score, one.unit, one.better, one.method, *deltas, one.overlap_quality,
                         one.overlap_rate, *ends, *one.points])  # fmt: skip
    return out.getvalue()


def render_table(found: Sequence[Delta]) -> str:
    """A block a test: its scores, both deltas, how much of both curves they speak of, and from where to where."""
    blocks = []
    for test in dict.fromkeys(one.test for one in found):
        own = [one for one in found if one.test == test]
        blocks.append(f"{test} against {own[0].anchor} ({own[0].method}); BD-rate below 0: fewer bits for the same quality\n"
                      + _table(own))  # fmt: skip
    return "\n".join(blocks)


def _table(found: Sequence[Delta]) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if can_say("─", sys.stdout.encoding) else box.ASCII2, show_edge=False, pad_edge=False)
    table.add_column("score", no_wrap=True)
    for name in ("BD-rate", "BD-quality", "common qualities", "common kbit/s", "points"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        score = f"{one.score} (lower is better)" if one.better == "lower" else one.score
        table.add_row(score, _signed(one.bd_rate, 2, "%"), _signed(one.bd_quality, 4, one.unit),
                      _range(one.quality_range, one.overlap_quality), _range(one.rate_range, one.overlap_rate, 1000),
                      "{} and {}".format(*one.points))  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=140, highlight=False, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().split("\n"))


def _signed(value: float | None, digits: int, unit: str) -> str:
    return _NO_NUMBER if value is None or math.isnan(value) else f"{value:+.{digits}f} {unit}".rstrip()


def _range(ends: tuple[float, float] | None, overlap: float, divisor: float = 1) -> str:
    if ends is None:
        return _NO_NUMBER
    return f"{ends[0] / divisor:.5g} to {ends[1] / divisor:.5g}, {100 * overlap:.0f} %"


def plot(path: str, found: Sequence[Delta], ladders: Sequence[Ladder], method: str) -> None:
    """Draw every score over the bitrate: the points, and the curves BD-quality was averaged along.

    Raises
        UsageError: matplotlib or bjontegaard is missing.
        OutputError: the file cannot be written.
    """
    matplotlib = need("matplotlib", "plots", f"-o {path}")
    scores = list(dict.fromkeys(one.score for one in ladders))
    across = min(3, max(1, len(scores)))
    down = max(1, math.ceil(len(scores) / across))
    figure = need("matplotlib.figure", "plots", f"-o {path}").Figure(figsize=(5.2 * across, 4.2 * down), layout="constrained")
    for n, score in enumerate(scores):
        _draw(figure.add_subplot(down, across, n + 1), [one for one in ladders if one.score == score],
              [one for one in found if one.score == score], method)  # fmt: skip
    ending = os.path.splitext(path)[1]
    with matplotlib.rc_context({"svg.hashsalt": "vqmeter"}), whole(path, ending) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Date": None} if ending.lower() == ".svg" else None)


def _draw(axes: Any, ladders: Sequence[Ladder], found: Sequence[Delta], method: str) -> None:
    saved = {one.test: one.bd_rate for one in found}
    library, ticks = need("bjontegaard", "bdrate", "bdrate"), need("matplotlib.ticker", "plots", "a picture").LogFormatter
    for one in ladders:
        points = (one.rates, one.qualities)
        _, curve, _ = library.bd_psnr(*points, *points, method=method, interpolators=True)
        along = np.linspace(math.log10(one.rates[0]), math.log10(one.rates[-1]), 256)
        label = f"{one.name} ({_signed(saved[one.name], 2, '%')})" if one.name in saved else one.name
        (line,) = axes.plot(10**along / 1000, curve(along), label=_plain(label))
        axes.plot(one.rates / 1000, one.qualities, "o", color=line.get_color(), ms=4)
    unit = next((one.unit for one in ladders if one.unit), "")
    score = f"{ladders[0].score}, {unit}" if unit else ladders[0].score
    axes.set(xscale="log", xlabel="kbit/s", ylabel=_plain(score))
    for side in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        side(ticks(minor_thresholds=(2, 0.6)))
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)


def _plain(text: str) -> str:
    """`text` without what matplotlib reads as formulas or as a label to hide."""
    return " " * text.startswith("_") + text.replace("$", r"\$")
