"""What niqe and brisque are measured with: the statistics of pristine pictures, and a regression on rated ones.

NIQE needs no scores: mean and covariance of its 36 numbers over the blocks of pristine pictures whose mean deviation is
more than 0.75 of their picture's sharpest one. BRISQUE is an epsilon support vector regression with an RBF kernel on 36
numbers brought to -1..1 by their ranges; C and gamma are those that rank the items of unseen contents best.
Source: Mittal, Soundararajan, Bovik, doi:10.1109/LSP.2012.2227726; Mittal, Moorthy, Bovik, doi:10.1109/TIP.2012.2214050.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from vqmeter.errors import InputError
from vqmeter.evaluation.correlation import srocc
from vqmeter.evaluation.splits import split
from vqmeter.metrics.natural import FEATURES, Floats, Picture, brightness
from vqmeter.metrics.nr import brisque, niqe
from vqmeter.sources import InputOptions, open_video
from vqmeter.training.regression import machine, predict
from vqmeter.weights import State

SHARP = 0.75
COSTS, GAMMAS = (1.0, 4.0, 16.0, 64.0), (0.05, 0.1, 0.2, 0.5)
FOLDS = "5-fold"


def pictures(path: str, options: InputOptions | None = None) -> Iterator[Picture]:
    """The frames of a picture or video as (H, W) float32 of brightness in 0..255."""
    with closing(open_video(path, options)) as source:
        for frame in source.frames():
            yield brightness(frame)


def features_of(path: str, options: InputOptions | None = None) -> Floats:
    """BRISQUE's numbers of a picture or video, (36,) float64: the mean over its frames.

    Raises
        InputError: no frame has any texture, or the file cannot be read.
    """
    return mean_features(pictures(path, options), path)


def mean_features(frames: Iterable[Picture], path: str) -> Floats:
    """The mean of BRISQUE's numbers over the frames of `path`, (36,) float64.

    Raises
        InputError: no frame has any texture.
    """
    found = [one for picture in frames if (one := brisque.features(picture)) is not None]
    if not found:
        raise InputError(f"{path}: no frame has any texture, so there is nothing to learn from it; leave it out")
    mean: Floats = np.mean(found, 0)
    return mean


def fit_niqe(pristine: Iterable[Picture], block: int = niqe.BLOCK) -> State:
    """NIQE's `mu` (36,) and `cov` (36, 36) from pristine pictures, (H, W) float32 of brightness in 0..255.

    Blocks of another size than 96 must be told in the weight file's options as `block`.

    Raises
        InputError: fewer sharp blocks than a covariance of 36 numbers takes.
    """
    rows = np.concatenate([np.empty((0, FEATURES)), *(niqe.features(one, block, SHARP) for one in pristine)])
    if len(rows) <= FEATURES:
        raise InputError(f"{len(rows)} sharp blocks in these pictures, and {FEATURES} numbers a block; give more pictures")
    mean, covariance = niqe.gaussian(rows)
    return {"mu": torch.from_numpy(mean).float(), "cov": torch.from_numpy(covariance).float()}


@dataclass(frozen=True)
class Setting:
    """A regression's C and gamma, and the rank correlation it reaches on contents it has not seen."""

    cost: float
    gamma: float
    srocc: float = math.nan


def fit_brisque(features: Floats, labels: Floats, groups: Sequence[str], seed: int = 0) -> State:
    """BRISQUE's regression `svr.*` on (N, 36) numbers and (N,) labels, float64; items of a content share a group.

    The regression speaks the labels' scale, whichever way it goes: the weight file's label says which.

    Raises
        UsageError: scikit-learn is not installed, or there are fewer than five groups.
    """
    return regression(features, labels, search(features, labels, groups, seed))


def search(features: Floats, labels: Floats, groups: Sequence[str], seed: int = 0) -> Setting:
    """The setting whose predictions, each by a regression that never saw the item's group, rank the items best."""
    folds = list(split(groups, FOLDS, 1, seed))
    found = []
    for cost, gamma in itertools.product(COSTS, GAMMAS):
        predicted = np.zeros(len(labels))
        for train, test in folds:
            fitted = regression(features[train], labels[train], Setting(cost, gamma))
            predicted[test] = predict(fitted, features[test])
        found.append(Setting(cost, gamma, srocc(predicted, labels)))
    return max(found, key=lambda setting: np.nan_to_num(setting.srocc, nan=-1))


def regression(features: Floats, labels: Floats, setting: Setting) -> State:
    """The regression of one setting, `svr.*` as the metric reads it: trained on labels of mean 0 and deviation 1."""
    low, high = features.min(0), features.max(0)
    middle, half = (high + low) / 2, np.where(high > low, (high - low) / 2, 1.0)
    return machine((features - middle) / half, labels, middle, half, setting.cost, setting.gamma)
