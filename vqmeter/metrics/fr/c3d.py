"""C3D with a reference: the difference of two videos, or of their features, through C3D and a regressor.

    mode=difference: regressor(C3D(255 (ref - dist)));   mode=feature: regressor(fuse(C3D(ref), C3D(dist)))

In a difference the mean that C3D subtracts cancels out, so that it goes in without one. The report says no more than
that the difference of the videos is fed to the same network; the difference of features is our second reading. `fuse` is
the weights' option `fusion`: `abs` (|f_ref - f_dist|), `r-d` (signed), or parts side by side (`r,d,r-d`).

Sources: the C3D transfer-learning report, full-reference variant; network as in `metrics.nr.c3d`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from vqmeter.errors import WeightsError
from vqmeter.metric import About, Context, Meter, Sample, Scale, Stream
from vqmeter.metrics.crops import Recipe
from vqmeter.metrics.nr.c3d import CLIPS_SAID, VIEW_SAID, C3d, C3dMeter, Cut, Look, pixels
from vqmeter.networks.fusion import fuse

MODES = ("difference", "feature")


@dataclass(frozen=True)
class C3dFr(C3d):
    """Score `c3d_fr`, 0..100, higher is better: one for each clip of 16 frames, their mean for the video."""

    mode: Literal["difference", "feature"] | None = None  # None: what the weights were trained with

    about: ClassVar[About] = About(
        title="C3D on the difference of two videos, with a regressor",
        definition="mode=difference: ReLU(fc7) of C3D of ref - dist, RGB in -255..255 without mean subtraction, 16 frames of "
        "112x112, then linear 512, ReLU, linear 1 (or the weight file's ridge or RBF-SVR). mode=feature: C3D of both, their "
        "features fused as the weights say (fusion: abs is |f_ref - f_dist|, r-d is signed, r,d,r-d side by side), then the "
        f"regressor. Brought to 0..100 by the label scale of the weights. {CLIPS_SAID} {VIEW_SAID} phases=P averages P start "
        "offsets. A video's score is that of the mean raw score of its clips. Identical videos get the regressor's answer to "
        "no difference, which nothing holds at 100.",
        source="C3D transfer-learning report, full-reference variant; network: Tran et al., ICCV 2015, "
        "doi:10.1109/ICCV.2015.510",
        differs="The report does not say how it scales the difference, nor publishes weights or results of it.",
        needs="a reference; weights; the length, except with clips=every",
        validated="Nothing published to compare with.",
    )

    def scales(self) -> Mapping[str, Scale]:
        return {"c3d_fr": Scale("", 0.0, 100.0, definition="regressor on C3D features of the difference to the reference")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return C3dFrMeter(self, stream, context)


def cut_pair(sample: Sample, look: Look, mode: str) -> Cut:
    """What is kept of a pair: one side, the difference, or two, reference and distorted."""
    ref, dist = (look(frame) for frame in sample.pair)
    seen = np.stack([ref, dist]) if mode == "feature" else (ref - dist)[None]
    return Cut(sample.index, seen.astype(np.float16))


def inputs(x: Tensor, recipe: Recipe, mode: str) -> list[Tensor]:
    """What the network takes of (N, sides, 3, 16, 112, 112): the difference, or reference and distorted."""
    if mode == "feature":
        return [pixels(x[:, side], recipe) for side in (0, 1)]
    return [pixels(x[:, 0], recipe, difference=True)]


def joined(features: Sequence[Tensor], fusion: str) -> Tensor:
    """(N, F) of the features of one side as they are, or of both fused.

    Raises
        ValueError: `fusion` names no parts.
    """
    if len(features) == 1:
        return features[0]
    ref, dist = (side.float() for side in features)
    return fuse(dist, ref, "|r-d|" if fusion == "abs" else fusion)


class C3dFrMeter(C3dMeter):
    """As without a reference, on differences or on pairs."""

    def __init__(self, metric: C3dFr, stream: Stream, context: Context) -> None:
        super().__init__(metric, "c3d_fr", stream, context)
        self._mode = str(self.said.get("mode", "difference"))
        if self._mode not in MODES or metric.mode not in (None, self._mode):
            said = f"trained with mode={self._mode}; name other weights for mode={metric.mode}"
            raise WeightsError(f"{self.weights.name}: {said}")
        self._fusion = str(self.said.get("fusion", "abs"))
        self.fits(len(self._fusion.split(",")) if self._mode == "feature" else 1)

    def prepare(self, sample: Sample) -> Cut:
        return cut_pair(sample, self.look, self._mode)

    def described(self, x: Tensor) -> Tensor:
        """(N, F) of (N, 1, 3, 16, 112, 112) differences, or of (N, 2, ...) references and distorted."""
        try:
            return joined([self.trunk.features(side) for side in inputs(x, self.trunk.recipe, self._mode)], self._fusion)
        except ValueError as error:
            raise WeightsError(f"{self.weights.name}: {error}") from None
