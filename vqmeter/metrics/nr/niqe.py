"""NIQE: how far a picture's local statistics lie from those of undamaged pictures; nothing was learned from scores.

    NIQE = sqrt((m1 - m2)' pinv((S1 + S2) / 2) (m1 - m2))

m1 and S1 are mean and covariance of 36 numbers over sharp blocks of many pristine pictures, m2 and S2 over all blocks of
this picture. Blocks are 96x96, and the same 48x48 at half size; of each the asymmetric generalised Gaussians fitted to
its MSCN samples (alpha, the mean of beta_l and beta_r) and to the products of neighbours in four directions (alpha, eta,
beta_l, beta_r). Windows repeat the border beyond it, products go round their block, as in the authors' program.
Source: Mittal, Soundararajan, Bovik, IEEE Signal Processing Letters 20(3), 2013, doi:10.1109/LSP.2012.2227726.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vqmeter.errors import WeightsError
from vqmeter.metric import About, Context, Meter, Scale, Stream
from vqmeter.metrics.crops import frame_rate
from vqmeter.metrics.natural import FEATURES, Floats, NaturalMeter, Picture, fit
from vqmeter.weights import load

BLOCK = 96
_SCALE = Scale("", 0.0, None, "lower", "distance from the statistics of pristine pictures; the mean over frames")


@dataclass(frozen=True)
class Niqe:
    """Score `niqe`, 0 and up, lower is better; pristine pictures have 2 to 5 or so."""

    rate: str = "auto"
    weights: str | None = None

    about: ClassVar[About] = About(
        title="Natural image quality evaluator",
        definition="MSCN samples (x - mu) / (sigma + 1) of brightness in 0..255, in a 7x7 Gaussian window of sigma 7/6 that "
        "sees the border repeated beyond it, at full size and at half size (antialiased bicubic), in blocks of 96x96 and "
        "48x48, what does not fill a block left out; from each block alpha and the mean of beta_l and beta_r of an asymmetric "
        "generalised Gaussian fitted to them, alpha, eta, beta_l and beta_r of those fitted to the products of neighbours in "
        "four directions, which go round the block; 36 numbers. With their mean m2 and covariance S2 over blocks, and m1, S1 "
        "of the weights: sqrt((m1-m2)' pinv((S1+S2)/2) (m1-m2)). Blocks without any texture are left out, frames of nothing "
        "else get no score. Brightness is luma brought to full range, or 0.2989 R + 0.5870 G + 0.1140 B rounded. Smaller "
        "frames are mirrored up to a block; the covariance of one block is zero. Every frame; rate=N for N frames a second by "
        "the nominal rate. The video's score is the mean over frames. On the CPU whatever the device.",
        source="Mittal, Soundararajan, Bovik: Making a Completely Blind Image Quality Analyzer. IEEE Signal Processing "
        "Letters 20(3), 2013, doi:10.1109/LSP.2012.2227726",
        differs="The pristine statistics are those of the weights and not the authors', so numbers differ from theirs. In "
        "floating point the samples of a flat window are rounding errors of either sign; here they are zero, and neither.",
        needs="no reference; weights of niqe",
        validated="The 36 numbers and the distance are held by tests against a plain rendition in float64; no human scores.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = False

    def __post_init__(self) -> None:
        frame_rate("niqe", self.rate, None)

    def scales(self) -> Mapping[str, Scale]:
        return {"niqe": _SCALE}

    def open(self, stream: Stream, context: Context) -> Meter:
        return NiqeMeter(self, stream)


def features(picture: Picture, block: int = BLOCK, sharper_than: float = 0.0) -> Floats:
    """The 36 numbers of every block with texture, (N, 36) float64, of the full size first.

    `sharper_than` keeps blocks whose mean deviation is more than so much of the sharpest one's. `block` is even.
    """
    from vqmeter.kernels.mscn import half, moments, mscn

    lack = [max(0, block - n) for n in picture.shape]
    if any(lack):
        picture = np.pad(picture, [(n // 2, n - n // 2) for n in lack], "reflect")
    down, across = (n // block for n in picture.shape)
    picture = np.ascontiguousarray(picture[: down * block, : across * block])
    deviation = np.empty_like(picture) if sharper_than else None
    found = []
    for size, side, sigma in ((picture, block, deviation), (half(picture), block // 2, None)):
        sums = moments(mscn(np.pad(size, 3, "edge"), sigma), side, side)
        fitted = fit(sums, side * side)
        left, right = fitted.left * fitted.unit, fitted.right * fitted.unit
        found += [fitted.alpha[:, :1], (left[:, :1] + right[:, :1]) / 2]
        found.append(np.stack([fitted.alpha, fitted.eta, left, right], 2)[:, 1:].reshape(len(sums), -1))
    out = np.concatenate(found, 1)
    kept = np.isfinite(out).all(1)
    if deviation is not None:
        sharp = deviation.reshape(down, block, across, block).mean((1, 3), dtype=np.float64).ravel()
        kept &= sharp > sharper_than * sharp.max()
    return out[kept]


def gaussian(rows: Floats) -> tuple[Floats, Floats]:
    """Mean (36,) and covariance (36, 36) of (N, 36); the covariance of one row is zero."""
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.T @ centred / max(1, len(rows) - 1)


def distance(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> float:
    """sqrt(d' pinv((S1 + S2) / 2) d), d the difference of the means."""
    d = one[0] - other[0]
    square = float(d @ np.linalg.pinv((one[1] + other[1]) / 2, hermitian=True) @ d)
    return math.sqrt(max(0.0, square))


class NiqeMeter(NaturalMeter):
    """The distance of each frame's blocks from the pristine ones."""

    def __init__(self, metric: Niqe, stream: Stream) -> None:
        state, weights = load("niqe", metric.weights)
        shapes = {"mu": (FEATURES,), "cov": (FEATURES, FEATURES)}
        if {key: tuple(value.shape) for key, value in state.items()} != shapes:
            raise WeightsError(f"{weights.path}: not the mean 'mu' of {FEATURES} numbers and their covariance 'cov'")
        self._pristine = state["mu"].double().numpy(), state["cov"].double().numpy()
        self._block = int(weights.options.get("block", BLOCK))
        if self._block < 16 or self._block % 2:
            raise WeightsError(f"{weights.path}: blocks of {self._block} are not even, or too small")
        super().__init__("niqe", weights, stream, metric.rate, _SCALE)

    def raw(self, picture: Picture) -> float | None:
        found = features(picture, self._block)
        return distance(gaussian(found), self._pristine) if len(found) else None
