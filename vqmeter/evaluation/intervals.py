"""Bootstrap confidence intervals: percentiles over resamples of items, or of whole contents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.evaluation.correlation import Agreement, agreement, srocc

Array = NDArray[np.float64]
LEVEL = 0.95


def resamples(groups: Sequence[str] | None, n: int, repeats: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Item numbers drawn with replacement, by item, or by group where `groups` has several items in one."""
    rng = np.random.default_rng([seed, 0xB007])
    if not groups or len(set(groups)) == n:
        for _ in range(repeats):
            yield rng.integers(0, n, n)
        return
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    units = [np.array(places, np.int64) for places in members.values()]
    for _ in range(repeats):
        yield np.concatenate([units[k] for k in rng.integers(0, len(units), len(units))])


def bootstrap(x: Array, y: Array, whole: Agreement, *, sign: int = 1, groups: Sequence[str] | None = None,
              repeats: int = 1000, seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """95 % intervals of every figure of `whole`, as `{figure: [low, high]}` with how they were found.

    A curve is fitted anew in every resample, from the parameters of the whole; `failed_fits` counts those that failed.
    """
    orders = [fit.order for fit in whole.fits]
    rows = [agreement(x[i], y[i], orders, sign=sign, starts=whole.fits) for i in resamples(groups, len(x), repeats, seed)]
    figures = {name: interval([row.values()[name] for row in rows]) for name in whole.values()}
    by = "contents" if groups and len(set(groups)) < len(x) else "items"
    failed = sum(fit.error is not None for row in rows for fit in row.fits)
    return {"level": LEVEL, "repeats": repeats, "by": by, "failed_fits": failed, **figures}


def bootstrap_difference(a: Array, b: Array, y: Array, *, signs: tuple[int, int] = (1, 1), groups: Sequence[str] | None = None,
                         repeats: int = 1000, seed: int = 0) -> dict[str, Any]:  # fmt: skip
    """The difference of two models' SROCC with its 95 % interval, both measured on the same resamples."""

    def gap(i: NDArray[np.int64] | slice) -> float:
        return srocc(signs[0] * a[i], y[i]) - srocc(signs[1] * b[i], y[i])

    low, high = interval([gap(i) for i in resamples(groups, len(y), repeats, seed)])
    return {"difference": gap(slice(None)), "low": low, "high": high, "level": LEVEL, "repeats": repeats}


def interval(values: Sequence[float]) -> list[float]:
    """The central 95 % of what is finite; NaN where nothing is."""
    found = np.array([v for v in values if math.isfinite(v)])
    if not len(found):
        return [math.nan, math.nan]
    return [float(v) for v in np.percentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])]
