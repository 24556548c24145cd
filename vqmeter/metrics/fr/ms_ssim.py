"""MS-SSIM of Wang, Simoncelli and Bovik 2003: SSIM over five scales, each half the size of the one before.

    MS-SSIM = prod over scales 1 to 4 of mean(cs)^w  x  mean(ssim of scale 5)^w    w = .0448 .2856 .3001 .2363 .1333

cs is SSIM's contrast-structure term and both are as in `ssim`; scale 1 is the picture itself. Between scales samples are
averaged two by two each way, from the first; of an odd size the last is mirrored. A mean below zero counts as zero,
because a power of it is no real number. RGB is measured on its luma, rounded as MATLAB's rgb2gray has it.
Source: Asilomar Conference on Signals, Systems and Computers 2003, https://doi.org/10.1109/ACSSC.2003.1292216
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from vqmeter.errors import MismatchError
from vqmeter.frames import Frame
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, FrameMeter, Meter, Sample, Scale, Stream
from vqmeter.metrics.fr.ssim import TAPS, luma, torch_shrink, torch_ssim_cs, upload

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = (TAPS - 1) * 2 ** (len(WEIGHTS) - 1) + 1  # 161 lines leave 11 at the fifth scale
_DEFINITION = "Wang 2003: five scales, weights .0448 .2856 .3001 .2363 .1333, Gaussian 11x11, K 0.01/0.03, valid region"
_SCALE = Scale("", 0.0, 1.0, "higher", f"{_DEFINITION}; plane y")


@dataclass(frozen=True)
class MsSsim:
    """Score `ms_ssim_y`, 0 to 1, higher is better, 1 is identical."""

    about: ClassVar[About] = About(
        title="Multi-scale structural similarity",
        definition=f"{_DEFINITION}; the product of the mean contrast-structure terms of scales 1 to 4 and the mean SSIM of "
        "scale 5, each to its weight (they sum to 1.0001, as published). Scale 1 is the picture itself; each further one "
        "has the means of 2x2 samples, from the first, the last mirrored at odd sizes. A negative mean counts as 0. RGB is "
        f"measured on its luma (0.2989 R + 0.5870 G + 0.1140 B, rounded). Pictures of {SMALLEST}x{SMALLEST} and more; the "
        "authors' program refuses those below 176x176, so scores of 161 to 175 lines have no counterpart there.",
        source="Wang, Simoncelli, Bovik: Multiscale structural similarity for image quality assessment. Asilomar Conference "
        "2003, doi:10.1109/ACSSC.2003.1292216",
        differs="libvmaf's float_ms_ssim filters with a 9-tap wavelet kernel between scales; pyiqa pads odd sizes with "
        "zeros; the authors' first program left out the last exponent; piq takes RGB and averages the channels.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {"ms_ssim_y": _SCALE}

    def open(self, stream: Stream, context: Context) -> Meter:
        return MsSsimMeter(stream) if context.device == "cpu" else TorchMsSsimMeter(stream, context.device)


class MsSsimMeter(FrameMeter):
    """The numba kernels, one frame a thread."""

    def __init__(self, stream: Stream) -> None:
        info = stream.dist
        self._peak = stream.compare_format.peak
        self.scores = {"ms_ssim_y": _SCALE}
        if min(info.width, info.height) < SMALLEST:
            raise MismatchError(f"{info.path}: {info.width}x{info.height} is too small for ms_ssim, which wants "
                                f"{SMALLEST}x{SMALLEST}")  # fmt: skip

    def prepare(self, sample: Sample) -> Sequence[float]:
        return [combined(self._terms(*sample.pair))]

    def _terms(self, ref: Frame, dist: Frame) -> list[tuple[float, float]]:
        from vqmeter.kernels.ssim import ssim_cs

        levels = zip(pyramid(ref), pyramid(dist), strict=True)
        return [ssim_cs(a, b, width, float(self._peak)) for (a, width), (b, _) in levels]


def combined(terms: Sequence[tuple[float, float]]) -> float:
    """MS-SSIM of the mean SSIM and mean contrast-structure term of every scale, the finest first."""
    means = [contrast for _, contrast in terms[:-1]] + [terms[-1][0]]
    product = 1.0
    for mean, weight in zip(means, WEIGHTS, strict=True):
        product *= max(mean, 0.0) ** weight
    return product


def pyramid(frame: Frame) -> list[tuple[NDArray[Any], int]]:
    """The luma of `frame` at every scale: rows as kernels want them, and the width of the picture in them."""
    return frame.derive("ms_ssim", _pyramid)


def _pyramid(frame: Frame) -> list[tuple[NDArray[Any], int]]:
    from vqmeter.kernels.shrink import shrink

    plane = luma(frame)
    levels = [(rows(plane), plane.shape[1])]
    for _ in WEIGHTS[1:]:
        half = shrink(*levels[-1], 2)
        levels.append((rows(half), half.shape[1]))
    return levels


class TorchMsSsimMeter(MsSsimMeter):
    """The same on a torch device."""

    def __init__(self, stream: Stream, device: str) -> None:
        super().__init__(stream)
        self._device = device

    def _terms(self, ref: Frame, dist: Frame) -> list[tuple[float, float]]:
        a, b = upload((luma(ref), luma(dist)), self._device)
        terms = []
        for scale in range(len(WEIGHTS)):
            if scale:
                a, b = torch_shrink(a, 2), torch_shrink(b, 2)
            terms.append(torch_ssim_cs(a, b, self._peak))
        return [(float(similarity.item()), float(contrast.item())) for similarity, contrast in terms]
