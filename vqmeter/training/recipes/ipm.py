"""IPM: a cubic that brings SSIM, FSIM or SR-SIM to a scale of opinion, by least squares.

The thesis fits a q^3 + b q^2 + c q + d freely (`shape=free`); such a cubic may fall again, and then praises pictures beyond
recognition. By default the best one that falls nowhere in 0..1 is taken. A video's q is the mean over its frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from vqmeter.errors import UsageError
from vqmeter.training.data import Data, need_scores, targets
from vqmeter.training.datasets import Item
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.recipes.thesis import of_cubic
from vqmeter.training.run import Run
from vqmeter.training.scored import raw_scores, scores
from vqmeter.weights import Weights

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ipm:
    """Options of the three recipes: the cubic's `shape`; `as_published` fits freely, to scores as they are."""

    shape: Literal["rising", "free"] = "rising"
    as_published: bool = False

    metric: ClassVar[str]
    key: ClassVar[str]

    def train(self, data: Data, run: Run) -> Trained:
        """Fit the cubic.

        Raises
            UsageError: scores or references are lacking, or there are too few different values.
        """
        import torch

        model = f"ipm_{self.metric}"
        need_scores(data, model)
        lacking = [item.path for item in data.items if not item.reference]
        if lacking:
            raise UsageError(f"{lacking[0]} has no reference; {self.metric} needs one")
        label = data.as_published() if self.as_published else data.label
        q, wanted = np.maximum(scores(self.metric, self.key, data.train, run), 0), targets(data.train, label).astype(np.float64)
        if len(np.unique(q)) < 4:
            raise UsageError(f"{data.dataset.name}: a cubic needs four different values of {self.metric} or more")
        free = self.as_published or self.shape == "free"
        fitted = free_cubic(q, wanted) if free else rising_cubic(q, wanted * 100) / 100
        state = {"cubic": torch.tensor(fitted.coef[::-1].copy(), dtype=torch.float32)}
        weights = Weights(name=model, model=model, label=label)

        def predict(items: Sequence[Item]) -> Array:
            return raw_scores(weights, state, items, run, f"{model}_own")

        numbers = ", ".join(f"{name}={value:.6g}" for name, value in zip("abcd", state["cubic"].tolist(), strict=True))
        said = f"Cubic: {numbers}, of {self.metric} in {q.min():.3f}..{q.max():.3f}."
        return Trained(state, label, predict, variant="free cubic" if free else "rising cubic", notes=(said,))


@dataclass(frozen=True)
class IpmSsim(Ipm):
    """A cubic of SSIM of luma."""

    about: ClassVar[About] = About("IPM, a cubic of SSIM", "DIPQA thesis, chapter 4", "anything with a reference and a score")
    comparisons: ClassVar[Mapping[str, Comparison]] = of_cubic("SSIM")
    metric: ClassVar[str] = "ssim"
    key: ClassVar[str] = "ssim_y"


@dataclass(frozen=True)
class IpmFsim(Ipm):
    """A cubic of FSIM."""

    about: ClassVar[About] = About("IPM, a cubic of FSIM", "DIPQA thesis, chapter 4", "anything with a reference and a score")
    comparisons: ClassVar[Mapping[str, Comparison]] = of_cubic("FSIM")
    metric: ClassVar[str] = "fsim"
    key: ClassVar[str] = "fsim"


@dataclass(frozen=True)
class IpmSrsim(Ipm):
    """A cubic of SR-SIM."""

    about: ClassVar[About] = About("IPM, a cubic of SR-SIM", "DIPQA thesis, chapter 4", "anything with a reference and a score")
    comparisons: ClassVar[Mapping[str, Comparison]] = of_cubic("SRSIM")
    metric: ClassVar[str] = "srsim"
    key: ClassVar[str] = "srsim"


def free_cubic(q: Array, opinion: Array) -> Polynomial:
    """The least-squares cubic of `opinion` over `q`, (N,) both, found on a centred and scaled q."""
    return Polynomial.fit(q, opinion, 3).convert()


def rising_cubic(q: Array, opinion: Array) -> Polynomial:
    """The least-squares cubic that falls nowhere in 0..1; `opinion` (N,) is on a scale of about 100."""
    from scipy.optimize import minimize

    window, at = Polynomial.fit(q, opinion, 3).domain, np.linspace(0, 1, 401)

    def as_cubic(coef: Array) -> Polynomial:
        return Polynomial(coef, window)

    def loss(coef: Array) -> float:
        return float(np.mean((as_cubic(coef)(q) - opinion) ** 2))

    never_falls = {"type": "ineq", "fun": lambda coef: as_cubic(coef).deriv()(at) / 100 - 5e-4}
    found = minimize(loss, [float(opinion.mean()), 10, 0, 0], method="SLSQP", constraints=never_falls,
                     options={"ftol": 1e-12, "maxiter": 1000})  # fmt: skip
    return as_cubic(found.x).convert()
