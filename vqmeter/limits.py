"""Limits on scores: is one crossed, and can it still come out otherwise?

While n of N frames are scored, the rest lies between the ends of the score's scale. Every statistic but the deviation
grows with each of its values, so the full run's lies between that of the values so far with the rest at the low end and
with the rest at the high end. Where both lie on the same side of a limit, the full run does.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from vqmeter.report import Result, Series

_UNBOUNDED = ("std",)


@dataclass(frozen=True)
class Limit:
    """A bound on `KEY[.STAT]`: crossed below it, or above it where `over`."""

    key: str
    bound: float
    over: bool = False

    def __str__(self) -> str:
        return f"{self.key} {'<=' if self.over else '>='} {self.bound:g}"

    @property
    def infinite(self) -> float:
        """What an identical frame counts as in a mean, at least: good enough for the limit, and beyond any over it."""
        return math.inf if self.over else self.bound

    def crossed_by(self, value: float) -> bool:
        """Whether `value` is on the wrong side; what is no number is."""
        return not value <= self.bound if self.over else not value >= self.bound

    def decided(self, series: Series, frames: int) -> bool:
        """Whether the verdict over `frames` frames is certain from the values of `series`, the first of them."""
        stat = self.key.partition(".")[2] or "score"
        if stat in _UNBOUNDED or (stat == "mse_pooled" and not series.scale.squared_error):
            return False
        scale = series.scale
        low = _filled(series, -math.inf if scale.low is None else scale.low, frames)
        high = _filled(series, math.inf if scale.high is None else scale.high, frames)
        ends = [one.statistic(stat, self.infinite) for one in (low, high)]
        return not any(map(math.isnan, ends)) and self.crossed_by(ends[0]) == self.crossed_by(ends[1])


def _filled(series: Series, end: float, frames: int) -> Series:
    """`series` with `end` for each frame to come."""
    return Series(series.scale, series.cap, series.frames, series.values + array("d", [end]) * (frames - len(series.values)))


def decided(limits: Iterable[Limit], result: Result, frames: int) -> bool:
    """Whether the verdict of every limit is certain, `result` holding the first of `frames` frames."""
    named = [(limit, result.series.get(limit.key.partition(".")[0])) for limit in limits]
    return all(series is not None and limit.decided(series, frames) for limit, series in named)
