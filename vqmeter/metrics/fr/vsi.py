"""VSI: how alike visual saliency, gradients and chroma are, weighted by saliency.

    S = s(G1, G2; 386)^.40 s(VS1, VS2; 1.27) Re[(s(M1, M2; 130) s(N1, N2; 130))^.02]
    VSI = sum(S max(VS1, VS2)) / sum(max(VS1, VS2))

L, M and N are opponent colours; G the gradient of L; VS the SDSP saliency of a 256x256 picture: log-Gabor responses of
L*a*b*, nearer the centre and in warmer colours more salient.

Source: L. Zhang, Y. Shen, H. Li, "VSI: A Visual Saliency-Induced Index for Perceptual Image Quality Assessment",
IEEE Trans. Image Processing 23(10), 2014, doi:10.1109/TIP.2014.2346028; saliency: L. Zhang, Z. Gu, H. Li, "SDSP: A
Novel Saliency Detection Method by Combining Simple Priors", ICIP 2013, doi:10.1109/ICIP.2013.6738036.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.frames import Frame
from vqmeter.metric import About, Context, Scale, Stream
from vqmeter.metrics.fr.similarity import (
    Arrays,
    Features,
    SimilarityMeter,
    chroma_similarity,
    mix,
    scharr,
    similarity,
    weighted_mean,
)
from vqmeter.tensors import resize_matrix

SMALLEST = 16  # pixels a side
SALIENCY_CONSTANT, GRADIENT_CONSTANT, CHROMA_CONSTANT = 1.27, 386.0, 130.0
GRADIENT_POWER, CHROMA_POWER = 0.40, 0.02
LMN = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]])
SIDE = 256  # of the picture whose saliency is found
OMEGA, SIGMA_F = 0.021, 1.34  # centre frequency and width of the log-Gabor filter
SIGMA_D, SIGMA_C = 145.0, 0.001  # of the centre prior, in pixels, and of the warmth prior
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = np.array([0.9642, 1.0, 0.8251])  # D50
LAB_EPSILON, LAB_KAPPA = 0.008856, 903.3
FLAT = 1e-3  # a span of L*, a* or b* below this is rounding alone: a step of one 8-bit grey is 0.006 of a*


@dataclass(frozen=True)
class Vsi:
    """Visual-saliency-induced similarity of colour pictures."""

    about: ClassVar[About] = About(
        title="VSI, visual-saliency-induced similarity",
        definition="R, G, B in 0..255 (YUV by the stream's matrix and range, chroma bilinear with left siting, clipped; "
        "grey as R = G = B). Saliency VS (SDSP): resized to 256x256 (bilinear, antialiased, mirrored border), "
        "sRGB to L*a*b* (white .9642, 1, .8251), each filtered by a log-Gabor (omega0 .021, sigmaF 1.34, zero beyond "
        "frequency .5), root of the sum of squares; times exp(-d^2/145^2), d from pixel (128,128) counted from 1; times "
        "1-exp(-(a'^2+b'^2)/.001^2), a', b' scaled to [0,1]; resized back (bilinear), scaled to [0,1]. "
        "L = .06 R + .63 G + .27 B, M = .30 R + .04 G - .35 B, N = .34 R - .60 G + .17 B. L, M, N and VS are brought "
        "down by F = max(1, round(min(w,h)/256)) (halves up): mean of F x F, zero border, window from "
        "-(F-1-floor(F/2)), every F-th sample. G: Scharr magnitude of L, [3 0 -3; 10 0 -10; 3 0 -3]/16, zero border. "
        "s(a,b;c) = (2ab+c)/(a^2+b^2+c). VSI = sum(s(G1,G2;386)^.40 s(VS1,VS2;1.27) Re[(s(M1,M2;130) s(N1,N2;130))^.02] "
        "VSm)/sum(VSm), VSm = max(VS1,VS2). Where a or b does not vary it counts as 0; pictures without saliency "
        "(of one colour) take the plain mean. A video's score is the mean over frames. At least 16x16 pixels.",
        source="L. Zhang, Y. Shen, H. Li, VSI: A Visual Saliency-Induced Index for Perceptual Image Quality Assessment, "
        "IEEE Trans. Image Processing 23(10):4270-4281, 2014, doi:10.1109/TIP.2014.2346028",
        differs="piq resizes with other alignment and averages with a replicated border; pyiqa differs by up to .012.",
        validated="the authors' MATLAB: I01 .96405 (as asserted by piq's tests), met to 1e-4",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {"vsi": Scale("", 0.0, 1.0, definition="visual-saliency-induced similarity (Zhang 2014)")}

    def open(self, stream: Stream, context: Context) -> VsiMeter:
        return VsiMeter(self.scales(), stream, context, SMALLEST)


class VsiMeter(SimilarityMeter):
    key = "vsi"

    def __init__(self, scores: Mapping[str, Scale], stream: Stream, context: Context, smallest: int) -> None:
        super().__init__(scores, stream, context, smallest)
        self.size = (stream.dist.height, stream.dist.width)

    def reduce(self, frame: Frame) -> Arrays:
        return tensors.rgb_reduced(frame, self.factor, (SIDE, SIDE))

    def features(self, *pictures: Tensor) -> Features:
        opponent, m, n = mix(pictures[0], LMN)
        return enlarged(sdsp(pictures[1]), *self.size, self.factor), scharr(opponent), m, n

    def compare(self, ref: Features, dist: Features) -> Tensor:
        alike = similarity(ref[1], dist[1], GRADIENT_CONSTANT).pow_(GRADIENT_POWER)
        alike *= similarity(ref[0], dist[0], SALIENCY_CONSTANT)
        alike *= chroma_similarity((ref[2], ref[3]), (dist[2], dist[3]), CHROMA_CONSTANT, CHROMA_POWER)
        return weighted_mean(alike, torch.maximum(ref[0], dist[0]))


def sdsp(rgb: Tensor) -> Tensor:
    """SDSP saliency (N, 256, 256) of (N, 3, 256, 256) R, G, B in [0, 1], not yet scaled; zero for a single colour."""
    lab = _lab(rgb)
    band, centre = _priors(rgb.device)
    response = torch.fft.irfft2(torch.fft.rfft2((lab - lab[..., :1, :1]).float()) * band, s=(SIDE, SIDE))
    low = lab.amin((-2, -1), keepdim=True)
    span = lab.amax((-2, -1), keepdim=True) - low
    strength = response.square_().sum(1).sqrt_() * (span > FLAT).any(1)
    unit = torch.where(span > FLAT, (lab - low) / span, 0.0)[:, 1:].float()
    return strength * centre * -torch.expm1(unit.square_().sum(1).mul_(-1 / SIGMA_C**2))


def _lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB (N, 3, H, W) in [0, 1], with the reference white the authors took: D50, though the matrix is
    for D65, so that the a* and b* of greys vary with lightness. They do so little, hence float64.
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow_(2.4)).double()
    matrix = torch.from_numpy(XYZ / WHITE[:, None]).to(linear)
    xyz = (matrix @ linear.flatten(2)).view_as(linear)
    f = torch.where(xyz > LAB_EPSILON, xyz.clamp(min=LAB_EPSILON).pow_(1 / 3), (LAB_KAPPA * xyz + 16) / 116)
    fx, fy, fz = f.unbind(1)
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), 1)


@lru_cache(maxsize=4)
def _priors(device: torch.device) -> tuple[Tensor, Tensor]:
    """The log-Gabor filter over the half spectrum (256, 129) and the centre prior (256, 256)."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1  # not in the band
    band = np.where(radius <= 0.5, np.exp(-(np.log(radius / OMEGA) ** 2) / (2 * SIGMA_F**2)), 0)
    away = (np.arange(SIDE) + 1 - SIDE / 2) ** 2
    centre = np.exp(-(away[:, None] + away) / SIGMA_D**2)
    return torch.from_numpy(band.astype(np.float32)).to(device), torch.from_numpy(centre.astype(np.float32)).to(device)


def enlarged(x: Tensor, height: int, width: int, factor: int) -> Tensor:
    """Saliency (N, 256, 256) resized to height x width, scaled to [0, 1] there, and brought down by D(F).

    Resizing and D(F) are one matrix a side. Between two samples of the small picture the resized one is linear, so
    its extremes are among the first and last places of each such stretch: only those are worked out.
    """
    rows, columns = _enlarging(height, factor, x.device), _enlarging(width, factor, x.device)
    extremes = columns.rows(rows.rows(x).mT)
    low, high = extremes.amin((-2, -1), keepdim=True), extremes.amax((-2, -1), keepdim=True)
    inside = rows.coverage[:, None] * columns.coverage  # D(F) of ones: the zero border darkens
    down = rows.matrix @ x @ columns.matrix.T
    return torch.where(high > low, (down - low * inside) / (high - low), 0.0).clamp_(min=0)


@dataclass(frozen=True)
class _Enlarging:
    """One side of `enlarged`: resizing alone, with D(F), D(F) of ones, and where the extremes may lie (None: anywhere)."""

    resize: Tensor
    matrix: Tensor
    coverage: Tensor
    edges: tuple[Tensor, Tensor, Tensor] | None

    def rows(self, x: Tensor) -> Tensor:
        """The rows of `x`, resized, among which are those with the extremes of every column."""
        if self.edges is None:
            return self.resize @ x
        before, after, t = self.edges
        return torch.lerp(x[:, before], x[:, after], t[:, None].expand(-1, x.shape[2]))


@lru_cache(maxsize=16)
def _enlarging(size: int, factor: int, device: torch.device) -> _Enlarging:
    resize = resize_matrix(SIDE, size, "bilinear")
    box = np.zeros((-(-size // factor), size))
    lead = factor - 1 - factor // 2
    for i, row in enumerate(box):
        row[max(0, i * factor - lead) : (i + 1) * factor - lead] = 1 / factor

    def put(array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(device)

    edges = None
    if size > SIDE:
        at = np.clip((np.arange(size) + 0.5) * (SIDE / size) - 0.5, 0, SIDE - 1)
        before = np.minimum(at.astype(int), SIDE - 2)
        turns = np.flatnonzero(np.diff(before))
        kept = np.unique(np.concatenate(([0], turns, turns + 1, [size - 1])))
        first = torch.from_numpy(before[kept]).to(device)
        edges = (first, first + 1, put(at[kept] - before[kept]))
    return _Enlarging(put(resize), put(box @ resize), put(box.sum(1)), edges)
