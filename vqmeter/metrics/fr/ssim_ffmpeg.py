"""SSIM as FFmpeg's `ssim` filter has it: 8x8 blocks on a grid of four samples, integer sums, each plane and all together.

    SSIM = (2 Sx Sy + C1)(2 (64 Sxy - Sx Sy) + C2) / ((Sx^2 + Sy^2 + C1)(64 (Sxx + Syy) - Sx^2 - Sy^2 + C2))

of the sums over a block, C1 = round(64 (0.01 peak)^2), C2 = round(64 63 (0.03 peak)^2), peak = 2^depth - 1. A plane's
score is the mean of its blocks; that of all planes weighs them by their samples (4:1:1 in 4:2:0).
Source: FFmpeg's manual, filter `ssim`, and its logs; the blocks go back to x264's.
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

BLOCK = 8
_LETTER = {"y": "y", "cb": "u", "cr": "v", "r": "r", "g": "g", "b": "b"}
_DEFINITION = "FFmpeg's ssim filter: uniform 8x8 blocks every 4 samples, integer sums"


def _scale(what: str) -> Scale:
    return Scale("", -1.0, 1.0, "higher", f"{_DEFINITION}; {what}")


@dataclass(frozen=True)
class SsimFfmpeg:
    """Scores `ssim_ffmpeg_y _u _v` and `ssim_ffmpeg` (`_r _g _b` of RGB); -1 to 1, higher is better, 1 is identical."""

    about: ClassVar[About] = About(
        title="Structural similarity as FFmpeg's filter has it",
        definition=f"{_DEFINITION}, C1 = round(64 (0.01 peak)^2) and C2 = round(64 63 (0.03 peak)^2) in these units, peak = "
        "2^depth - 1; up to three samples left over at the right and the bottom do not count. ssim_ffmpeg_y, _u, _v (_r, "
        "_g, _b of RGB) are the means over a plane; ssim_ffmpeg (FFmpeg's All) weighs planes by their samples. Every "
        "plane must be 8x8 or more.",
        source="FFmpeg's manual, filter ssim: equal to what its stats_file prints, to the last digit.",
        differs="ssim here is Wang's: a Gaussian window at every sample. In blocks of 64 samples Wang's C1 would be 64 times "
        "FFmpeg's, so dark areas count for more here. FFmpeg also prints decibels, -10 log10(1 - SSIM).",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {**{f"ssim_ffmpeg_{c}": _scale(f"plane {c}") for c in _LETTER.values()}, "ssim_ffmpeg": _scale("all planes")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return SsimFfmpegMeter(stream) if context.device == "cpu" else TorchSsimFfmpegMeter(stream, context.device)


class SsimFfmpegMeter(FrameMeter):
    """The numba kernel, one frame a thread."""

    def __init__(self, stream: Stream) -> None:
        fmt, info = stream.compare_format, stream.dist
        self._depth = fmt.bit_depth
        letters = [_LETTER[c] for c in fmt.component_names]
        self.scores = {f"ssim_ffmpeg_{c}": _scale(f"plane {c}") for c in letters} | {"ssim_ffmpeg": _scale("all planes")}
        chroma = fmt.chroma_size(info.width, info.height) if fmt.family == "yuv" else ()
        if min(info.width, info.height, *chroma) < BLOCK:
            raise MismatchError(f"{info.path}: {info.width}x{info.height} is too small for ssim_ffmpeg, which wants "
                                f"{BLOCK}x{BLOCK} samples in every plane")  # fmt: skip

    def prepare(self, sample: Sample) -> Sequence[float]:
        ref, dist = sample.pair
        values = [self._similarity(a, b) for a, b in zip(ref.planes, dist.planes, strict=True)]
        sizes = [plane.size for plane in dist.planes]
        return [*values, sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)]

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        from vqmeter.kernels.block_ssim import block_ssim

        return block_ssim(rows(ref), rows(dist), dist.shape[1], self._depth)


class TorchSsimFfmpegMeter(SsimFfmpegMeter):
    """The same on a torch device, in 64-bit integers up to the quotient."""

    def __init__(self, stream: Stream, device: str) -> None:
        super().__init__(stream)
        self._device = device

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        import torch

        a, b = (torch.from_numpy(np.array(p)).to(self._device, torch.int64) for p in (ref, dist))
        return float(torch_block_ssim(a, b, self._depth).item())


def torch_block_ssim(ref: Any, dist: Any, depth: int) -> Any:
    """Mean of two (H, W) int64 tensors of samples of `depth` bits; a scalar tensor, float64."""
    import torch

    peak, down, across = (1 << depth) - 1, ref.shape[0] // 4, ref.shape[1] // 4
    c1, c2 = int(0.01 * 0.01 * peak * peak * 64 + 0.5), int(0.03 * 0.03 * peak * peak * 64 * 63 + 0.5)
    x, y = (p[: 4 * down, : 4 * across] for p in (ref, dist))
    squares = torch.stack([x, y, x * x + y * y, x * y]).view(4, down, 4, across, 4).sum((2, 4))
    pairs = squares[:, 1:] + squares[:, :-1]
    a, b, square, product = pairs[..., 1:] + pairs[..., :-1]
    ab, aabb = a * b, a * a + b * b
    over = (2 * ab + c1).float() * (2 * (64 * product - ab) + c2).float()
    return (over / ((aabb + c1).float() * (64 * square - aabb + c2).float())).double().mean()
