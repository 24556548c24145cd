"""FSIM and FSIMc: how alike phase congruency and gradients (and chroma) are, weighted by phase congruency.

    S = s(PC1, PC2; .85) s(G1, G2; 160)        s(a, b; c) = (2ab + c) / (a^2 + b^2 + c)
    FSIM = sum(S max(PC1, PC2)) / sum(max(PC1, PC2))
    FSIMc the same with S Re[(s(I1, I2; 200) s(Q1, Q2; 200))^.03], I and Q of YIQ

on pictures brought down by D(F). Phase congruency is Kovesi's phasecong2 with the authors' settings. The pictures'
own chroma weights are the originals' three-digit YIQ; piq and pyiqa use four digits and average without MATLAB's
window offsets, and differ in the fourth digit or, at F >= 3, in the third.

Source: L. Zhang, L. Zhang, X. Mou, D. Zhang, "FSIM: A Feature Similarity Index for Image Quality Assessment",
IEEE Trans. Image Processing 20(8), 2011, doi:10.1109/TIP.2011.2109730; P. Kovesi, "Image Features from Phase
Congruency", Videre 1(3), 1999.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vqmeter import tensors
from vqmeter.frames import Frame
from vqmeter.metric import About, Context, Scale, Stream
from vqmeter.metrics.fr.phase_congruency import phase_congruency
from vqmeter.metrics.fr.similarity import (
    LUMA,
    Arrays,
    Features,
    SimilarityMeter,
    chroma_similarity,
    luma_down,
    mix,
    scharr,
    similarity,
    weighted_mean,
)

SMALLEST = 16  # pixels a side
PC_CONSTANT, GRADIENT_CONSTANT, CHROMA_CONSTANT, CHROMA_POWER = 0.85, 160.0, 200.0, 0.03
YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

_PHASE = (
    "Phase congruency (Kovesi, phasecong2): 4 scales, 4 orientations, shortest wavelength 6 px, ratio 2, sigmaOnf .55, "
    "angular sigma pi/4/1.2, k = 2, epsilon 1e-4, Butterworth low-pass (.45, order 15), noise threshold from the "
    "median energy of the finest scale, divided by 1.7. Gradient G: Scharr [3 0 -3; 10 0 -10; 3 0 -3]/16 and its "
    "transpose, zero border. s(a,b;c) = (2ab+c)/(a^2+b^2+c). "
)
_DOWN = (
    "is brought down by F = max(1, round(min(w,h)/256)) (halves up): mean of F x F, zero border, window from "
    "-(F-1-floor(F/2)), every F-th sample. "
)
_SOURCE = (
    "L. Zhang, L. Zhang, X. Mou, D. Zhang, FSIM: A Feature Similarity Index for Image Quality Assessment, IEEE "
    "Trans. Image Processing 20(8):2378-2386, 2011, doi:10.1109/TIP.2011.2109730"
)


@dataclass(frozen=True)
class Fsim:
    """Feature similarity of luma."""

    about: ClassVar[About] = About(
        title="FSIM, feature similarity of luma",
        definition="Luma, 0..255 (YUV: the Y plane as stored x 255/peak, a limited range left so; RGB: .299 R + "
        ".587 G + .114 B, unrounded), " + _DOWN + _PHASE + "FSIM = sum(s(PC1,PC2;.85) s(G1,G2;160) PCm)/sum(PCm), "
        "PCm = max(PC1,PC2). Pictures without any phase congruency: the plain mean of s(PC) s(G). A video's score is "
        "the mean over frames. At least 16x16 pixels.",
        source=_SOURCE,
        differs="piq averages with avg_pool, which shifts the windows at F >= 3 (from 640 lines up); pyiqa's 'fsim' is FSIMc.",
        validated="the authors' MATLAB: goldhill .89691, I01 .93674 (as asserted by piq's tests), met to 1e-4",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {"fsim": Scale("", 0.0, 1.0, definition="feature similarity of luma (Zhang 2011)")}

    def open(self, stream: Stream, context: Context) -> FsimMeter:
        return FsimMeter(self.scales(), stream, context, SMALLEST)


@dataclass(frozen=True)
class Fsimc:
    """Feature similarity of luma and chroma."""

    about: ClassVar[About] = About(
        title="FSIMc, feature similarity of luma and chroma",
        definition="R, G, B in 0..255 (YUV by the stream's matrix and range, chroma bilinear with left siting, clipped) "
        "to Y = .299 R + .587 G + .114 B, I = .596 R - .274 G - .322 B, Q = .211 R - .523 G + .312 B; each " + _DOWN
        + _PHASE + "FSIMc = sum(s(PC1,PC2;.85) s(G1,G2;160) Re[(s(I1,I2;200) s(Q1,Q2;200))^.03] PCm)/sum(PCm), "
        "PCm = max(PC1,PC2). A video's score is the mean over frames. At least 16x16 pixels.",
        source=_SOURCE,
        differs="piq and pyiqa use .5959 -.2746 -.3213; .2115 -.5227 .3112 for I and Q, |.| in place of the real part, "
        "and avg_pool for the downsampling; pyiqa calls this 'fsim'.",
        validated="the authors' MATLAB: I01 .92587 (as asserted by piq's tests), met to 1e-4",
    )  # fmt: skip
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {"fsimc": Scale("", 0.0, 1.0, definition="feature similarity of luma and chroma (Zhang 2011)")}

    def open(self, stream: Stream, context: Context) -> FsimcMeter:
        return FsimcMeter(self.scales(), stream, context, SMALLEST)


class FsimMeter(SimilarityMeter):
    key = "fsim"

    def reduce(self, frame: Frame) -> Arrays:
        return (luma_down(frame, self.factor),)

    def features(self, *pictures: Tensor) -> Features:
        return phase_congruency(pictures[0]), scharr(pictures[0].float())

    def compare(self, ref: Features, dist: Features) -> Tensor:
        return fsim(ref, dist)


class FsimcMeter(SimilarityMeter):
    key = "fsimc"

    def reduce(self, frame: Frame) -> Arrays:
        return (tensors.rgb_reduced(frame, self.factor)[0],)

    def features(self, *pictures: Tensor) -> Features:
        y, i, q = mix(pictures[0], YIQ)
        return phase_congruency(y), scharr(y), i, q

    def compare(self, ref: Features, dist: Features) -> Tensor:
        return fsim(ref, dist)


def fsim(ref: Features, dist: Features) -> Tensor:
    """(N,) FSIM of (phase congruency, gradient), FSIMc of (phase congruency, gradient, I, Q), each (N, H, W)."""
    alike = similarity(ref[0], dist[0], PC_CONSTANT) * similarity(ref[1], dist[1], GRADIENT_CONSTANT)
    if len(ref) == 4:
        alike *= chroma_similarity((ref[2], ref[3]), (dist[2], dist[3]), CHROMA_CONSTANT, CHROMA_POWER)
    return weighted_mean(alike, torch.maximum(ref[0], dist[0]))
