"""BRISQUE: how natural a picture's local contrast is, judged by a regression on 36 numbers.

At full size and at half size: MSCN samples, the symmetric generalised Gaussian fitted to them (alpha, sigma^2), and the
asymmetric ones fitted to the products of neighbours, horizontal, vertical and on both diagonals (alpha, eta, l^2, r^2
each). A support vector regression on the 36 gives a score that grows with the damage. Windows see black beyond the
border, the half size is MATLAB's antialiased bicubic, products go round the border: all as in the authors' program.
Source: Mittal, Moorthy, Bovik, IEEE TIP 21(12), 2012, doi:10.1109/TIP.2012.2214050.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from vqmeter.errors import MismatchError, WeightsError
from vqmeter.metric import About, Context, Meter, Scale, Stream
from vqmeter.metrics.crops import frame_rate
from vqmeter.metrics.natural import FEATURES, Floats, NaturalMeter, Picture, fit
from vqmeter.metrics.nr.c3d import svr
from vqmeter.weights import load

SMALLEST = 16
_SCALE = Scale("", 0.0, 100.0, "lower", "a regression on 36 statistics of natural scenes; the mean over frames")


@dataclass(frozen=True)
class Brisque:
    """Score `brisque`, 0 to 100, lower is better; `raw` is the regression's own number."""

    rate: str = "auto"
    weights: str | None = None

    about: ClassVar[About] = About(
        title="Blind/referenceless image spatial quality evaluator",
        definition="MSCN samples (x - mu) / (sigma + 1) of brightness in 0..255, in a 7x7 Gaussian window of sigma 7/6 that "
        "sees black beyond the border, at full size and at half size (antialiased bicubic); alpha and sigma^2 of a generalised "
        "Gaussian fitted to them, alpha, eta, l^2 and r^2 of asymmetric ones fitted to the products of neighbours in four "
        "directions, which go round the border; 36 numbers in all, and an RBF support vector regression on them. "
        "Brightness is luma brought to full range, or 0.2989 R + 0.5870 G + 0.1140 B rounded. The label scale of the weights "
        "becomes 0..100 with 0 the best, clipped. Every frame; rate=N for N frames a second by the nominal rate. The video's "
        "score is that of the mean raw number. Frames without any texture get no score. Pictures of 16x16 and more; on the "
        "CPU whatever the device.",
        source="Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP 21(12), 2012, "
        "doi:10.1109/TIP.2012.2214050",
        differs="The authors' regression was fitted on LIVE and is not part of vqmeter: scores are those of the weights. In "
        "floating point the samples of a flat window are rounding errors of either sign; here they are zero, and neither.",
        needs="no reference; weights of brisque",
        validated="The 36 numbers are held by tests against a plain rendition in float64; the authors' scores could not be.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = False

    def __post_init__(self) -> None:
        frame_rate("brisque", self.rate, None)

    def scales(self) -> Mapping[str, Scale]:
        return {"brisque": _SCALE}

    def open(self, stream: Stream, context: Context) -> Meter:
        return BrisqueMeter(self, stream)


def features(picture: Picture) -> Floats | None:
    """The 36 numbers of a picture, (36,) float64, of the full size first; None where it has no texture.

    Sides are 4 at least.
    """
    from vqmeter.kernels.mscn import half, moments, mscn

    if picture.min() == picture.max():  # black beyond the border would make texture of it
        return None
    found = []
    for size in (picture, half(picture)):
        [sums] = moments(mscn(np.pad(size, 3), None), *size.shape)
        whole, products = fit(sums[0], size.size, symmetric=True), fit(sums[1:], size.size)
        found += [whole.alpha[None], sums[:1, 1] / size.size]
        found.append(np.stack([products.alpha, products.eta, products.left**2, products.right**2], 1).ravel())
    out = np.concatenate(found)
    return out if np.isfinite(out).all() else None


class BrisqueMeter(NaturalMeter):
    """The regression on each frame's 36 numbers."""

    def __init__(self, metric: Brisque, stream: Stream) -> None:
        info = stream.dist
        if min(info.width, info.height) < SMALLEST:
            wants = f"{SMALLEST}x{SMALLEST}"
            raise MismatchError(f"{info.path}: {info.width}x{info.height} is too small for brisque, which wants {wants}")
        state, weights = load("brisque", metric.weights)
        weights.score(0.0)  # refuses weights without a scale before the work
        self._regression = svr(state)
        if self._regression.mean.numel() != FEATURES:
            raise WeightsError(f"{weights.path}: a regression on {self._regression.mean.numel()} numbers, not on {FEATURES}")
        super().__init__("brisque", weights, stream, metric.rate, _SCALE)

    def raw(self, picture: Picture) -> float | None:
        found = features(picture)
        return None if found is None else float(self._regression(torch.from_numpy(found)[None])[0])

    def value(self, raw: float) -> float:
        return 100.0 - self.weights.score(raw)
