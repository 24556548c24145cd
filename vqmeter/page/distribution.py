"""How often which score: a histogram and the share of frames at or below each value, as SVG and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vqmeter.page.entries import Entry
from vqmeter.page.markup import Html, join, table, tag
from vqmeter.writers.tables import shown

BINS = 24
_WIDTH, _HEIGHT = 366, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 350, 10, 172
_POINTS = 240
_LEVELS = (5, 25, 50, 75, 100)

Values = NDArray[np.float64]


def distribution(entries: Sequence[Entry], name: str, unit: str) -> Html:
    """Both charts of score `name`, of every clip that has it frame by frame, and their numbers; empty where none has."""
    found = [(entry, _values(entry, name)) for entry in entries if name in entry.result.series]
    found = [(entry, values) for entry, values in found if len(values)]
    finite = np.concatenate([values[np.isfinite(values)] for _, values in found] or [np.empty(0)])
    if not len(finite):
        return Html("")
    low, high = float(finite.min()), float(finite.max())
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    endless = sum(int(np.isinf(values).sum()) for _, values in found)
    note = f"; {endless} identical frame{'s lie' if endless > 1 else ' lies'} beyond the right edge" if endless else ""
    charts = [
        _figure(f"{name}, histogram: share of frames by score{note}", _histogram(found, edges), edges),
        _figure(f"{name}, CDF: share of frames at or below a score{note}", _cumulative(found, low, high), edges),
    ]
    numbers = tag("details", tag("summary", f"{name} as a table"), _table(found, name, unit, edges))
    return tag("div", tag("h3", name), tag("div", *charts, class_="pair"), numbers, class_="distribution", data_score=name)


def _values(entry: Entry, name: str) -> Values:
    values = entry.result.series[name].array
    return values[~np.isnan(values)]


def _histogram(found: Sequence[tuple[Entry, Values]], edges: Values) -> Html:
    shares = [_shares(values, edges) for _, values in found]
    top = max(float(share.max()) for share in shares) or 1.0
    step = _step(top, 4)
    top = math.ceil(top / step - 1e-9) * step
    outlines = []
    for (entry, _), share in zip(found, shares, strict=True):
        points: list[tuple[float, float]] = [(_LEFT, _BOTTOM)]
        for n, part in enumerate(share):
            y = _BOTTOM - (_BOTTOM - _TOP) * part / top
            points += [(_x(edges[n], edges), y), (_x(edges[n + 1], edges), y)]
        outlines.append(_line(entry, [*points, (_RIGHT, _BOTTOM)], "area"))
    marks = [k * step for k in range(round(top / step) + 1)]
    return join([*_levels(marks, top), *outlines])


def _cumulative(found: Sequence[tuple[Entry, Values]], low: float, high: float) -> Html:
    ends = np.array([low, high])
    lines = []
    for entry, values in found:
        ordered = np.sort(values)
        at = np.unique(np.linspace(0, len(ordered) - 1, min(_POINTS, len(ordered))).astype(int))
        points: list[tuple[float, float]] = []
        below = 0.0
        for index in at[np.isfinite(ordered[at])]:
            share = 100 * (index + 1) / len(ordered)
            x = _x(float(ordered[index]), ends)
            points += [(x, _level(below, 100)), (x, _level(share, 100))]
            below = share
        lines.append(_line(entry, [*points, (_RIGHT, _level(below, 100))], "line"))
    return join([*_levels(_LEVELS, 100), *lines])


def _line(entry: Entry, points: Sequence[tuple[float, float]], kind: str) -> Html:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", points=path, class_=f"{kind} c{entry.number % 8}", data_clip=entry.number)


def _levels(marks: Sequence[float], top: float) -> Iterator[Html]:
    for mark in marks:
        y = _level(mark, top)
        yield tag("line", x1=_LEFT, x2=_RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid")
        yield tag("text", f"{mark:g} %", x=_LEFT - 5, y=f"{y + 4:.1f}", text_anchor="end")


def _level(share: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share / top


def _x(value: float, edges: Values) -> float:
    return float(_LEFT + (_RIGHT - _LEFT) * (value - edges[0]) / (edges[-1] - edges[0]))


def _figure(title: str, drawn: Html, edges: Values) -> Html:
    low, high = float(edges[0]), float(edges[-1])
    step = _step(high - low, 4)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    labels = [tag("text", f"{k * step:.{decimals}f}", x=f"{_x(k * step, edges):.1f}", y=_BOTTOM + 17, text_anchor="middle")
              for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]  # fmt: skip
    drawing = tag("svg", drawn, *labels, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title)
    return tag("figure", drawing, tag("figcaption", title))


def _step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that `span` has at most about `count` steps."""
    power = 10.0 ** math.floor(math.log10(span / count))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= span / count * (1 - 1e-9))


def _shares(values: Values, edges: Values) -> Values:
    """Per cent of all values, infinite ones too, between each two edges."""
    counts = np.histogram(values[np.isfinite(values)], edges)[0]
    return np.asarray(100 * counts / len(values))


def _table(found: Sequence[tuple[Entry, Values]], name: str, unit: str, edges: Values) -> Html:
    shares = [_shares(values, edges) for _, values in found]
    head: list[object] = [f"{name} {unit}".strip()]
    for entry, _ in found:
        head += [f"{entry.label}: here, %", f"{entry.label}: up to here, %"]
    rows = []
    for n in range(BINS):
        cells = [f"{part:.2f}" for share in shares for part in (share[n], share[: n + 1].sum())]
        rows.append([f"{shown(float(edges[n]))} to {shown(float(edges[n + 1]))}", *cells])
    return table(f"{name}: share of frames by score", head, rows)
