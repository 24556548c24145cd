"""The recipes of NIQE and BRISQUE: the statistics of pristine pictures, and a support vector regression on rated ones.

NIQE takes the pristine items of the training part: those of level 0, or that are their own reference, or all of them where
the data know no levels. BRISQUE is trained on items with scores, of a video on the mean of some frames' numbers; what is
then said of a video is the mean over its frames.

Sources: Mittal, Soundararajan, Bovik, doi:10.1109/LSP.2012.2227726; Mittal, Moorthy, Bovik, doi:10.1109/TIP.2012.2214050.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from vqmeter.errors import UsageError
from vqmeter.metrics.natural import Floats, Picture, brightness
from vqmeter.metrics.nr import brisque, niqe
from vqmeter.metrics.nr.c3d import svr
from vqmeter.training import natural
from vqmeter.training.data import Data, need_scores
from vqmeter.training.datasets import Item
from vqmeter.training.reading import Reader, every, read
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.run import Run, stamp


def _brightness(item: Item, frames: int | None) -> list[Picture]:
    clips = read(item, Reader(every(frames), lambda sample: brightness(sample.dist), counted=frames is not None))
    return [clip.items[0] for clip in clips]


@dataclass(frozen=True)
class Niqe:
    """`block` is the side of the blocks, `frames` how many frames of a video are looked at."""

    block: int = niqe.BLOCK
    frames: int = 4

    about: ClassVar[About] = About(
        "NIQE's model of pristine pictures", "Mittal, Soundararajan, Bovik, doi:10.1109/LSP.2012.2227726",
        "pristine pictures or videos; of a folder of vqmeter distort the references",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = {}

    def __post_init__(self) -> None:
        if self.block < 16 or self.block % 2 or self.frames < 1:
            raise UsageError("niqe: block is even and 16 or more, frames 1 or more")

    def train(self, data: Data, run: Run) -> Trained:
        """The mean and covariance of the pristine items' sharp blocks."""
        known = [item for item in data.train if item.level == 0 or item.path == item.reference]
        pristine = known or list(data.train)
        if not known and any(item.reference for item in pristine):
            raise UsageError(f"{data.dataset.name}: no item is pristine, so there is nothing for niqe to learn from")
        rows = run.each("pristine", pristine, lambda item: _brightness(item, self.frames))
        state = natural.fit_niqe((picture for pictures in rows for picture in pictures), self.block)
        mean, covariance = (state[key].double().numpy() for key in ("mu", "cov"))

        def one(item: Item) -> float:
            found = [niqe.features(picture, self.block) for picture in _brightness(item, None)]
            values = [niqe.distance((mean, covariance), niqe.gaussian(rows)) for rows in found if len(rows)]
            return -float(np.mean(values)) if values else float("nan")

        def predict(items: Sequence[Item]) -> NDArray[np.float64]:
            return np.array(run.each("niqe", list(items), one))

        note = f"Pristine were {len(pristine)} items; a low score is good, and its scale is that of these blocks alone."
        return Trained(state, None, predict, {"block": self.block}, notes=(note,))


@dataclass(frozen=True)
class Brisque:
    """`frames` of a video are looked at in training; `every` is that of N items one is taken, where time is short."""

    frames: int = 4
    every: int = 1

    about: ClassVar[About] = About(
        "BRISQUE's support vector regression", "Mittal, Moorthy, Bovik, doi:10.1109/TIP.2012.2214050",
        "pictures or videos with scores, of five contents or more",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = {}

    def __post_init__(self) -> None:
        if self.frames < 1 or self.every < 1:
            raise UsageError("brisque: frames and every are 1 or more")

    def train(self, data: Data, run: Run) -> Trained:
        """The regression whose C and gamma rank contents best that it did not see."""
        need_scores(data, "brisque")
        items = data.train[:: self.every]
        features = np.stack(run.each("features", items, lambda item: self._features(item, run)))
        label = data.label
        scores = np.array([item.score for item in items])
        groups = [item.group or item.path for item in items]
        state = natural.fit_brisque(features, (scores - label.offset) / label.scale, groups, run.seed)
        fitted = svr(state)

        def one(item: Item) -> float:
            found = [row for picture in _brightness(item, None) if (row := brisque.features(picture)) is not None]
            return float(fitted(torch.from_numpy(np.stack(found))).mean()) if found else float("nan")

        def predict(wanted: Sequence[Item]) -> NDArray[np.float64]:
            return np.array(run.each("brisque", list(wanted), one))

        return Trained(state, label, predict, notes=(f"{len(fitted.dual)} support vectors of {len(items)} items.",))

    def _features(self, item: Item, run: Run) -> Floats:
        made_by = [stamp([item.path]), item.size, self.frames]

        def make() -> Floats:
            return natural.mean_features(_brightness(item, self.frames), item.path)

        return run.array("brisque", made_by, make)
