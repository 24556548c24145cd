"""From frames to tensors of luma and RGB.

Samples are uploaded as they are (uint8 or uint16) and converted on the device; on the CPU RGB is made by the numba
kernel instead. Both read `colour` and give the same numbers to 1e-6. Chroma goes up bilinearly with
MPEG-2's left siting (horizontally on a luma sample, vertically between two lines); R, G, B are clipped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter.colour import Colour, colour, rgb_matrix
from vqmeter.frames import Frame, PixelFormat, Plane
from vqmeter.kernels import rgb as rgb_kernels
from vqmeter.kernels.rows import rows
from vqmeter.tensors.shapes import NO_TAPS, taps


def upload(planes: Sequence[Plane], to: torch.device | str = "cpu") -> list[Tensor]:
    """The planes as tensors of their own type on the device, in memory of their own."""
    return [torch.from_numpy(np.ascontiguousarray(plane)).to(to, copy=True) for plane in planes]


def luma(frame: Frame, to: torch.device | str = "cpu") -> Tensor:
    """(H, W) float32 in 0..255: luma as stored (a limited range stays so), or .299 R + .587 G + .114 B."""
    fmt = frame.info.pix_fmt
    planes = upload(frame.planes[: 3 if fmt.family == "rgb" else 1], to)
    if fmt.family == "rgb":
        r, g, b = (plane.float() for plane in planes)
        return (0.299 * r + 0.587 * g + 0.114 * b) * (255 / fmt.peak)
    return planes[0].float() * (255 / fmt.peak)


def rgb(frame: Frame, to: torch.device | str = "cpu", meaning: Colour | None = None) -> Tensor:
    """(3, H, W) float32 in [0, 1] on the device; `meaning` overrides `colour(frame.info)`."""
    if torch.device(to).type == "cpu":
        return torch.from_numpy(rgb_array(frame, meaning))
    fmt = frame.info.pix_fmt
    matrix = rgb_matrix(fmt, meaning or colour(frame.info))
    return rgb_of_planes([plane[None] for plane in upload(frame.planes, to)], fmt, matrix)[0]


def rgb_array(frame: Frame, meaning: Colour | None = None) -> NDArray[np.float32]:
    """(3, H, W) float32 in [0, 1] in numpy's memory, without the GIL."""
    width, matrix = frame.info.width, rgb_matrix(frame.info.pix_fmt, meaning or colour(frame.info))
    made: NDArray[np.float32] = rgb_kernels.rgb(three_planes(frame), width, *_subsampling(frame.info.pix_fmt),
                                                matrix.astype(np.float32))  # fmt: skip
    return made


def three_planes(frame: Frame) -> list[Plane]:
    """Planes for the RGB kernels; grey stands in for its own chroma."""
    planes = [rows(plane) for plane in frame.planes[:3]]
    return planes if len(planes) == 3 else planes * 3


def _subsampling(fmt: PixelFormat) -> tuple[int, int]:
    return (fmt.sub_x, fmt.sub_y) if fmt.family == "yuv" else (0, 0)


@dataclass(frozen=True, eq=False)
class Kept:
    """The samples of one frame in memory of their own, and what they mean: `matrix` is that of `colour.rgb_matrix`."""

    planes: tuple[Plane, ...]  # (H, W) uint8 or uint16, contiguous
    pix_fmt: PixelFormat
    matrix: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.planes[0].shape
        return height, width


def keep(frame: Frame) -> Kept:
    """A copy of a frame that outlives it, for models that need whole frames; made once for all that look at it."""

    def make(frame: Frame) -> Kept:
        planes = tuple(np.array(plane, order="C") for plane in frame.planes[:3])
        return Kept(planes, frame.info.pix_fmt, rgb_matrix(frame.info.pix_fmt, colour(frame.info)))

    return frame.derive("kept", make)


def to_rgb(
    batch: Sequence[Kept], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, order: str = "RGB",
    scale: float = 1.0,
) -> Tensor:  # fmt: skip
    """(N, 3, H, W) of frames of one video, R, G, B (or `order="BGR"`) in [0, scale], on the device.

    Uploaded as integers from pinned memory without waiting; made in float32, whatever `dtype` is.
    """
    fmt = batch[0].pix_fmt
    matrix = batch[0].matrix if order == "RGB" else batch[0].matrix[::-1].copy()
    if torch.device(device).type == "cpu":
        x = torch.empty((len(batch), 3, *batch[0].size))
        for out, kept in zip(x, batch, strict=True):
            out.copy_(torch.from_numpy(kept_rgb(kept, matrix)))
    else:
        stacked = (torch.from_numpy(np.stack(planes)) for planes in zip(*(kept.planes for kept in batch), strict=True))
        x = rgb_of_planes([plane.pin_memory().to(device, non_blocking=True) for plane in stacked], fmt, matrix)
    return (x if scale == 1 else x.mul_(scale)).to(dtype)


def kept_rgb(kept: Kept, matrix: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """(3, H, W) float32 in [0, 1] in numpy's memory, by the samples' own matrix unless another is given."""
    planes = kept.planes if len(kept.planes) == 3 else kept.planes * 3
    flat = (kept.matrix if matrix is None else matrix).astype(np.float32)
    made: NDArray[np.float32] = rgb_kernels.rgb(planes, kept.size[1], *_subsampling(kept.pix_fmt), flat)
    return made


def rgb_reduced(
    frame: Frame, factor: int, size: tuple[int, int] | None = None, meaning: Colour | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """R, G, B downsampled by D(F), and resized to `size` (h, w) with an antialiased triangle, in one pass.

    Returns
        (3, ceil(H / F), ceil(W / F)) and (3, h, w) float32 in [0, 1]; the second is empty without a `size`.
    """
    info = frame.info
    matrix = rgb_matrix(info.pix_fmt, meaning or colour(info)).astype(np.float32)
    down = taps(info.height, size[0], False) if size else NO_TAPS
    across = taps(info.width, size[1], True) if size else NO_TAPS
    boxes, resized = rgb_kernels.rgb_reduced(
        three_planes(frame), info.width, *_subsampling(info.pix_fmt), matrix, factor, down, across
    )
    return boxes / np.float32(factor**2), resized


def rgb_of_planes(planes: Sequence[Tensor], fmt: PixelFormat, matrix: NDArray[np.float64]) -> Tensor:
    """(N, 3, H, W) float32 in [0, 1] of planes (N, h, w) of integers, on their device; `matrix` of `rgb_matrix`."""
    h, w = planes[0].shape[-2:]
    first = planes[0].float()
    if fmt.family == "gray":
        samples = [first]
    elif fmt.family == "rgb":
        samples = [first, planes[1].float(), planes[2].float()]
    else:
        samples = [first, *(chroma_up(plane, h, w, fmt.sub_x, fmt.sub_y) for plane in planes[1:])]
    out = []
    for row in matrix:
        channel = sum(float(k) * s for k, s in zip(row, samples, strict=False) if k) + float(row[3])
        out.append(torch.clamp(torch.as_tensor(channel), 0, 1))
    return torch.stack(out, 1)


def chroma_up(plane: Tensor, height: int, width: int, sub_x: int, sub_y: int) -> Tensor:
    """Chroma (N, h, w) at the size of luma, float32."""
    up = plane.float()
    if sub_y:
        at = (torch.arange(height, device=up.device) + 0.5) / (1 << sub_y) - 0.5
        up = _interpolate(up, at, -2)
    if sub_x:
        at = torch.arange(width, device=up.device) / (1 << sub_x)
        up = _interpolate(up, at, -1)
    return up


def _interpolate(x: Tensor, at: Tensor, dim: int) -> Tensor:
    last = x.shape[dim] - 1
    before = at.floor()
    t = (at - before).to(x.dtype)
    t = t[:, None] if dim == -2 else t
    low, high = before.long().clamp(0, last), (before.long() + 1).clamp(0, last)
    return torch.lerp(x.index_select(dim, low), x.index_select(dim, high), t.expand_as(x.index_select(dim, low)))
