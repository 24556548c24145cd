"""XPSNR: PSNR whose squared errors are weighed, block by block, by how much the picture hides them; in dB.

The numbers are those of libavfilter's xpsnr filter, run inside PyAV. It cuts luma into blocks of about 128 pixels at
2160p, and weighs a block's squared error by sqrt(a_pic) / a_k, a_k the block's activity: its mean absolute high pass,
plus twice the mean absolute change to the previous frame (at 32 frames a second and above: the change of that change).
So a frame's score depends on the frames before it and on the frame rate. A video's score is of the square of the mean of
the frames' root weighted errors. Identical planes give infinity.

Variant: activity is taken from whichever video the filter gets first. See `Xpsnr.first`.
Source: Helmrich et al., "XPSNR: a low-complexity extension of the perceptually weighted peak signal-to-noise ratio for
high-resolution video quality assessment", ICASSP 2020, doi:10.1109/ICASSP40776.2020.9054089; FFmpeg, vf_xpsnr.c.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import av
import av.filter
import numpy as np

from vqmeter.errors import MismatchError, UsageError
from vqmeter.frames import PixelFormat
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream

_DEPTHS = range(8, 15)  # the filter keeps samples in int16: at 16 bits its activities overflow
_LAYOUTS = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 0): "4:4:4"}
_HIGH_RESOLUTION = 2048 * 1152  # pixels above which the filter looks at samples two by two
_SMALLEST = 2025  # pixels, 45x45: below, blocks have no size and the filter divides by it
_KEYS = {"y": "y", "cb": "u", "cr": "v"}
_DEFAULT_RATE = 25


def _scale(component: str) -> Scale:
    what = "10 log10(peak^2 / weighted MSE), errors weighed by local spatial and temporal activity (libavfilter's xpsnr)"
    return Scale("dB", None, None, "higher", f"{what}; plane {component}", decibels=True)


@dataclass(frozen=True)
class Xpsnr:
    """Scores `xpsnr_y xpsnr_cb xpsnr_cr`, dB, higher is better.

    `first` is the video the filter gets as its first input, whose activity weighs the errors: `distorted`, the order
    of FFmpeg's other filters (`-i DIST -i REF`); or `reference`, the order of the filter's authors, whose scores are
    called `xpsnr_ref_y xpsnr_ref_cb xpsnr_ref_cr`.
    """

    first: Literal["distorted", "reference"] = "distorted"

    about: ClassVar[About] = About(
        title="Extended perceptually weighted PSNR",
        definition="10 log10(peak^2 / weighted MSE) by libavfilter's xpsnr filter. Blocks of "
        "4 round(32 sqrt(pixels / (3840 x 2160))) luma pixels; a block's squared error is weighed by sqrt(a_pic) / a_k, "
        "a_k = max(2^(depth - 6), mean |high pass| + 2 mean |temporal difference|), where the temporal difference is of "
        "first order below 32 frames a second and of second order from there on; up to 640x480 a weight is no greater "
        "than its neighbours' greatest. Chroma takes luma's weights. "
        "A last row or column of blocks one pixel thin has no activity: its errors weigh four times any other's, or more. "
        "The first frame is compared with black before it. score is of the whole video: "
        "10 log10(samples peak^2 / (mean of sqrt(weighted squared error))^2); mean and the others are of the frames' dB. "
        "Grey and YUV 4:2:0, 4:2:2, 4:4:4 of 8 to 14 bits.",
        source="Helmrich, Siekmann, Becker, Bosse, Marpe, Wiegand, XPSNR, ICASSP 2020, "
        "doi:10.1109/ICASSP40776.2020.9054089; FFmpeg's vf_xpsnr.c.",
        differs="Equal to `ffmpeg -i DIST -i REF -lavfi xpsnr`, the input order of FFmpeg's psnr, ssim and libvmaf, in "
        "which the distorted video's activity weighs. The authors name the reference first: first=reference (xpsnr_ref_*) "
        "gives that number, several dB higher on coarse material. Where some frames are identical ffmpeg's summary may "
        "be inf though others differ; score is finite here.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = True
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        stem = "xpsnr" if self.first == "distorted" else "xpsnr_ref"
        return {f"{stem}_{component}": _scale(component) for component in _KEYS}

    def open(self, stream: Stream, context: Context) -> Meter:
        check(stream)
        return XpsnrMeter(stream, self)


def check(stream: Stream) -> None:
    """Refuse what the filter does not take as it is, or reads wrongly.

    Raises
        MismatchError: the pixel format or the size.
        UsageError: FFmpeg is older than the filter.
    """
    if "xpsnr" not in av.filter.filters_available:
        raise UsageError("xpsnr: PyAV's FFmpeg has no xpsnr filter; pip install -U 'av>=15'")
    fmt, info = stream.compare_format, stream.dist
    layout = fmt.family == "gray" or (fmt.family == "yuv" and (fmt.sub_x, fmt.sub_y) in _LAYOUTS)
    if not layout or fmt.bit_depth not in _DEPTHS:
        raise MismatchError(f"xpsnr: takes grey and YUV {', '.join(_LAYOUTS.values())} of {_DEPTHS[0]} to {_DEPTHS[-1]} bits, "
                            f"not {fmt.name}")  # fmt: skip
    if info.width * info.height < _SMALLEST:
        raise MismatchError(f"xpsnr: needs {_SMALLEST} pixels (45x45) at least, not {info.width}x{info.height}")
    if info.width * info.height > _HIGH_RESOLUTION and (info.width % 2 or info.height % 2):
        raise MismatchError(f"xpsnr: above 2048x1152 pixels FFmpeg's filter needs an even width and height, "
                            f"not {info.width}x{info.height}")  # fmt: skip


class XpsnrMeter:
    """A filter graph of its own; frames go in in stream order, scores come back as the metadata of frames."""

    batch = 1

    def __init__(self, stream: Stream, metric: Xpsnr) -> None:
        fmt, info = stream.compare_format, stream.dist
        self._swap = metric.first == "reference"
        names = [name for name in metric.scales() if name.rpartition("_")[2] in fmt.component_names]
        self.scores: Mapping[str, Scale] = {name: _scale(name.rpartition("_")[2]) for name in names}
        samples = [info.width * info.height, *[math.prod(fmt.chroma_size(info.width, info.height))] * 2]
        self._ceilings = [fmt.peak * math.sqrt(count) for count in samples[: len(names)]]  # root squared error at 0 dB
        self._roots = [0.0] * len(names)  # sums of the frames' root weighted squared errors
        self._done = self._pushed = 0
        self._bytes = fmt.frame_bytes(info.width, info.height)
        self._graph, self._inputs, self._output = _graph(fmt, info.width, info.height, stream.rate)
        self._decoder: Any = av.CodecContext.create("rawvideo", "r")
        self._decoder.width, self._decoder.height, self._decoder.pix_fmt = info.width, info.height, fmt.name

    def plan(self) -> Iterator[tuple[int, ...]]:
        return zip(itertools.count())

    def prepare(self, sample: Sample) -> tuple[Any, Any]:
        """Distorted and reference planes one behind the other without padding, as packets of raw video."""
        ref, dist = sample.pair
        return self._pack(dist.planes), self._pack(ref.planes)

    def _pack(self, planes: Sequence[Any]) -> Any:
        packet = av.Packet(self._bytes)
        memory = np.frombuffer(packet, np.uint8)
        at = 0
        for plane in planes:
            size = plane.size * plane.itemsize
            memory[at : at + size].view(plane.dtype).reshape(plane.shape)[...] = plane
            at += size
        return packet

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        for clip in batch:
            pair = reversed(clip.items[0]) if self._swap else clip.items[0]
            for source, packet in zip(self._inputs, pair, strict=True):
                # The raw decoder's frames have no padding. The filter reads deep samples of its second input as if
                # none had, which is wrong for most widths of frames that FFmpeg allocates itself.
                (frame,) = self._decoder.decode(packet)
                frame.pts = self._pushed
                source.push(frame)
            self._pushed += 1
            yield from self._pull()

    def _pull(self) -> Iterator[Score]:
        """Scores of the frames that left the filter."""
        while True:
            try:
                values = self._output.pull().metadata
            except (BlockingIOError, EOFError):
                return
            span = range(self._done, self._done + 1)
            self._done += 1
            for n, name in enumerate(self.scores):
                value = float(values[f"lavfi.xpsnr.xpsnr.{_KEYS[name.rpartition('_')[2]]}"])
                self._roots[n] += self._ceilings[n] * 10 ** (-value / 20)
                yield Score(name, value, span)

    def finish(self) -> Iterator[Score | QualityMap]:
        for source in self._inputs:
            source.push(None)
        yield from self._pull()
        for name, ceiling, roots in zip(self.scores, self._ceilings, self._roots, strict=True):
            if roots > 0:  # else every frame is identical, and the session's statistics say so
                yield Score(name, 20 * math.log10(ceiling * self._done / roots))


def _graph(fmt: PixelFormat, width: int, height: int, rate: Any) -> tuple[Any, list[Any], Any]:
    """A graph of two sources, xpsnr and a sink: (graph, sources, sink). No text of the user's reaches a filter."""
    graph = av.filter.Graph()
    # The filter divides the rate's terms as whole numbers, and by nought where there is no rate.
    whole_rate = max(1, int(rate or _DEFAULT_RATE))
    sources = [
        graph.add("buffer", video_size=f"{width}x{height}", pix_fmt=fmt.name, time_base=f"1/{whole_rate}",
                  frame_rate=f"{whole_rate}/1", pixel_aspect="1/1")
        for _ in range(2)
    ]  # fmt: skip
    xpsnr, sink = graph.add("xpsnr"), graph.add("buffersink")
    for place, source in enumerate(sources):
        source.link_to(xpsnr, 0, place)
    xpsnr.link_to(sink)
    graph.configure()
    return graph, sources, sink
