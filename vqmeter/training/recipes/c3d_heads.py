"""Regressors on features that do not change: the report's two layers, a ridge, an RBF-SVR.

Every window of an item is a sample with the item's label, and an item's score the mean over its windows, as in scoring.
Features and labels are standardised over the training part (not `as_published`); what was done to labels is undone in the
last layer, so that a regressor gives labels as they were. What is free (the ridge's lambda, the SVR's C and gamma, when to
stop) follows from contents kept apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqmeter.evaluation.correlation import agreement
from vqmeter.networks.c3d import Regressor
from vqmeter.training import regression
from vqmeter.training.loop import Task, shuffled
from vqmeter.weights import State

Array = NDArray[Any]
LAMBDAS = tuple(10.0**power for power in range(-1, 7))
SVR_COST, SVR_GAMMA = (1.0, 10.0, 100.0), (0.1, 1.0)  # C, and gamma as a share of 1 / features
SMALLEST = 1e-6  # the deviation below which a feature counts as constant


@dataclass(frozen=True, eq=False)
class Samples:
    """`x` (N, F) of windows, `y` (items, outputs) labels of items with NaN where there is none, `owner` (N,) whose each is."""

    x: Array
    y: Array
    owner: Array

    @classmethod
    def of(cls, features: Sequence[Array], y: Array) -> Samples:
        """Of the features of every item."""
        counts = [len(f) for f in features]
        x = np.concatenate(features) if features else np.zeros((0, 0), np.float32)
        return cls(np.ascontiguousarray(x, np.float32), y, np.repeat(np.arange(len(counts)), counts))

    def and_also(self, other: Samples) -> Samples:
        owner = np.concatenate([self.owner, other.owner + len(self.y)])
        return Samples(np.concatenate([self.x, other.x]), np.concatenate([self.y, other.y]), owner)

    def pooled(self, values: Array) -> Array:
        """The mean over an item's windows of (N,) values."""
        return np.bincount(self.owner, values) / np.bincount(self.owner)


def spread(values: Array) -> tuple[Array, Array]:
    """Mean and deviation of columns, NaN passed over; 1 for what is constant."""
    mean, std = np.nanmean(values, 0, dtype=np.float64), np.nanstd(values, 0, dtype=np.float64)
    return np.asarray(mean, np.float32), np.where(std > SMALLEST, std, 1.0).astype(np.float32)


def validated(values: Array, labels: Array) -> Mapping[str, float]:
    """Figures of (items,) values, and what stops a regressor: `fit`, the negative root of the mean squared error."""
    found = agreement(np.asarray(values, np.float64), np.asarray(labels, np.float64))
    return {"srocc": found.srocc, "plcc": found.plcc, "fit": -found.rmse}


def fresh(inputs: int, hidden: int, outputs: int, dropout: float) -> Regressor:
    """A regressor as Keras begins one: Glorot's uniform weights, no biases."""
    head = Regressor(inputs, hidden, dropout, outputs)
    for layer in (head.hidden, head.out):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return head


def scaled(head: Regressor, mean: Array, std: Array, back: bool = False) -> None:
    """Let a regressor of standardised labels give them as they were, or with `back` the other way round."""
    mean, std = torch.from_numpy(np.asarray(mean)).to(head.out.bias), torch.from_numpy(np.asarray(std)).to(head.out.bias)
    with torch.no_grad():
        head.out.bias.copy_((head.out.bias - mean) / std if back else head.out.bias * std + mean)
        head.out.weight.mul_((1 / std if back else std)[:, None])


def error(found: Tensor, wanted: Tensor, measure: Callable[..., Tensor] = F.mse_loss) -> Tensor:
    """The mean of `measure` over columns of (N, outputs), of what is known in each."""
    parts = []
    for column, label in zip(found.float().unbind(1), wanted.unbind(1), strict=True):
        known = ~label.isnan()
        parts.append(measure(column[known], label[known]) if known.any() else column.sum() * 0)
    return torch.stack(parts).mean()


class MlpTask(Task):
    """The report's regressor."""

    def __init__(self, head: Regressor, train: Samples, val: Samples | None, labels: tuple[Array, Array], batch: int,
                 device: str) -> None:  # fmt: skip
        self.module, self.train, self.val, self.batch = head, train, val, batch
        self.mean, self.std = labels
        self.x = torch.from_numpy(train.x).to(device)
        self.y = torch.from_numpy(((train.y - self.mean) / self.std)[train.owner].astype(np.float32)).to(device)
        self.seen = None if val is None else torch.from_numpy(val.x).to(device)

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[list[int]]:
        return shuffled(len(self.x), self.batch, rng)

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        return error(self.module.outputs(self.x[batch]), self.y[batch])

    def validate(self) -> Mapping[str, float]:
        if self.val is None or self.seen is None:
            return {}
        values = self.module(self.seen).double().cpu().numpy() * self.std[0] + self.mean[0]
        return validated(self.val.pooled(values), self.val.y[:, 0])


def ridge(train: Samples, val: Samples | None, whole: Samples) -> State:
    """`svr.*` of the ridge: weights that make |z w - y|^2 + lambda |w|^2 least over `whole`.

    Lambda is the one whose fit to `train` has the least squared error on `val`.
    """

    def fitted(samples: Samples) -> Callable[[float], State]:
        mean, std = spread(samples.x)
        z, y = (samples.x - mean).astype(np.float64) / std, samples.y[samples.owner, 0].astype(np.float64)
        middle = y.mean()
        values, vectors = np.linalg.eigh(z @ z.T)
        turned = vectors.T @ (y - middle)

        def at(cost: float) -> State:
            weight = z.T @ (vectors @ (turned / (values.clip(0) + cost)))
            return regression.linear(weight, float(middle), mean, std)

        return at

    return _chosen(fitted, [(cost,) for cost in LAMBDAS], train, val, whole, (1000.0,))


def svr(train: Samples, val: Samples | None, whole: Samples) -> State:
    """`svr.*` of an RBF-SVR by scikit-learn, fitted to `whole` with the C and gamma that are best on `val`.

    Raises
        UsageError: scikit-learn is not installed.
    """

    def fitted(samples: Samples) -> Callable[[float, float], State]:
        (mean, std), y = spread(samples.x), samples.y[samples.owner, 0].astype(np.float64)
        z = (samples.x - mean).astype(np.float64) / std

        def at(cost: float, share: float) -> State:
            return regression.machine(z, y, mean, std, cost, share / z.shape[1])

        return at

    return _chosen(fitted, list(itertools.product(SVR_COST, SVR_GAMMA)), train, val, whole, (10.0, 1.0))


def _chosen(fitted: Callable[[Samples], Callable[..., State]], choices: Sequence[tuple[float, ...]], train: Samples,
            val: Samples | None, whole: Samples, default: tuple[float, ...]) -> State:  # fmt: skip
    """Fitted to `whole`, with the choice that is best on `val` when fitted to `train`."""
    best, least = default, math.inf
    make = fitted(train)
    if val is not None:
        for choice in choices:
            missed = float(np.mean((predicted(make(*choice), val) - val.y[:, 0]) ** 2))
            if missed < least:
                best, least = choice, missed
    return (make if whole is train else fitted(whole))(*best)


def predicted(state: State, samples: Samples) -> Array:
    """(items,) scores of a ridge or SVR."""
    return samples.pooled(regression.predict(state, samples.x))
