"""Statistics of natural scenes: what niqe and brisque share, from a frame's brightness to fitted distributions.

MSCN samples, and products of neighbouring ones, have the generalised Gaussian densities

    f(v) ~ exp(-(|v| / beta)^alpha),   beta = beta_l where v < 0 and beta_r where v > 0

whose parameters are found from moments, with l^2 and r^2 the means of v^2 over v < 0 and over v > 0:

    rho(alpha) = gamma(2 / alpha)^2 / (gamma(1 / alpha) gamma(3 / alpha)) = (mean |v|)^2 / mean v^2 * skew(l, r)
    skew = (l^3 + r^3)(l + r) / (l^2 + r^2)^2,   beta = (l, r) sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    eta = (r - l) sqrt(rho)

alpha is looked up in a table of 0.2, 0.201 ... 10. The symmetric density is that of skew 1.
Source: Lasmar, Stitou, Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009,
doi:10.1109/ICIP.2009.5414404; Mittal, Moorthy, Bovik, doi:10.1109/TIP.2012.2214050.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vqmeter.colour import colour
from vqmeter.errors import MismatchError
from vqmeter.frames import Frame
from vqmeter.metric import Clip, FrameMeter, Sample, Scale, Score, Stream
from vqmeter.metrics.crops import DEFAULT_RATE, frame_rate
from vqmeter.metrics.fr.ssim import luma
from vqmeter.weights import Weights

FEATURES = 36
Floats = NDArray[np.float64]
Picture = NDArray[np.float32]  # (H, W), brightness in 0..255


def brightness(frame: Frame) -> Picture:
    """(H, W) float32, black 0 and white 255: luma brought to full range, grey, or rgb2gray of RGB rounded to its depth."""
    info = frame.info
    depth = info.pix_fmt.bit_depth
    limited = colour(info, matrix="bt601").range == "limited"  # luma means the same in every matrix
    black, white = (16 << depth >> 8, 235 << depth >> 8) if limited else (0, info.pix_fmt.peak)
    out = luma(frame).astype(np.float32)
    if black:
        out -= np.float32(black)
    if white - black != 255:
        out *= np.float32(255 / (white - black))
    return out


@dataclass(frozen=True)
class Fit:
    """Densities fitted to many sets of samples, arrays of one shape; NaN where a set holds nothing but zeros."""

    alpha: Floats
    eta: Floats
    left: Floats  # l, the root of the mean square of negative samples, 0 where there are none
    right: Floats
    unit: Floats  # beta / l = beta / r


def fit(sums: Floats, count: int, symmetric: bool = False) -> Fit:
    """Densities of (..., 5) sums as `kernels.mscn.moments` has them, of sets of `count` samples each."""
    total, square, signed, positive, negative = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt(np.maximum(square - signed, 0) / (2 * np.maximum(negative, 1)))
        right = np.sqrt(np.maximum(square + signed, 0) / (2 * np.maximum(positive, 1)))
        rho = total**2 / (count * square)
        if not symmetric:
            rho = rho * (left**3 + right**3) * (left + right) / (left**2 + right**2) ** 2
    alphas, rhos, units = _table()
    above = np.clip(np.searchsorted(rhos, rho), 1, len(rhos) - 1)
    at = above - (rho - rhos[above - 1] < rhos[above] - rho)
    flat = np.where(np.isnan(rho), np.nan, 0.0)
    return Fit(alphas[at] + flat, (right - left) * np.sqrt(rhos[at]) + flat, left + flat, right + flat, units[at] + flat)


@lru_cache(maxsize=1)
def _table() -> tuple[Floats, Floats, Floats]:
    """alpha, rho(alpha), which grows with it, and beta / l."""
    alphas = np.arange(200, 10001) / 1000
    one, two, three = (np.array([math.lgamma(n / a) for a in alphas.tolist()]) for n in (1, 2, 3))
    return alphas, np.exp(2 * two - one - three), np.exp((one - three) / 2)


def every(rate: float | None, stream: Stream) -> Iterator[tuple[int]]:
    """The frames nearest to every 1/rate seconds by the stream's nominal rate; all with `rate` None."""
    step = 1.0 if rate is None else max(1.0, float(stream.rate or DEFAULT_RATE) / rate)
    return ((math.floor(n * step + 0.5),) for n in itertools.count())


class NaturalMeter(FrameMeter):
    """Scores frames one by one, in the pool, and the video by the mean of raw numbers.

    A frame without texture, of one colour say, has no statistics and gets no score. Subclasses give `raw`.
    """

    def __init__(self, name: str, weights: Weights, stream: Stream, rate: str, scale: Scale) -> None:
        self.name, self.weights = name, weights
        self.scores: Mapping[str, Scale] = {name: scale}
        self._stream, self._rate = stream, frame_rate(name, rate, None)
        self._raw: list[float] = []

    def raw(self, picture: Picture) -> float | None:
        """The number of a picture, None where it has no texture."""
        raise NotImplementedError

    def value(self, raw: float) -> float:
        """A raw number as the score it is published as."""
        return raw

    def plan(self) -> Iterator[tuple[int, ...]]:
        return every(self._rate, self._stream)

    def prepare(self, sample: Sample) -> Sequence[float]:
        raw = self.raw(brightness(sample.dist))
        return [] if raw is None else [raw]

    def score(self, batch: Sequence[Clip]) -> Iterator[Score]:
        for clip in batch:
            n = clip.frames[0]
            for raw in clip.items[0]:
                self._raw.append(raw)
                yield Score(self.name, self.value(raw), range(n, n + 1))

    def finish(self) -> Iterator[Score]:
        if not self._raw:
            raise MismatchError(f"{self._stream.dist.path}: no frame has any texture, so {self.name} has nothing to score")
        raw = math.fsum(self._raw) / len(self._raw)
        yield Score(self.name, self.value(raw), None, {"raw": raw})
