"""How well scores agree with labels: SROCC, KROCC, PLCC and RMSE, raw and after a logistic fit.

SROCC is Pearson's correlation of average ranks, KROCC Kendall's tau-b, RMSE the root of the mean squared error over all n
items. Ranks are always of the raw scores. A number that cannot be had (fewer than three items, all equal) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.evaluation.logistic import Fit, fit_logistic

Array = NDArray[np.float64]
MEASURES = ("srocc", "krocc", "plcc", "rmse")
FEWEST = 3


def pearson(x: Array, y: Array) -> float:
    """The linear correlation of two (N,) arrays; NaN where one is constant or infinite."""
    if len(x) < FEWEST or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return max(-1.0, min(1.0, float(x @ y) / scale)) if scale > 0 else math.nan


def srocc(x: Array, y: Array) -> float:
    """Spearman's rank correlation, average ranks for ties."""
    from scipy.stats import rankdata

    return pearson(rankdata(x), rankdata(y))


def krocc(x: Array, y: Array) -> float:
    """Kendall's tau-b."""
    from scipy.stats import kendalltau

    if len(x) < FEWEST or np.all(x == x[0]) or np.all(y == y[0]):
        return math.nan
    return float(kendalltau(x, y, method="asymptotic").statistic)


def rmse(x: Array, y: Array) -> float:
    """The root of the mean squared difference; NaN where a score is infinite."""
    return float(np.sqrt(np.mean(np.square(x - y)))) if len(x) and np.isfinite(x).all() else math.nan


@dataclass(frozen=True)
class Agreement:
    """The figures of one set of items; `fitted` holds PLCC and RMSE after each curve that could be fitted."""

    n: int
    srocc: float
    krocc: float
    plcc: float
    rmse: float
    fits: tuple[Fit, ...] = ()
    fitted: tuple[tuple[float, float], ...] = ()

    def values(self) -> dict[str, float]:
        """Every figure by name: `srocc`, ..., `plcc_logistic4`, `rmse_logistic4`."""
        table = {name: float(getattr(self, name)) for name in MEASURES}
        for fit, (plcc, error) in zip(self.fits, self.fitted, strict=True):
            table |= {f"plcc_logistic{fit.order}": plcc, f"rmse_logistic{fit.order}": error}
        return table

    def to_json(self) -> dict[str, Any]:
        curves = {f"logistic{fit.order}": {"parameters": list(fit.parameters), "evaluations": fit.evaluations,
                  "monotone": fit.monotone, "error": fit.error} for fit in self.fits}  # fmt: skip
        return {"n": self.n, **self.values(), "fits": curves}


def agreement(x: Array, y: Array, orders: Sequence[int] = (), *, sign: int = 1,
              starts: Sequence[Fit] | None = None) -> Agreement:  # fmt: skip
    """The figures of scores `x` against labels `y`, (N,) float64 both.

    `orders` are the curves to fit, `sign` is -1 where one of the two is better when lower and the other when higher, so
    that agreement is positive; `starts` are fits to begin from. RMSE is of the scores as they are.
    """
    turned = sign * x
    fits = tuple(fit_logistic(turned, y, order, starts[n] if starts else None) for n, order in enumerate(orders))
    fitted = []
    for fit in fits:
        curve = np.full(len(x), np.nan) if fit.error else fit(turned)
        fitted.append((pearson(curve, y), math.nan if fit.error else rmse(curve, y)))
    return Agreement(len(x), srocc(turned, y), krocc(turned, y), pearson(turned, y), rmse(x, y), fits, tuple(fitted))
