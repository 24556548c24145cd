"""Regressions on one row of features an item: ridge, and RBF support vectors, as weight files keep them (`svr.*`).

Features and labels are brought to mean 0 and deviation 1. The ridge's strength, and the C of the support vectors (gamma is 1
over the number of features, epsilon 0.1), are those that rank the items of unseen contents best, in five folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vqmeter.evaluation.correlation import srocc
from vqmeter.evaluation.splits import split
from vqmeter.metrics.nr.c3d import svr
from vqmeter.training import need
from vqmeter.weights import State

Floats = NDArray[np.float64]
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the ridge, by the number of items
COSTS = (0.1, 1.0, 10.0, 100.0)
EPSILON = 0.1  # of the labels' deviation
FOLDS = 5


def ridge(features: Floats, labels: Floats, groups: Sequence[str], seed: int = 0) -> State:
    """A linear regression on (N, K) features and (N,) labels; items of a content share a group.

    Of the two systems, one for each feature or one for each item, the smaller is solved.
    """
    return _best(_ridge, STRENGTHS, features, labels, groups, seed)


def support_vectors(features: Floats, labels: Floats, groups: Sequence[str], seed: int = 0) -> State:
    """An RBF-SVR on (N, K) features and (N,) labels; items of a content share a group.

    Raises
        UsageError: scikit-learn is not installed.
    """
    return _best(_support_vectors, COSTS, features, labels, groups, seed)


def linear(weight: Sequence[float] | Floats, intercept: float, mean: Floats | float = 0.0, std: Floats | float = 1.0) -> State:
    """`svr.*` of weight . (x - mean) / std + intercept."""
    weight = np.asarray(weight, np.float64)
    return packed(mean=np.broadcast_to(mean, weight.shape), std=np.broadcast_to(std, weight.shape), weight=weight,
                  intercept=intercept)  # fmt: skip


Fit = Callable[[Floats, Floats, float], State]


def _best(fit: Fit, settings: Sequence[float], features: Floats, labels: Floats, groups: Sequence[str], seed: int) -> State:
    """`fit` with the setting that ranks unseen contents best; the middle one where contents are too few to tell."""
    count = min(FOLDS, len(set(groups)))
    if count < 2:
        return fit(features, labels, settings[len(settings) // 2])
    folds, found = list(split(groups, f"{count}-fold", 1, seed)), []
    for setting in settings:
        said = np.zeros(len(labels))
        for train, test in folds:
            said[test] = predict(fit(features[train], labels[train], setting), features[test])
        found.append(np.nan_to_num(srocc(said, labels), nan=-1.0))
    return fit(features, labels, settings[int(np.argmax(found))])


def predict(state: State, features: Floats) -> Floats:
    """What `svr.*` says of (N, K) features, (N,), as scoring does."""
    own = svr({key: value for key, value in state.items() if key.startswith("svr.")})
    said: Floats = own(torch.from_numpy(np.asarray(features, np.float64))).double().numpy()
    return said


def _standard(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation over rows, 1 where nothing deviates."""
    spread = values.std(0)
    return values.mean(0), np.where(spread > 1e-12, spread, 1.0)


def _ridge(features: Floats, labels: Floats, strength: float) -> State:
    mean, std = _standard(features)
    z, y = (features - mean) / std, labels - labels.mean()
    n, k = z.shape
    weight = (np.linalg.solve(z.T @ z + strength * n * np.eye(k), z.T @ y) if k <= n
              else z.T @ np.linalg.solve(z @ z.T + strength * n * np.eye(n), y))  # fmt: skip
    return linear(weight, float(labels.mean()), mean, std)


def _support_vectors(features: Floats, labels: Floats, cost: float) -> State:
    mean, std = _standard(features)
    return machine((features - mean) / std, labels, mean, std, cost, 1.0 / features.shape[1])


def machine(z: Floats, labels: Floats, mean: Floats, std: Floats, cost: float, gamma: float) -> State:
    """`svr.*` of an RBF-SVR with `cost` and `gamma` on z = (x - mean) / std, (N, K), and (N,) labels.

    Labels are brought to mean 0 and deviation 1 for it, and epsilon is a tenth of their deviation.

    Raises
        UsageError: scikit-learn is not installed.
    """
    regression = need("sklearn.svm", "train", "a regression by support vectors").SVR
    middle, spread = _standard(labels)
    fitted = regression(C=cost, gamma=gamma, epsilon=EPSILON).fit(z, (labels - middle) / spread)
    return packed(mean=mean, std=std, support=fitted.support_vectors_, dual=fitted.dual_coef_[0] * spread, gamma=gamma,
                  intercept=fitted.intercept_[0] * spread + middle)  # fmt: skip


def packed(**values: Floats | float) -> State:
    """`svr.*` in float32, as weight files keep it."""
    return {f"svr.{key}": torch.from_numpy(np.array(value, np.float32)) for key, value in values.items()}
