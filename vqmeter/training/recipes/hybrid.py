"""The recipe of hybrid: features of every coded video, and an ensemble of small networks on them.

Data are files as an encoder left them: what was distorted first and then kept without loss has a bitstream that tells
nothing of its quality, and does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import UsageError
from vqmeter.metrics.nr.hybrid import FEATURES, Floats
from vqmeter.training import hybrid
from vqmeter.training.data import Data, need_scores, targets
from vqmeter.training.datasets import Item
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.run import Run, stamp


@dataclass(frozen=True)
class Hybrid:
    """`networks` of `units` a layer, fitted in `steps`; `rising` weighs that more bits never mean a worse score."""

    networks: int = 5
    units: int = 32
    steps: int = 400
    rising: float = 10.0

    about: ClassVar[About] = About(
        "Pixels and bitstream together", "ours, of the kind of Rec. ITU-T P.1204.5",
        "video coded with H.264, HEVC, AV1 or VP9, as the encoder left it, with scores",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = {}

    def __post_init__(self) -> None:
        if min(self.networks, self.units, self.steps) < 1 or self.rising < 0:
            raise UsageError("hybrid: networks, units and steps are 1 or more, rising is 0 or more")

    def train(self, data: Data, run: Run) -> Trained:
        """Networks for the codecs of the training part; the validation part is not looked at."""
        need_scores(data, "hybrid")
        features, codecs = _gathered(data.train, run)
        known = tuple(codec for codec in hybrid.CODECS if codec in codecs)
        steps = self.steps if run.steps is None else min(self.steps, run.steps)
        rate = hybrid.Fitting.rate if run.rate is None else run.rate
        how = hybrid.Fitting(known, self.networks, self.units, steps=steps, rate=rate, rising=self.rising)
        label = data.label
        state = hybrid.fit(features, codecs, targets(data.train, label).astype(np.float64), run.seed, how)

        def predict(items: Sequence[Item]) -> NDArray[np.float64]:
            return hybrid.predict(state, *_gathered(items, run), how)

        note = f"{len(data.train)} videos in {', '.join(known)}."
        return Trained(state, label, predict, how.options(), notes=(note,))


def _gathered(items: Sequence[Item], run: Run) -> tuple[Floats, list[str]]:
    """(N, F) features of the items, and their codecs."""

    def one(item: Item) -> tuple[NDArray[np.float64], str]:
        def make() -> NDArray[np.float64]:
            features, codec = hybrid.features_of(item.path)
            return np.append(features, hybrid.CODECS.index(codec))

        found = run.array("hybrid", [stamp([item.path]), FEATURES], make)
        return found[:-1], hybrid.CODECS[int(found[-1])]

    pairs = run.each("features", list(items), one)
    return np.stack([features for features, _ in pairs]), [codec for _, codec in pairs]
