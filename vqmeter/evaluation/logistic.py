"""The logistic curves through which scores are mapped to labels before PLCC and RMSE.

4 parameters: f(x) = b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|)), monotone.
5 parameters: f(x) = b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5; it need not be monotone, and `Fit.monotone` tells.

Scores are standardised first; Levenberg-Marquardt runs from several starts, 10,000 evaluations in all, and the best
end counts. A fit that does not converge, or is no better than a constant, has failed: `Fit.error` says why, and there is
no quiet fall back. Sources: VQEG FR-TV Phase II (4), Sheikh et al. 2006, DOI 10.1109/TIP.2006.881959 (5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ORDERS = (4, 5)
EVALUATIONS = 10_000


@dataclass(frozen=True)
class Fit:
    """A fitted curve; `parameters` are in the units of the scores, empty where `error` says why there are none."""

    order: int
    parameters: tuple[float, ...] = ()
    evaluations: int = 0
    monotone: bool | None = None
    error: str | None = None

    def __call__(self, x: Array) -> Array:
        """The curve at `x`, (N,) float64."""
        return _CURVES[self.order](np.asarray(self.parameters), x)


def fit_logistic(x: Array, y: Array, order: int, start: Fit | None = None) -> Fit:
    """The curve of `order` 4 or 5 that takes scores `x` nearest to labels `y`, (N,) float64 both.

    `start` is a fit of similar points to begin from instead of the usual starts.
    """
    if len(x) <= order:
        return Fit(order, error=f"{len(x)} points are too few for {order} parameters")
    if not np.isfinite(x).all():
        return Fit(order, error=f"{int((~np.isfinite(x)).sum())} scores are infinite")
    mean, spread = float(x.mean()), float(x.std())
    if spread == 0 or y.std() == 0:
        return Fit(order, error="all scores are equal" if spread == 0 else "all labels are equal")
    z = (x - mean) / spread
    starts = _starts(z, y, order) if start is None or start.error else [_standardised(start, mean, spread)]
    best, cost, used, reason = None, math.inf, 0, "no start converged"
    for guess in starts:
        found, error, count, why = _minimise(z, y, order, guess, EVALUATIONS // len(starts))
        used += count
        if found is not None and error < cost:
            best, cost = found, error
        reason = why or reason
    if best is None:
        return Fit(order, evaluations=used, error=reason)
    if cost >= float(np.square(y - y.mean()).sum()) * (1 - 1e-12):
        return Fit(order, evaluations=used, error="no better than a constant")
    steps = np.diff(_CURVES[order](best, np.linspace(z.min(), z.max(), 512)))
    monotone = bool((steps >= -1e-12).all() or (steps <= 1e-12).all())
    return Fit(order, _in_units(best, order, mean, spread), used, monotone)


def _minimise(z: Array, y: Array, order: int, guess: Sequence[float], budget: int) -> tuple[Array | None, float, int, str]:
    """One run: parameters (None where it failed), squared error, evaluations, and why it failed."""
    from scipy.optimize import least_squares

    curve, slope = _CURVES[order], _SLOPES[order]
    try:
        found = least_squares(lambda b: curve(b, z) - y, guess, lambda b: slope(b, z), method="lm", ftol=1e-7, max_nfev=budget)
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        return None, math.inf, 0, str(error)
    if not found.success:
        return None, math.inf, int(found.nfev), f"no convergence in {budget} evaluations"
    if not np.isfinite(found.x).all():
        return None, math.inf, int(found.nfev), "the parameters ran off to infinity"
    return found.x, 2 * float(found.cost), int(found.nfev), ""


def _starts(z: Array, y: Array, order: int) -> list[tuple[float, ...]]:
    """Where to begin: the published initial values, turned round where scores fall as labels rise, and wider ones."""
    rising = float(np.dot(z, y - y.mean())) >= 0
    high, low = (float(y.max()), float(y.min())) if rising else (float(y.min()), float(y.max()))
    if order == 4:
        middle = float(np.median(z))
        return [(high, low, 0.0, 0.25), (high, low, 0.0, 0.5), (high, low, middle, 1.0), (high, low, middle, 0.1),
                (2 * high - low, low, 1.0, 1.0), (high, 2 * low - high, -1.0, 1.0)]  # fmt: skip
    mean = float(y.mean())
    return [(float(y.max()), float(y.min()), 0.0, 0.1, 0.1), (10.0, 0.0, float(y.mean()), 0.1, 0.1),
            (high - low, 1.0, 0.0, 0.0, mean), (high - low, 4.0, float(np.median(z)), 0.0, mean),
            (high - low, 1.0, 0.0, (high - low) / 8, mean)]  # fmt: skip


def _four(b: Array, x: Array) -> Array:
    from scipy.special import expit

    return np.asarray(b[1] + (b[0] - b[1]) * expit((x - b[2]) / max(abs(b[3]), 1e-12)))


def _four_slope(b: Array, x: Array) -> Array:
    from scipy.special import expit

    width = max(abs(b[3]), 1e-12)
    s = expit((x - b[2]) / width)
    inner = (b[0] - b[1]) * s * (1 - s)
    return np.stack([s, 1 - s, -inner / width, -inner * (x - b[2]) / width**2 * (1 if b[3] >= 0 else -1)], axis=1)


def _five(b: Array, x: Array) -> Array:
    from scipy.special import expit

    return np.asarray(b[0] * (expit(b[1] * (x - b[2])) - 0.5) + b[3] * x + b[4])


def _five_slope(b: Array, x: Array) -> Array:
    from scipy.special import expit

    s = expit(b[1] * (x - b[2]))
    inner = b[0] * s * (1 - s)
    return np.stack([s - 0.5, inner * (x - b[2]), -inner * b[1], x, np.ones_like(x)], axis=1)


def _in_units(b: Array, order: int, mean: float, spread: float) -> tuple[float, ...]:
    """Parameters of standardised scores as those of the scores themselves."""
    if order == 4:
        return tuple(map(float, (b[0], b[1], mean + spread * b[2], spread * abs(b[3]))))
    return tuple(map(float, (b[0], b[1] / spread, mean + spread * b[2], b[3] / spread, b[4] - b[3] * mean / spread)))


def _standardised(fit: Fit, mean: float, spread: float) -> tuple[float, ...]:
    b = fit.parameters
    if fit.order == 4:
        return (b[0], b[1], (b[2] - mean) / spread, b[3] / spread)
    return (b[0], b[1] * spread, (b[2] - mean) / spread, b[3] * spread, b[4] + b[3] * mean)


_Curve = Callable[[Array, Array], Array]
_CURVES: dict[int, _Curve] = {4: _four, 5: _five}
_SLOPES: dict[int, _Curve] = {4: _four_slope, 5: _five_slope}
