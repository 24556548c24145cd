"""Two curves compared: ladders made fit for interpolation, the deltas, and everything a careful reader should know of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.bdrate.curves import Curve
from vqmeter.errors import InputError
from vqmeter.training import need

#: Method -> the fewest points it takes.
METHODS = {"pchip": 2, "akima": 2, "cubic": 4}
USUAL = 4  # points of a ladder, by the common test conditions
_SAMPLES = 256
_APART = 50.0  # times; bitrates further apart than this are hardly in one unit

Values = NDArray[np.float64]
Fit = Callable[[Values], Values]


@dataclass(frozen=True)
class How:
    """The interpolation, whether only the upper convex hull counts, and the common share below which a delta is doubted."""

    method: str = "pchip"
    hull: bool = False
    min_overlap: float = 0.75


@dataclass(frozen=True)
class Ladder:
    """One score of one curve, ready to be interpolated: rates (N,) and qualities (N,) float64, by rising rate.

    No rate is there twice and no quality is. `sign` is -1 where lower is better; `qualities` are the score's own.
    """

    name: str
    score: str
    unit: str
    sign: int
    rates: Values
    qualities: Values
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def monotone(self) -> bool:
        return bool(np.all(np.diff(self.sign * self.qualities) > 0))


@dataclass
class Delta:
    """One score of TEST against ANCHOR; a delta that could not be had is None, and `errors` say why.

    `bd_rate` is in per cent, `bd_quality` in the score's unit; overlaps are shares of the whole span of both curves, of
    qualities for BD-rate and of log rates for BD-quality; ranges are what was averaged over, rates in bits a second.
    """

    anchor: str
    test: str
    score: str
    unit: str
    better: str
    method: str
    points: tuple[int, int]
    bd_rate: float | None = None
    bd_quality: float | None = None
    overlap_quality: float = 0.0
    overlap_rate: float = 0.0
    quality_range: tuple[float, float] | None = None
    rate_range: tuple[float, float] | None = None
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def deltas(curves: Sequence[Curve], anchor: Curve, how: How, lower: Sequence[str] = ()) -> tuple[list[Delta], list[Ladder]]:
    """Every score that the anchor and another curve both have, curve by curve; and the ladders they were made of.

    `lower` names scores that are better when lower, besides those whose report says so.

    Raises
        InputError: two curves without a score in common.
        UsageError: the library bjontegaard is not installed.
    """
    found: list[Delta] = []
    ladders: dict[tuple[str, str], Ladder] = {}
    for test in curves:
        if test is anchor:
            continue
        common = [score for score in anchor.scores if score in test.scores]
        if not common:
            raise InputError(f"{anchor.name} ({', '.join(anchor.scores) or 'no scores'}) and {test.name} "
                             f"({', '.join(test.scores) or 'no scores'}) have no score in common")  # fmt: skip
        for score in common:
            down = score in lower or "lower" in (anchor.better.get(score), test.better.get(score))
            try:
                for curve in (anchor, test):
                    ladders.setdefault((curve.name, score), ladder(curve, score, how, down))
                found.append(compare(ladders[anchor.name, score], ladders[test.name, score], how))
            except InputError as error:
                better = "lower" if down else "higher"
                counts = (len(anchor.points), len(test.points))
                found.append(Delta(anchor.name, test.name, score, "", better, how.method, counts, errors=[str(error)]))
    return found, list(ladders.values())


def ladder(curve: Curve, score: str, how: How, lower: bool | None = None) -> Ladder:
    """The points of `curve` that have `score`, ordered, each rate and each quality once.

    Raises
        InputError: a bitrate without a logarithm, or fewer points than the method takes.
    """
    lower = curve.better.get(score) == "lower" if lower is None else lower
    sign = -1 if lower else 1
    warnings: list[str] = []
    points = []
    for point in curve.points:
        value = point.scores.get(score, math.nan)
        if not point.rate > 0:
            raise InputError(f"{curve.name}: {point.name} has a bitrate of {point.rate:g}, which has no logarithm")
        if math.isfinite(value):
            points.append((point.rate, sign * value, point.name))
        else:
            warnings.append(f"{curve.name}: {point.name} has no finite {score} and does not count")
    points, dropped = _once(points)
    warnings += [f"{curve.name}: {score} of {text}" for text in dropped]
    notes = []
    if how.hull:
        kept = _upper_hull(points)
        notes = [f"{curve.name}: {score} of {point[2]} lies under the convex hull and does not count"
                 for point in points if point not in kept]  # fmt: skip
        points = kept
    warnings += _falls(curve.name, score, sign, points)
    if len(points) < METHODS[how.method]:
        instead = "; pchip takes fewer" if METHODS["pchip"] <= len(points) else ""
        first = f" ({warnings[0].removeprefix(f'{curve.name}: ')})" if warnings else ""
        raise InputError(f"{curve.name}: {len(points)} of {len(curve.points)} points count for {score}{first}, "
                         f"{how.method} takes {METHODS[how.method]} at least{instead}")  # fmt: skip
    if len(points) < USUAL:
        warnings.append(f"{curve.name}: {len(points)} points with {score}; {USUAL} are the fewest that tables are made of")
    rates, qualities = (np.array([point[k] for point in points], np.float64) for k in (0, 1))
    return Ladder(curve.name, score, curve.units.get(score, ""), sign, rates, sign * qualities, tuple(warnings), tuple(notes))


_Point = tuple[float, float, str]  # rate, quality (more is better), name


def _once(points: Sequence[_Point]) -> tuple[list[_Point], list[str]]:
    """By rising rate, with the best quality of each rate and the lowest rate of each quality; and what was left out."""
    kept: list[_Point] = []
    dropped = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        same = next((k for k in kept if k[0] == point[0] or k[1] == point[1]), None)
        if same is None:
            kept.append(point)
        else:
            what = "bitrate" if same[0] == point[0] else "quality"
            what = "bitrate and quality" if same[:2] == point[:2] else what
            dropped.append(f"{point[2]} does not count: the same {what} as {same[2]}")
    return kept, dropped


def _upper_hull(points: Sequence[_Point]) -> list[_Point]:
    """The points no mixture of two others beats: the upper convex hull over the rates as they are, as far as it rises."""
    hull: list[_Point] = []
    for point in points:
        while len(hull) > 1 and _left(hull[-2], hull[-1], point) >= 0:
            hull.pop()
        hull.append(point)
    best = max(range(len(hull)), key=lambda n: hull[n][1], default=-1)
    return hull[: best + 1]


def _left(a: _Point, b: _Point, c: _Point) -> float:
    """Above 0 where the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _falls(name: str, score: str, sign: int, points: Sequence[_Point]) -> list[str]:
    """A warning for every point that costs more bits than the one before it and is worse."""
    falls = [(a, b) for a, b in itertools.pairwise(points) if b[1] < a[1]]
    if sign > 0 and len(points) > 2 and len(falls) == len(points) - 1:
        return [f"{name}: {score} falls with every bit more; if lower is better, say --lower {score}"]
    return [f"{name}: {score} is worse at {b[2]} ({b[0] / 1000:,.6g} kbit/s, {sign * b[1]:.6g}) than at {a[2]} "
            f"({a[0] / 1000:,.6g} kbit/s, {sign * a[1]:.6g}); --hull leaves such points out" for a, b in falls]  # fmt: skip


def compare(anchor: Ladder, test: Ladder, how: How) -> Delta:
    """The deltas of one score between two ladders.

    Raises
        UsageError: the library bjontegaard is not installed.
    """
    library = need("bjontegaard", "bdrate", "bdrate")
    found = Delta(anchor.name, test.name, anchor.score, anchor.unit or test.unit, "lower" if anchor.sign < 0 else "higher",
                  how.method, (len(anchor.rates), len(test.rates)), warnings=[*anchor.warnings, *test.warnings])  # fmt: skip
    gap = float(np.median(test.rates) / np.median(anchor.rates))
    if max(gap, 1 / gap) > _APART:
        found.warnings.append(f"bitrates of {test.name} and {anchor.name} are {max(gap, 1 / gap):.0f} times apart; "
                              "are their units the same?")  # fmt: skip
    _compare_rates(library, anchor, test, how, found)
    _compare_qualities(library, anchor, test, how, found)
    return found


def _compare_rates(library: Any, anchor: Ladder, test: Ladder, how: How, found: Delta) -> None:
    """BD-rate: log rate over quality, in the order of quality."""
    (ra, qa), (rt, qt) = (_by_quality(one) for one in (anchor, test))
    low, high, found.overlap_quality = _common(qa, qt)
    if not high > low:
        found.errors.append(f"{found.score}: {test.name} ({_span(test.qualities)}) and {anchor.name} "
                            f"({_span(anchor.qualities)}) have no quality in common, so no BD-rate")  # fmt: skip
        return
    found.quality_range = (low, high) if anchor.sign > 0 else (-high, -low)
    value, *fits = library.bd_rate(ra, qa, rt, qt, method=how.method, require_matching_points=False, interpolators=True,
                                   min_overlap=0)  # fmt: skip
    found.bd_rate = float(value)
    _doubt(found, found.overlap_quality, how, f"of the span of {found.score}", "BD-rate")
    for one, fit, q in zip((anchor, test), fits, (qa, qt), strict=True):
        _check_turns(one, fit, np.linspace(max(low, q[0]), min(high, q[-1]), _SAMPLES), how, found)


def _compare_qualities(library: Any, anchor: Ladder, test: Ladder, how: How, found: Delta) -> None:
    """BD-quality: quality over log rate, in the order of rate."""
    low, high, found.overlap_rate = _common(np.log10(anchor.rates), np.log10(test.rates))
    if not high > low:
        found.errors.append(f"{found.score}: {test.name} ({_span(test.rates / 1000)} kbit/s) and {anchor.name} "
                            f"({_span(anchor.rates / 1000)} kbit/s) have no bitrate in common, so no BD-quality")  # fmt: skip
        return
    found.rate_range = (float(max(anchor.rates[0], test.rates[0])), float(min(anchor.rates[-1], test.rates[-1])))
    value = library.bd_psnr(anchor.rates, anchor.qualities, test.rates, test.qualities, method=how.method,
                            require_matching_points=False, min_overlap=0)  # fmt: skip
    found.bd_quality = float(value)
    _doubt(found, found.overlap_rate, how, "of the span of bitrates", "BD-quality")


def _by_quality(one: Ladder) -> tuple[Values, Values]:
    """Rates and qualities (more is better) by rising quality."""
    order = np.argsort(one.sign * one.qualities)
    return one.rates[order], (one.sign * one.qualities)[order]


def _common(a: Values, b: Values) -> tuple[float, float, float]:
    """The ends of what two spans have in common, and its share of what they cover together."""
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    whole = max(a.max(), b.max()) - min(a.min(), b.min())
    return float(low), float(high), float(max(high - low, 0) / whole) if whole > 0 else 0.0


def _span(values: Values) -> str:
    return f"{values.min():,.6g} to {values.max():,.6g}"


def _doubt(found: Delta, overlap: float, how: How, of_what: str, delta: str) -> None:
    if overlap < how.min_overlap:
        found.warnings.append(f"{found.test} and {found.anchor} have {100 * overlap:.0f} % {of_what} in common; "
                              f"{delta} speaks of that part alone")  # fmt: skip


def _check_turns(one: Ladder, fit: Fit, along: Values, how: How, found: Delta) -> None:
    """Warn where a curve through rising points falls between them."""
    steps = np.diff(fit(along))
    if one.monotone and steps.size and steps.min() < -1e-9:
        found.warnings.append(f"{one.name}: the {how.method} curve of {one.score} turns round between points; pchip does not")
