"""A damaged bitstream as a decoder shows it: bytes of an H.264 stream are altered, and FFmpeg conceals what it can.

The video is encoded by x264 (CRF 20, four slices a picture, a key frame every two seconds, no reordering); in a share of
the pictures between key frames one byte is altered; one decoder thread shows the rest, so that every run and every
machine with the same libraries gives the same picture. Where the decoder gives none, the last one stays.
The result is kept as pictures without loss: what a damaged stream looks like depends on who decodes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np

from vqmeter.distortions.codecs import Encoder, Planes, pictures, planar_format, prepare, rate_of
from vqmeter.distortions.video import Draw, even_lots
from vqmeter.errors import InputError
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.sources.pictures import planes_of

CRF = 20
SECONDS = 2  # from key frame to key frame
HEADERS = 24  # bytes at the head of a picture that are left alone: start code, unit type, slice header

_STREAM = Encoder("libx264", "", "h264", ("crf",), {"preset": "fast", "tune": "zerolatency", "threads": "1", "slices": "4"})


def damage(frames: Iterator[Planes], info: VideoInfo, share: float, draw: Draw) -> Iterator[Planes]:
    """A byte is altered in `share` of the pictures, never in a key frame.

    Raises
        InputError: x264 does not take such a video.
    """
    wide = replace(info, width=info.width + info.width % 2, height=info.height + info.height % 2)
    counter = _Counter(frames)
    shown: Planes = ()
    given = 0
    for picture in _decoded(_packets(counter, wide), share, draw(-1), 1 / rate_of(info)):
        while shown and given < (picture.pts or 0):
            yield shown
            given += 1
        shown = _cropped(picture, info)
        yield shown
        given += 1
    for _ in range(counter.count - given):
        yield shown


class _Counter:
    """The frames, and how many there were."""

    def __init__(self, frames: Iterator[Planes]) -> None:
        self.count, self._frames = 0, frames

    def __iter__(self) -> Iterator[Planes]:
        for planes in self._frames:
            self.count += 1
            yield planes


def _packets(frames: Iterable[Planes], wide: VideoInfo) -> Iterator[av.Packet]:
    """The video as x264 packs it; `wide` has even sizes, what is missing to them repeats the edge."""
    encoder: Any = av.CodecContext.create(_STREAM.codec, "w")
    prepare(encoder, wide, _STREAM.format(wide.pix_fmt))
    encoder.framerate = rate_of(wide)
    encoder.options = {**_STREAM.settings(CRF), "g": str(max(1, round(SECONDS * rate_of(wide))))}
    try:
        for picture in pictures((_padded(planes, wide) for planes in frames), wide, encoder.pix_fmt):
            yield from encoder.encode(picture)
        yield from encoder.encode(None)
    except av.error.FFmpegError:
        raise InputError(f"{wide.path}: x264 does not take it at {wide.width}x{wide.height}") from None


def _padded(planes: Planes, wide: VideoInfo) -> Planes:
    chroma = wide.pix_fmt.chroma_size(wide.width, wide.height)
    sizes = [(wide.width, wide.height), *[chroma if wide.pix_fmt.family == "yuv" else (wide.width, wide.height)] * 2]
    return tuple(
        np.pad(p, ((0, h - p.shape[0]), (0, w - p.shape[1])), "edge") for p, (w, h) in zip(planes, sizes, strict=False)
    )


def _decoded(packets: Iterator[av.Packet], share: float, rng: np.random.Generator, tick: Fraction) -> Iterator[av.VideoFrame]:
    decoder: Any = av.CodecContext.create("h264", "r")
    decoder.thread_count, decoder.thread_type = 1, "NONE"
    lots = even_lots(rng)
    for n, packet in enumerate(packets):
        data = bytearray(packet)
        where, change = rng.random(), int(rng.integers(1, 256))
        if n and next(lots) < share and not packet.is_keyframe and len(data) > HEADERS:
            data[HEADERS + int(where * (len(data) - HEADERS))] ^= change
        broken = av.Packet(bytes(data))
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, tick
        with contextlib.suppress(av.error.FFmpegError):
            yield from decoder.decode(broken)
    yield from decoder.decode(None)


def _cropped(picture: av.VideoFrame, info: VideoInfo) -> Planes:
    """The planes of a picture in the format and at the size of `info`, copied."""
    planar = planar_format(info.pix_fmt)
    if PixelFormat.parse(picture.format.name).name != planar.name:
        picture = picture.reformat(format=planar.name)
    w, h = planar.chroma_size(info.width, info.height)
    planes = planes_of(picture, planar)
    sizes = [(info.height, info.width), *[(h, w) if planar.family == "yuv" else (info.height, info.width)] * 2]
    return tuple(plane[:h, :w].copy() for plane, (h, w) in zip(planes, sizes, strict=False))
