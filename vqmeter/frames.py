"""Pictures as the meter sees them: pixel formats, what is known of a video, and one frame of it.

A frame is a tuple of planes, each a 2-D array of native uint8 or uint16 samples at the stream's own depth: luma,
Cb and Cr; R, G and B; or grey alone. Planes are views on the decoder's memory wherever its layout allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[Any]  # (H, W) uint8 or uint16
T = TypeVar("T")

_SUBSAMPLING = {"444": (0, 0), "440": (0, 1), "422": (1, 0), "420": (1, 1), "411": (2, 0), "410": (2, 2)}
_DEPTH = r"(9|10|12|14|16)?(le|be)?"
_PLANAR_YUV = re.compile(rf"yuv(j|a)?(444|440|422|420|411|410)p{_DEPTH}")
_GRAY = re.compile(r"gray(8|9|10|12|14|16)?(le|be)?")
_PLANAR_RGB = re.compile(rf"gbr(a)?p{_DEPTH}")
_NV = {"nv12": ("420", 0), "nv21": ("420", 1), "nv16": ("422", 0), "nv24": ("444", 0), "nv42": ("444", 1)}
_P0 = re.compile(r"p(0|2|4)(10|12|16)(le|be)?")
_PACKED_RGB = {
    "rgb24": ("rgb", 8), "bgr24": ("bgr", 8), "rgba": ("rgba", 8), "bgra": ("bgra", 8), "argb": ("argb", 8),
    "abgr": ("abgr", 8), "rgb0": ("rgb0", 8), "bgr0": ("bgr0", 8), "0rgb": ("0rgb", 8), "0bgr": ("0bgr", 8),
    "rgb48": ("rgb", 16), "bgr48": ("bgr", 16), "rgba64": ("rgba", 16), "bgra64": ("bgra", 16),
}  # fmt: skip
_PACKED_YUV = {"yuyv422": "yuyv", "uyvy422": "uyvy", "yvyu422": "yvyu"}
_COMPONENTS = {"gray": ("y",), "yuv": ("y", "cb", "cr"), "rgb": ("r", "g", "b")}


@dataclass(frozen=True)
class Component:
    """Where one component lies: its memory plane, first sample and distance between samples, in samples."""

    plane: int
    offset: int = 0
    step: int = 1


@dataclass(frozen=True)
class PixelFormat:
    """The memory layout of a picture, under FFmpeg's name for it.

    `components` are in the order luma, Cb, Cr (or R, G, B); `sub_x` and `sub_y` are the log2 of the chroma
    subsampling; `shift` is how far samples lie above the low bit (6 in p010); alpha is known of but never read.
    """

    name: str
    family: str
    bit_depth: int
    components: tuple[Component, ...]
    sub_x: int = 0
    sub_y: int = 0
    shift: int = 0
    big_endian: bool = False
    full_range: bool = False
    alpha: bool = False
    memory_planes: tuple[tuple[int, bool], ...] = ((1, False),)  # samples per pixel, chroma-sized

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(name: str) -> PixelFormat:
        """The format called `name` in FFmpeg.

        Raises
            KeyError: `name` is not a layout this program reads as it lies.
        """
        fmt = _parse_planar(name) or _parse_interleaved(name)
        if fmt is None:
            raise KeyError(name)
        return fmt

    @property
    def bytes_per_sample(self) -> int:
        return 1 if self.bit_depth + self.shift <= 8 else 2

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.bytes_per_sample == 1 else np.uint16)

    @property
    def memory_dtype(self) -> np.dtype[Any]:
        if self.bytes_per_sample == 1:
            return np.dtype(np.uint8)
        return np.dtype(">u2" if self.big_endian else "<u2")

    @property
    def component_names(self) -> tuple[str, ...]:
        """`("y",)`, `("y", "cb", "cr")` or `("r", "g", "b")`."""
        return _COMPONENTS[self.family]

    @property
    def peak(self) -> int:
        return (1 << self.bit_depth) - 1

    def chroma_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the chroma planes; odd sizes round up."""
        return -(-width >> self.sub_x), -(-height >> self.sub_y)

    def plane_shapes(self, width: int, height: int) -> tuple[tuple[int, int], ...]:
        """Rows and samples a row of every plane of memory in a headless file, alpha included."""
        chroma = self.chroma_size(width, height)
        shapes = []
        for samples, is_chroma in self.memory_planes:
            w, h = chroma if is_chroma else (width, height)
            shapes.append((h, w * samples))
        if self.name in _PACKED_YUV:
            shapes = [(height, 4 * chroma[0])]
        return tuple(shapes)

    def frame_bytes(self, width: int, height: int) -> int:
        return sum(h * w for h, w in self.plane_shapes(width, height)) * self.bytes_per_sample

    def planes(self, memory: list[Plane], width: int, height: int) -> tuple[Plane, ...]:
        """The components of a picture as (H, W) arrays: views on `memory` unless bytes or bits must move.

        `memory` holds one (rows, samples) array of `memory_dtype` for each plane of memory; rows may be padded.
        """
        chroma = self.chroma_size(width, height)
        out = []
        for index, component in enumerate(self.components):
            w, h = chroma if index and self.family == "yuv" else (width, height)
            rows = memory[component.plane]
            view = rows[:h, component.offset : component.offset + (w - 1) * component.step + 1 : component.step]
            if not view.dtype.isnative:
                view = view.astype(self.dtype)
            if self.shift:
                view = view >> self.shift
            out.append(view)
        return tuple(out)


def _parse_planar(name: str) -> PixelFormat | None:
    if m := _PLANAR_YUV.fullmatch(name):
        kind, layout, depth, endian = m.groups()
        sub_x, sub_y = _SUBSAMPLING[layout]
        memory = ((1, False), (1, True), (1, True)) + (((1, False),) if kind == "a" else ())
        components = (Component(0), Component(1), Component(2))
        return PixelFormat(name, "yuv", int(depth or 8), components, sub_x, sub_y, 0, endian == "be",
                           kind == "j", kind == "a", memory)  # fmt: skip
    if m := _GRAY.fullmatch(name):
        return PixelFormat(name, "gray", int(m[1] or 8), (Component(0),), big_endian=m[2] == "be")
    if m := _PLANAR_RGB.fullmatch(name):
        memory = ((1, False),) * (4 if m[1] else 3)
        components = (Component(2), Component(0), Component(1))
        return PixelFormat(name, "rgb", int(m[2] or 8), components, big_endian=m[3] == "be", full_range=True,
                           alpha=bool(m[1]), memory_planes=memory)  # fmt: skip
    return None


def _parse_interleaved(name: str) -> PixelFormat | None:
    pair = ((1, False), (2, True))
    if name in _NV:
        layout, swapped = _NV[name]
        components = (Component(0), Component(1, swapped, 2), Component(1, 1 - swapped, 2))
        return PixelFormat(name, "yuv", 8, components, *_SUBSAMPLING[layout], memory_planes=pair)
    if m := _P0.fullmatch(name):
        sub_x, sub_y = _SUBSAMPLING[{"0": "420", "2": "422", "4": "444"}[m[1]]]
        components = (Component(0), Component(1, 0, 2), Component(1, 1, 2))
        return PixelFormat(name, "yuv", int(m[2]), components, sub_x, sub_y, 16 - int(m[2]), m[3] == "be",
                           memory_planes=pair)  # fmt: skip
    base, endian = (name[:-2], name[-2:]) if name[-2:] in ("le", "be") and name[-3:-2].isdigit() else (name, "le")
    if base in _PACKED_RGB:
        order, depth = _PACKED_RGB[base]
        packed = tuple(Component(0, order.index(c), len(order)) for c in "rgb")
        return PixelFormat(name, "rgb", depth, packed, big_endian=endian == "be", full_range=True,
                           alpha="a" in order, memory_planes=((len(order), False),))  # fmt: skip
    if name in _PACKED_YUV:
        order = _PACKED_YUV[name]
        components = (Component(0, order.index("y"), 2), Component(0, order.index("u"), 4), Component(0, order.index("v"), 4))
        return PixelFormat(name, "yuv", 8, components, 1, 0)
    if name == "ya8":
        return PixelFormat(name, "gray", 8, (Component(0, 0, 2),), alpha=True, memory_planes=((2, False),))
    return None


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before a frame of it is scored. Unknown is None; nothing here is guessed.

    `width` and `height` count luma samples as coded (rotation is told, not applied); `rate` is frames a second,
    25 in raw input that does not state one;
    `frames` is what the file says or its length proves; `bitrate` is in bits a second; `size` in bytes.
    """

    path: str
    width: int
    height: int
    pix_fmt: PixelFormat
    rate: Fraction | None = None
    rate_stated: bool = True
    frames: int | None = None
    duration: float | None = None
    container: str | None = None
    codec: str | None = None
    range: str | None = None
    matrix: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    rotation: int = 0
    field_order: str | None = None
    sample_aspect_ratio: Fraction | None = None
    bitrate: int | None = None
    size: int | None = None
    stream: int | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values, as `vqmeter probe` and the report print them."""
        return {
            "path": self.path, "container": self.container, "codec": self.codec, "stream": self.stream,
            "width": self.width, "height": self.height, "pix_fmt": self.pix_fmt.name,
            "bit_depth": self.pix_fmt.bit_depth, "range": self.range, "matrix": self.matrix,
            "primaries": self.primaries, "transfer": self.transfer,
            "frames": self.frames, "rate": None if self.rate is None else round(float(self.rate), 6),
            "duration": self.duration, "rotation": self.rotation, "field_order": self.field_order,
            "sample_aspect_ratio": None if self.sample_aspect_ratio is None else str(self.sample_aspect_ratio),
            "bitrate": self.bitrate, "size": self.size, "notes": list(self.notes),
        }  # fmt: skip


class Part(NamedTuple):
    """The samples of a frame where they lie in a file, plane after plane, and the memory of this thread that they belong in."""

    file: int  # its number
    at: int  # in bytes
    samples: NDArray[Any]  # flat
    planes: tuple[Plane, ...]  # views on `samples`, in order


@dataclass(eq=False)
class Frame:
    """One picture. `planes` are loaded when first looked at, so that a worker can read its own frame.

    `index` counts from the first frame measured; `pts` is in the stream's own ticks, `time` in seconds from the
    stream's start; `type` is I, P or B; `bytes` is the size of the coded picture. Planes may lie in memory that
    the reader reuses: whoever keeps samples beyond `Meter.prepare` copies them.
    """

    info: VideoInfo
    index: int
    load: Callable[[], tuple[Plane, ...]]
    pts: int | None = None
    time: float | None = None
    type: str | None = None
    bytes: int | None = None
    corrupt: bool = False
    _memo: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _planes: tuple[Plane, ...] | None = field(default=None, init=False, repr=False)

    @property
    def planes(self) -> tuple[Plane, ...]:
        """(H, W) arrays of uint8 or uint16 in the order of `info.pix_fmt.component_names`."""
        if self._planes is None:  # not a cached_property: before Python 3.12 its lock lets one thread load at a time
            self._planes = self.load()
        return self._planes

    def unread(self) -> Part | None:
        """Where the samples lie, if they lie plainly in a file and nobody has read them; whoever then does calls `was_read`."""
        part: Callable[[], Part | None] | None = getattr(self.load, "part", None)
        return None if part is None or self._planes is not None else part()

    def was_read(self, part: Part) -> None:
        self._planes = part.planes

    def derive(self, key: Hashable, make: Callable[[Frame], T]) -> T:
        """`make(self)`, made once and shared by all metrics and all distorted files that look at this frame."""
        if key not in self._memo:
            self._memo[key] = make(self)
        return cast(T, self._memo[key])

    def release(self) -> None:
        """Let go of samples and everything derived from them."""
        self._planes = None
        self._memo.clear()
