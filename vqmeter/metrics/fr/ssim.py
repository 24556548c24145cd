"""SSIM of Wang, Bovik, Sheikh and Simoncelli 2004, on full-resolution planes.

    SSIM(x, y) = (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))

Moments under an 11x11 Gaussian, sigma 1.5, population covariance, C1 = (0.01 L)^2, C2 = (0.03 L)^2, L = 2^depth - 1;
the mean over the valid region, where the window lies inside the picture. RGB is measured on its luma, rounded as
MATLAB's rgb2gray has it.
Source: IEEE Trans. Image Processing 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vqmeter.errors import MismatchError
from vqmeter.frames import Frame, Plane
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, FrameMeter, Mapped, Meter, QualityMap, Sample, Scale, Stream

TAPS = 11
_RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_DEFINITION = "Wang 2004: Gaussian 11x11, sigma 1.5, K 0.01/0.03, population covariance, valid region, full resolution"


def _scale(component: str) -> Scale:
    return Scale("", -1.0, 1.0, "higher", f"{_DEFINITION}; plane {component}")


@dataclass(frozen=True)
class Ssim:
    """Score `ssim_y`, and with all planes `ssim_cb ssim_cr`; -1 to 1, higher is better, 1 is identical."""

    about: ClassVar[About] = About(
        title="Structural similarity",
        definition=f"{_DEFINITION}; L = 2^depth - 1; the mean of the map. ssim_cb and ssim_cr with --planes yuv. "
        "RGB is measured on its luma (0.2989 R + 0.5870 G + 0.1140 B, rounded). Pictures of 11x11 and more.",
        source="Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural "
        "Similarity. IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861",
        differs="The authors' ssim.m and piq first scale the picture down to about 256 lines; ffmpeg averages 8x8 "
        "blocks on a 4-pixel grid; libvmaf's float_ssim scales down and rounds its moments; scikit-image's default is "
        "a uniform 7x7 window with sample covariance.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False
    has_map: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {f"ssim_{c}": _scale(c) for c in ("y", "cb", "cr")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return SsimMeter(stream, context.maps) if context.device == "cpu" else TorchSsimMeter(stream, context.device, context.maps)


def luma(frame: Frame) -> Plane:
    """The (H, W) plane that metrics of brightness look at: Y, grey, or rgb2gray of RGB rounded to the frame's depth."""
    if frame.info.pix_fmt.family != "rgb":
        return frame.planes[0]
    return frame.derive("luma", _rgb2gray)


def _rgb2gray(frame: Frame) -> Plane:
    grey = sum(w * plane for w, plane in zip(_RGB2GRAY, frame.planes, strict=True))
    return np.floor(np.asarray(grey) + 0.5).astype(frame.planes[0].dtype)


class SsimMeter(FrameMeter):
    """The numba kernel, one frame a thread."""

    def __init__(self, stream: Stream, maps: bool = False) -> None:
        fmt, info = stream.compare_format, stream.dist
        self._maps = maps
        self._depth = fmt.bit_depth
        names = fmt.component_names if stream.planes == "yuv" and fmt.family == "yuv" else ("y",)
        self.scores = {f"ssim_{c}": _scale(c) for c in names}
        smallest = min(info.width, info.height, *(fmt.chroma_size(info.width, info.height) if len(names) > 1 else ()))
        if smallest < TAPS:
            raise MismatchError(f"{info.path}: {info.width}x{info.height} is too small for ssim, which wants {TAPS}x{TAPS} "
                                "samples in every plane")  # fmt: skip

    def planes(self, frame: Frame) -> tuple[Plane, ...]:
        return (luma(frame), *frame.planes[1 : len(self.scores)])

    def prepare(self, sample: Sample) -> Sequence[float] | Mapped:
        ref, dist = (self.planes(frame) for frame in sample.pair)
        values = [self._similarity(a, b) for a, b in zip(ref, dist, strict=True)]
        return Mapped(values, (self._map(ref[0], dist[0], sample.index),)) if self._maps else values

    def _map(self, ref: Plane, dist: Plane, index: int) -> QualityMap:
        from vqmeter.kernels.ssim import ssim_map

        return QualityMap("ssim_y", index, ssim_map(rows(ref), rows(dist), dist.shape[1], self._depth), 0.0, 1.0)

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        from vqmeter.kernels.ssim import ssim

        return float(ssim(rows(ref), rows(dist), dist.shape[1], self._depth))


class TorchSsimMeter(SsimMeter):
    """The same on a torch device, from sums and differences of the samples as the kernel has them."""

    def __init__(self, stream: Stream, device: str, maps: bool = False) -> None:
        super().__init__(stream, maps)
        self._device = device

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        import torch

        a, b = (torch.from_numpy(np.ascontiguousarray(p)).to(self._device, torch.float32) for p in (ref, dist))
        return float(torch_ssim(a, b, (1 << self._depth) - 1).item())


def torch_ssim(ref: Any, dist: Any, peak: int) -> Any:
    """SSIM of two (H, W) float32 tensors of samples in 0..peak; a scalar tensor, float64.

    With s = x + y - peak and d = x - y: 4 mx my = (S + peak)^2 - D^2 and 4 sxy = Vs - Vd, where S, D are means and
    Vs, Vd variances of s and d; nothing large cancels.
    """
    import torch
    from torch.nn.functional import conv2d

    taps = torch.exp(-0.5 * ((torch.arange(TAPS, dtype=torch.float64) - TAPS // 2) / 1.5) ** 2)
    taps = (taps / taps.sum()).to(ref)
    s, d = ref + dist - peak, ref - dist
    planes = torch.stack([s, d, s * s, d * d])[:, None]
    mean_s, mean_d, square_s, square_d = conv2d(conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))[:, 0]
    var_s, var_d = square_s - mean_s**2, square_d - mean_d**2
    sum2, diff2 = (mean_s + peak) ** 2, mean_d**2
    c1, c2 = 2 * (0.01 * peak) ** 2, 2 * (0.03 * peak) ** 2
    similarity = (sum2 - diff2 + c1) * (var_s - var_d + c2) / ((sum2 + diff2 + c1) * (var_s + var_d + c2))
    return similarity.double().mean()
