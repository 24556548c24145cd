"""SSIM of Wang, Bovik, Sheikh and Simoncelli 2004, on full-resolution planes or, as its authors' ssim.m, on reduced ones.

    SSIM(x, y) = (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2))

Moments under an 11x11 Gaussian, sigma 1.5, population covariance, C1 = (0.01 L)^2, C2 = (0.03 L)^2, L = 2^depth - 1;
the mean over the valid region, where the window lies inside the picture. RGB is measured on its luma, rounded as
MATLAB's rgb2gray has it. With `down=true` planes are first reduced to about 256 lines (`ssim_down_y`).
Source: IEEE Trans. Image Processing 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import MismatchError
from vqmeter.frames import Frame, Plane
from vqmeter.kernels.rows import rows
from vqmeter.metric import About, Context, FrameMeter, Mapped, Meter, QualityMap, Sample, Scale, Stream

TAPS = 11
_RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_DEFINITION = "Wang 2004: Gaussian 11x11, sigma 1.5, K 0.01/0.03, population covariance, valid region"


def _scale(component: str, down: bool) -> Scale:
    resolution = "reduced by F = max(1, round(min(h, w) / 256))" if down else "full resolution"
    return Scale("", -1.0, 1.0, "higher", f"{_DEFINITION}, {resolution}; plane {component}")


@dataclass(frozen=True)
class Ssim:
    """Score `ssim_y`, and with all planes `ssim_cb ssim_cr`; -1 to 1, higher is better, 1 is identical.

    With `down` the scores are `ssim_down_y`, `ssim_down_cb`, `ssim_down_cr`.
    """

    down: bool = False

    about: ClassVar[About] = About(
        title="Structural similarity",
        definition=f"{_DEFINITION}, full resolution; L = 2^depth - 1; the mean of the map. ssim_cb and ssim_cr with --planes "
        "yuv. RGB is measured on its luma (0.2989 R + 0.5870 G + 0.1140 B, rounded). Pictures of 11x11 and more. "
        "down=true gives ssim_down_y (_cb, _cr) instead: each plane is first replaced by the means of F x F boxes at every "
        "F-th sample, F = max(1, round(min(h, w) / 256)) of that plane, halves rounded up, borders mirrored.",
        source="Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural "
        "Similarity. IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861",
        differs="The authors' ssim.m and piq first scale the picture down to about 256 lines: that is down=true, where piq "
        "pools boxes that begin a sample later or two for F of 3 and more, and rounds 640 lines to F = 2; ffmpeg averages 8x8 "
        "blocks on a 4-pixel grid; libvmaf's float_ssim scales down and rounds its moments; scikit-image's default is "
        "a uniform 7x7 window with sample covariance.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False
    has_map: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {f"{self.stem}_{c}": _scale(c, self.down) for c in ("y", "cb", "cr")}

    @property
    def stem(self) -> str:
        """What the names of the scores begin with."""
        return "ssim_down" if self.down else "ssim"

    def open(self, stream: Stream, context: Context) -> Meter:
        if context.device == "cpu":
            return SsimMeter(self, stream, context.maps)
        return TorchSsimMeter(self, stream, context.device, context.maps)


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

    def __init__(self, metric: Ssim, stream: Stream, maps: bool = False) -> None:
        fmt, info = stream.compare_format, stream.dist
        self._metric, self._maps = metric, maps
        self._depth = fmt.bit_depth
        names = fmt.component_names if stream.planes == "yuv" and fmt.family == "yuv" else ("y",)
        self.scores = {f"{metric.stem}_{c}": _scale(c, metric.down) for c in names}
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

        a, b = self._rows(ref), self._rows(dist)
        width = -(-dist.shape[1] // self._factor(dist))
        return QualityMap(f"{self._metric.stem}_y", index, ssim_map(a, b, width, self._depth), 0.0, 1.0)

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        from vqmeter.kernels.ssim import ssim

        return float(ssim(self._rows(ref), self._rows(dist), -(-dist.shape[1] // self._factor(dist)), self._depth))

    def _rows(self, plane: Plane) -> NDArray[Any]:
        """`plane` as the kernel wants it, reduced if asked."""
        from vqmeter.kernels.shrink import shrink

        factor = self._factor(plane)
        return rows(plane) if factor == 1 else rows(shrink(rows(plane), plane.shape[1], factor))

    def _factor(self, plane: Plane) -> int:
        from vqmeter.kernels.box import factor

        return factor(plane.shape[1], plane.shape[0]) if self._metric.down else 1


class TorchSsimMeter(SsimMeter):
    """The same on a torch device, from sums and differences of the samples as the kernel has them."""

    def __init__(self, metric: Ssim, stream: Stream, device: str, maps: bool = False) -> None:
        super().__init__(metric, stream, maps)
        self._device = device

    def _similarity(self, ref: Plane, dist: Plane) -> float:
        a, b = (torch_shrink(samples, self._factor(dist)) for samples in upload((ref, dist), self._device))
        return float(torch_ssim_cs(a, b, (1 << self._depth) - 1)[0].item())


def upload(planes: Sequence[Plane], device: str) -> list[Any]:
    """(H, W) float32 tensors of the planes' samples on `device`."""
    import torch

    return [torch.from_numpy(np.array(plane)).to(device, torch.float32) for plane in planes]


def torch_shrink(plane: Any, factor: int) -> Any:
    """What the kernel `shrink` does, of an (H, W) float32 tensor."""
    import torch

    for axis, size in enumerate(plane.shape):
        at = torch.arange(-(-size // factor) * factor, device=plane.device) - (factor - 1) // 2
        at = torch.where(at < 0, -1 - at, torch.where(at >= size, 2 * size - 1 - at, at))
        plane = plane.index_select(axis, at).unflatten(axis, (-1, factor)).sum(axis + 1)
    return plane / factor**2


def torch_ssim_cs(ref: Any, dist: Any, peak: int) -> tuple[Any, Any]:
    """SSIM and its contrast-structure term of two (H, W) float32 tensors of samples in 0..peak: scalar tensors, float64.

    With s = x + y - peak and d = x - y: 4 mx my = (S + peak)^2 - D^2 and 4 sxy = Vs - Vd, where S, D are means and
    Vs, Vd variances of s and d; nothing large cancels.
    """
    import torch

    s, d = ref + dist - peak, ref - dist
    mean_s, mean_d, square_s, square_d = _blurred(_blurred(torch.stack([s, d, s * s, d * d]), 1), 2)
    var_s, var_d = square_s - mean_s**2, square_d - mean_d**2
    sum2, diff2 = (mean_s + peak) ** 2, mean_d**2
    c1, c2 = 2 * (0.01 * peak) ** 2, 2 * (0.03 * peak) ** 2
    structure = (var_s - var_d + c2) / (var_s + var_d + c2)
    similarity = (sum2 - diff2 + c1) / (sum2 + diff2 + c1) * structure
    return similarity.double().mean(), structure.double().mean()


def _blurred(planes: Any, axis: int) -> Any:
    """The Gaussian window along one axis, as plain sums: a convolution would be rounded to 10 bits (TF32) on a GPU."""
    weights = np.exp(-0.5 * ((np.arange(TAPS) - TAPS // 2) / 1.5) ** 2)
    size = planes.shape[axis] - TAPS + 1
    out = 0
    for k in np.argsort(weights, kind="stable"):
        out = out + planes.narrow(axis, int(k), size) * float(weights[k] / weights.sum())
    return out
