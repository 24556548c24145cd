"""UQI, the universal quality index of Wang and Bovik 2002: SSIM without its constants, in a uniform window.

    Q = 4 sxy mx my / ((sx^2 + sy^2)(mx^2 + my^2))

over 8x8 windows at every sample of the valid region, and the mean of all windows. Sums are exact integers, so a window
is flat or black only where it is so: Q is then the limit that the formula has there, never 0 / 0 nor a quotient of
rounding errors. RGB is measured on its luma, rounded as MATLAB's rgb2gray has it.
Source: IEEE Signal Processing Letters 9(3), 2002, https://doi.org/10.1109/97.995823
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqmeter.errors import MismatchError
from vqmeter.frames import Plane
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, FrameMeter, Meter, Sample, Scale, Stream
from vqmeter.metrics.fr.ssim import luma

WINDOW = 8
_DEFINITION = "Wang and Bovik 2002: uniform 8x8 windows at every sample, valid region, exact integer sums"
_SCALE = Scale("", -1.0, 1.0, "higher", f"{_DEFINITION}; plane y")


@dataclass(frozen=True)
class Uqi:
    """Score `uqi_y`, -1 to 1, higher is better, 1 is identical."""

    about: ClassVar[About] = About(
        title="Universal quality index",
        definition=f"{_DEFINITION}; Q = 4 sxy mx my / ((sx^2 + sy^2)(mx^2 + my^2)); the mean of all windows. Where both "
        "pictures are flat in a window, Q is 2 mx my / (mx^2 + my^2); where both are black, 1. One flat picture: 0. "
        "RGB is measured on its luma (0.2989 R + 0.5870 G + 0.1140 B, rounded). Pictures of 8x8 and more. Nothing "
        "steadies the quotient, so flat areas with faint noise weigh as much as edges: that is the index.",
        source="Wang, Bovik: A Universal Image Quality Index. IEEE Signal Processing Letters 9(3), 2002, doi:10.1109/97.995823",
        differs="In floating point a flat window's variance is a rounding error rather than zero, and its quotient anything; "
        "some copies of the authors' img_qi.m leave such windows out of the mean; torchmetrics has a Gaussian 11x11 window.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {"uqi_y": _SCALE}

    def open(self, stream: Stream, context: Context) -> Meter:
        return UqiMeter(stream) if context.device == "cpu" else TorchUqiMeter(stream, context.device)


class UqiMeter(FrameMeter):
    """The numba kernel, one frame a thread."""

    def __init__(self, stream: Stream) -> None:
        info = stream.dist
        self.scores = {"uqi_y": _SCALE}
        if min(info.width, info.height) < WINDOW:
            raise MismatchError(f"{info.path}: {info.width}x{info.height} is too small for uqi, which wants {WINDOW}x{WINDOW}")

    def prepare(self, sample: Sample) -> Sequence[float]:
        ref, dist = (luma(frame) for frame in sample.pair)
        return [self._index(ref, dist)]

    def _index(self, ref: Plane, dist: Plane) -> float:
        from vqmeter.kernels.uqi import uqi

        return uqi(rows(ref), rows(dist), dist.shape[1])


class TorchUqiMeter(UqiMeter):
    """The same on a torch device: 64-bit integers for the sums, float64 for the quotient."""

    def __init__(self, stream: Stream, device: str) -> None:
        super().__init__(stream)
        self._device = device

    def _index(self, ref: Plane, dist: Plane) -> float:
        import torch

        a, b = (torch.from_numpy(np.array(p)).to(self._device, torch.int64) for p in (ref, dist))
        return float(torch_uqi(a, b).item())


def torch_uqi(ref: Any, dist: Any) -> Any:
    """Mean UQI of two (H, W) int64 tensors; a scalar tensor, float64."""
    import torch
    from torch.nn.functional import pad

    sums = torch.stack([ref, dist, ref * ref + dist * dist, ref * dist])
    for axis in (1, 2):
        running = pad(sums.cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0)).movedim(axis, -1)
        sums = (running[..., WINDOW:] - running[..., :-WINDOW]).movedim(-1, axis)
    a, b, squares, product = sums
    ab, aabb = a * b, a * a + b * b
    covariance, variance = WINDOW**2 * product - ab, WINDOW**2 * squares - aabb
    flat, black = (variance == 0).long(), (aabb == 0).long()
    structure = (2 * covariance + flat).double() / (variance + flat).double()
    return (structure * ((2 * ab + black).double() / (aabb + black).double())).mean()
