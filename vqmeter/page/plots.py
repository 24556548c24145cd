"""The curves as a picture for a paper or a slide: PNG or SVG by the ending, drawn by matplotlib (an extra)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from vqmeter.errors import InputError, OutputError, UsageError
from vqmeter.page import Look, chosen_scores
from vqmeter.page.entries import Entry, entries_of, has_rows, row_values, scale_of
from vqmeter.report import Report
from vqmeter.training import need

ENDINGS = (".png", ".svg")


def check_plots(paths: Sequence[str]) -> None:
    """Fail before the work where a plot cannot be drawn.

    Raises
        UsageError: an ending it does not know, or matplotlib is missing.
    """
    for path in paths:
        if not path.lower().endswith(ENDINGS):
            raise UsageError(f"{path}: a report ends in .html, {', '.join(ENDINGS)}")
        need("matplotlib", "plots", f"-o {path}")


def save_plot(reports: Sequence[Report], path: str, look: Look) -> None:
    """Draw a panel for every score that is given frame by frame, a curve for every clip, and the bytes of frames below.

    Raises
        UsageError: a score that no result has, or matplotlib is missing.
        InputError: no result has scores of frames.
        OutputError: the file cannot be written.
    """
    from vqmeter.writers import whole

    matplotlib = need("matplotlib", "plots", f"-o {path}")
    figures = need("matplotlib.figure", "plots", f"-o {path}")
    entries = entries_of(reports)
    names = [name for name in chosen_scores(entries, look) if any(has_rows(entry.result, name) for entry in entries)]
    if not names:
        raise InputError(f"{path}: no result holds scores of single frames, and there is nothing to draw")
    sized = [entry for entry in entries if any(size is not None for size in entry.result.columns["bytes"])]
    rows = len(names) + bool(sized)
    with matplotlib.rc_context({"svg.hashsalt": "vqmeter", "text.parse_math": False, "font.size": 9}):
        figure = figures.Figure(figsize=(10, 0.9 + 2.1 * rows), layout="constrained")
        panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        for name, axes in zip(names, panels, strict=False):
            _draw(axes, entries, name)
        if sized:
            _draw_bytes(panels[-1], sized)
        panels[-1].set_xlabel("frame")
        figure.suptitle(look.title)
        if len(entries) > 1:
            _legend(figure, entries)
        form = path.lower().rpartition(".")[2]
        try:
            with whole(path, f".{form}") as temporary, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph")  # a name in a script that the font does not have
                figure.savefig(temporary, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
        except ValueError as error:
            raise OutputError(f"{path}: {error}") from None


def _colour(entry: Entry) -> str:
    return f"C{entry.number % 10}"


def _draw(axes: Any, entries: Sequence[Entry], name: str) -> None:
    """Curves of one score; a frame that has none leaves no gap, one that is identical does."""
    scale = scale_of(entries, name)
    for entry in entries:
        numbers = entry.result.columns["n"]
        known = [(n, value) for n, value in zip(numbers, row_values(entry.result, name), strict=True) if value is not None]
        heights = [value if math.isfinite(value) else math.nan for _, value in known]
        axes.plot([n for n, _ in known], heights, color=_colour(entry), lw=1)
    axes.set_ylabel(f"{name} ({scale.unit})" if scale.unit else name)
    axes.grid(alpha=0.25)
    axes.margins(x=0.01)


def _draw_bytes(axes: Any, entries: Sequence[Entry]) -> None:
    for entry in entries:
        sizes = [math.nan if size is None else size for size in entry.result.columns["bytes"]]
        axes.plot(entry.result.columns["n"], sizes, color=_colour(entry), lw=0.8, drawstyle="steps-mid")
    axes.set_ylabel("bytes a frame")
    axes.grid(alpha=0.25)


def _legend(figure: Any, entries: Sequence[Entry]) -> None:
    """The names of the clips; matplotlib would hide one that begins with an underscore."""
    lines = need("matplotlib.lines", "plots", "a plot")
    marks = [lines.Line2D([], [], color=_colour(entry)) for entry in entries]
    figure.legend(marks, [f" {entry.label}" for entry in entries], loc="outside upper right", fontsize=8)
