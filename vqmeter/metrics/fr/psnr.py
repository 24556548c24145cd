"""PSNR: 10 log10(peak^2 / MSE) in dB, of each plane and of all samples of all planes together.

Squared errors are summed exactly, in 64-bit integers, at the stream's own depth; peak is 2^depth - 1. `psnr` weighs
each sample alike (as ffmpeg's `psnr_avg`), so chroma counts by its size. Identical planes give infinity.
Source: any textbook; the pooling of planes is that of FFmpeg's psnr filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqmeter.frames import Frame
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, FrameMeter, Meter, Sample, Scale, Stream

_DEFINITION = "10 log10(peak^2 / MSE), peak = 2^depth - 1"


def _scale(what: str) -> Scale:
    return Scale("dB", 0.0, None, "higher", f"{_DEFINITION}; {what}", decibels=True, squared_error=True)


@dataclass(frozen=True)
class Psnr:
    """Scores `psnr_y psnr_cb psnr_cr psnr` (`psnr_r psnr_g psnr_b psnr` of RGB), dB, higher is better."""

    about: ClassVar[About] = About(
        title="Peak signal-to-noise ratio",
        definition=f"{_DEFINITION}, at the depth the videos are compared in, limited range or full; squared errors are "
        "summed exactly in 64-bit integers. psnr_y, psnr_cb, psnr_cr (psnr_r, psnr_g, psnr_b of RGB) are of one plane, "
        "psnr of all samples of all planes. Identical frames: null in frames, 6 x depth + 12 dB in statistics; "
        "mse_pooled is the PSNR of the mean MSE.",
        source="FFmpeg's psnr filter pools planes in the same way.",
        differs="ffmpeg prints the PSNR of the mean MSE as average (mse_pooled here); libvmaf caps every frame at "
        "6 x depth + 12 dB; piq and pyiqa take RGB in 0..1 and pool the channels.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {**{f"psnr_{c}": _scale(f"plane {c}") for c in ("y", "cb", "cr", "r", "g", "b")}, "psnr": _scale("all planes")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return PsnrMeter(stream) if context.device == "cpu" else TorchPsnrMeter(stream, context.device)


class PsnrMeter(FrameMeter):
    """Squared errors by the numba kernel, one frame a thread."""

    def __init__(self, stream: Stream) -> None:
        self._peak2 = stream.compare_format.peak**2
        names = [f"psnr_{c}" for c in stream.compare_format.component_names]
        self.scores = {name: _scale(f"plane {name[5:]}") for name in names} | {"psnr": _scale("all planes")}

    def prepare(self, sample: Sample) -> Sequence[float]:
        ref, dist = sample.pair
        errors = errors_reading(ref, dist) or squared_errors(ref.planes, dist.planes)
        return self._decibels(errors, [plane.size for plane in dist.planes])

    def _decibels(self, errors: Sequence[int], sizes: Sequence[int]) -> list[float]:
        pairs = [*zip(errors, sizes, strict=True), (sum(errors), sum(sizes))]
        return [decibels(error, size, self._peak2) for error, size in pairs]


def errors_reading(ref: Frame, dist: Frame) -> list[int] | None:
    """`squared_errors` of frames that lie unread in files, and are read on the way; None of others, or where reading fails."""
    from vqmeter.kernels.sse import sse_reading

    a, b = ref.unread(), dist.unread()
    if a is None or b is None:
        return None
    sums = sse_reading(a, b, [plane.size for plane in b.planes])
    if sums is None:
        return None  # whoever loads the planes says what is wrong
    ref.was_read(a)
    dist.was_read(b)
    found: list[int] = sums.tolist()
    return found


def squared_errors(ref: Sequence[Any], dist: Sequence[Any]) -> list[int]:
    """Exact sums of squared differences of pairs of (H, W) planes, all of one dtype."""
    from vqmeter.kernels.sse import sse

    sums: list[int] = sse(tuple(map(rows, ref)), tuple(map(rows, dist)), tuple(plane.shape[1] for plane in dist)).tolist()
    return sums


def decibels(error: int, samples: int, peak2: int) -> float:
    """PSNR of a sum of squared errors over `samples` samples; infinite where there is none."""
    return math.inf if error == 0 else 10 * math.log10(peak2 * samples / error)


class TorchPsnrMeter(PsnrMeter):
    """The same sums on a torch device."""

    def __init__(self, stream: Stream, device: str) -> None:
        super().__init__(stream)
        self._device = device

    def prepare(self, sample: Sample) -> Sequence[float]:
        import torch

        ref, dist = sample.pair
        errors = []
        for a, b in zip(ref.planes, dist.planes, strict=True):
            x, y = (torch.from_numpy(np.array(p)).to(self._device, torch.int32) for p in (a, b))
            errors.append(int((x - y).to(torch.int64).square().sum().item()))
        return self._decibels(errors, [plane.size for plane in dist.planes])
