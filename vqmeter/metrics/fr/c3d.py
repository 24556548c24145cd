"""C3D with a reference: the difference of two videos, or of their features, through C3D and a regressor.

    mode=difference: regressor(C3D(255 (ref - dist)));   mode=feature: regressor(fuse(C3D(ref), C3D(dist)))

In a difference the mean that C3D subtracts cancels out, so that it goes in without one. The report says no more than
that the difference of the videos is fed to the same network; the difference of features is our second reading. `fuse` is
the weights' option `fusion`: `abs` (|f_ref - f_dist|), `r-d` (signed), or parts side by side (`r,d,r-d`).

Sources: the C3D transfer-learning report, full-reference variant; network as in `metrics.nr.c3d`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from vqmeter.errors import WeightsError
from vqmeter.metric import About, Context, Meter, Sample, Scale, Stream
from vqmeter.metrics.nr.c3d import CLIPS_SAID, VIEW_SAID, C3d, C3dMeter, Cut, pixels
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


class C3dFrMeter(C3dMeter):
    """As without a reference, on differences or on pairs."""

    def __init__(self, metric: C3dFr, stream: Stream, context: Context) -> None:
        super().__init__(metric, "c3d_fr", stream, context)
        trained = str(self.said.get("mode", "difference"))
        if trained not in MODES or metric.mode not in (None, trained):
            raise WeightsError(f"{self.weights.name}: trained with mode={trained}; name other weights for mode={metric.mode}")
        self._on_features = trained == "feature"
        self._fusion = str(self.said.get("fusion", "abs"))
        self.fits(len(self._fusion.split(",")) if self._on_features else 1)

    def prepare(self, sample: Sample) -> Cut:
        ref, dist = (self.look(frame) for frame in sample.pair)
        pixels = np.stack([ref, dist]) if self._on_features else (ref - dist)[None]
        return Cut(sample.index, pixels.astype(np.float16))

    def described(self, x: Tensor) -> Tensor:
        """(N, F) of (N, 1, 3, 16, 112, 112) differences, or of (N, 2, ...) references and distorted."""
        if not self._on_features:
            return self.features(pixels(x[:, 0], self.recipe, difference=True))
        ref, dist = (self.features(pixels(side, self.recipe)).float() for side in (x[:, 0], x[:, 1]))
        if self._fusion == "abs":
            return (ref - dist).abs()
        try:
            return fuse(dist, ref, self._fusion)
        except ValueError as error:
            raise WeightsError(f"{self.weights.name}: {error}") from None
