"""RFSIM: how alike the first and second order Riesz transforms of two pictures are, near their edges.

    RFSIM = product over five maps R of mean over the mask of s(R1, R2; 1.2)      s(a, b; c) = (2ab + c)/(a^2 + b^2 + c)
    H1 = -i u/|w|, H2 = -i v/|w|;  R = H1 x, H2 x, H1 H1 x, H1 H2 x, H2 H2 x

The mask is every pixel near an edge of either picture: MATLAB's Canny, grown by 4x4. A product of five, so small
even for mild noise. Another Canny (scikit-image's) moves the score by about 0.002.

Source: L. Zhang, L. Zhang, X. Mou, "RFSIM: A Feature Based Image Quality Assessment Metric Using Riesz Transforms",
ICIP 2010, doi:10.1109/ICIP.2010.5649275.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vqmeter.frames import Frame
from vqmeter.kernels import box, canny
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, Scale, Stream
from vqmeter.metrics.fr.phase_congruency import frequencies
from vqmeter.metrics.fr.similarity import Arrays, Features, SimilarityMeter, similarity
from vqmeter.metrics.fr.ssim import luma

SMALLEST = 16  # pixels a side
CONSTANT = 1.2
SIGMA, LOW, HIGH = 3.6, 0.08, 0.13  # Canny; thresholds in units of the largest gradient
GROWTH = 4  # pixels


@dataclass(frozen=True)
class Rfsim:
    """Riesz-transform feature similarity of luma."""

    about: ClassVar[About] = About(
        title="RFSIM, Riesz-transform feature similarity of luma",
        definition="Luma, 0..255 (YUV: the Y plane as stored x 255/peak, a limited range left so; RGB: .298936 R + "
        ".587043 G + .114021 B rounded to a whole sample), is brought down by F = max(1, round(min(w,h)/256)) (halves "
        "up): mean of F x F, zero border, window from -(F-1-floor(F/2)), every F-th sample. Riesz transforms over the "
        "discrete Fourier spectrum: H1 = -i u/|w|, H2 = -i v/|w|, zero at DC, frequencies of an odd n over n-1; five "
        "maps: H1, H2, H1H1, H1H2, H2H2. Mask: MATLAB's Canny of either picture (sigma 3.6, 32 taps, thresholds .08 and .13 of "
        "the largest gradient), each edge pixel grown to 4x4 (-1..+2); all pixels if there is no edge. s(a,b;c) = "
        "(2ab+c)/(a^2+b^2+c). RFSIM = product over the maps of the mean of s(.;1.2) over the mask. A video's score is "
        "the mean over frames. At least 16x16 pixels. Edges are found on the CPU whatever the device.",
        source="L. Zhang, L. Zhang, X. Mou, RFSIM: A Feature Based Image Quality Assessment Metric Using Riesz "
        "Transforms, IEEE ICIP 2010:321-324, doi:10.1109/ICIP.2010.5649275",
        differs="No other program computes it that we know of; with another Canny scores move by about .002.",
        validated="a second port of the authors' MATLAB: goldhill .3494, I01 .3216, met to the last digit; no published values "
        "to hold it to",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {"rfsim": Scale("", -1.0, 1.0, definition="Riesz-transform feature similarity (Zhang 2010)")}

    def open(self, stream: Stream, context: Context) -> RfsimMeter:
        return RfsimMeter(self.scales(), stream, context, SMALLEST)


class RfsimMeter(SimilarityMeter):
    key = "rfsim"

    def reduce(self, frame: Frame) -> Arrays:
        info = frame.info
        gray = rows(luma(frame))
        down = box.box_sum(gray, info.width, self.factor) * np.float64(255 / info.pix_fmt.peak / self.factor**2)
        return down, canny.edges(down, SIGMA, LOW, HIGH, GROWTH)

    def features(self, *pictures: Tensor) -> Features:
        return riesz(pictures[0]), pictures[1]

    def compare(self, ref: Features, dist: Features) -> Tensor:
        mask = (ref[1] | dist[1]) > 0
        mask = (mask | ~mask.any(-1, keepdim=True).any(-2, keepdim=True))[:, None].float()
        alike = similarity(ref[0], dist[0], CONSTANT) * mask
        return (alike.sum((-2, -1), dtype=torch.float64) / mask.sum((-2, -1), dtype=torch.float64)).prod(1)


def riesz(x: Tensor) -> Tensor:
    """The five Riesz transforms (N, 5, H, W) float32 of pictures (N, H, W)."""
    h, w = x.shape[-2:]
    spectrum = torch.fft.rfft2((x - x[:, :1, :1]).float())
    return torch.fft.irfft2(spectrum[:, None] * _transforms(h, w, x.device), s=(h, w))


@lru_cache(maxsize=8)
def _transforms(height: int, width: int, device: torch.device) -> Tensor:
    """Transfer functions (5, H, W // 2 + 1) complex64; each made Hermitian, which is what taking the real part does."""
    v, u = np.meshgrid(frequencies(height), frequencies(width), indexing="ij")
    radius = np.hypot(u, v)
    radius[0, 0] = 1
    first, second = -1j * u / radius, -1j * v / radius
    whole = np.stack((first, second, first * first, first * second, second * second))
    whole = (whole + np.roll(whole[:, ::-1, ::-1], 1, (1, 2)).conj()) / 2
    return torch.from_numpy(whole[..., : width // 2 + 1].astype(np.complex64)).to(device)
