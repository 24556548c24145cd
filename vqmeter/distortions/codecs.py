"""Encoders, as distortions of their own and as what keeps the others without loss.

One thread an encoder, whatever the machine: the same clip gives the same bytes everywhere the same libraries are used.
Frames are numbered from 0 at the source's rate; sound is left out. An encoder that cannot take the source's pixel format
gets the nearest one it can, by libswscale.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av

from vqmeter.errors import InputError, OutputError, UsageError
from vqmeter.frames import PixelFormat, Plane, VideoInfo
from vqmeter.sources.pair import common_format
from vqmeter.sources.pictures import to_picture

Planes = tuple[Plane, ...]

_RANGES = {"limited": 1, "full": 2}
_MATRICES = {"bt709": 1, "fcc": 4, "bt601": 6, "smpte240m": 7, "bt2020": 9}
_PRIMARIES = {"bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "film": 8, "bt2020": 9}
_TRANSFERS = {"bt709": 1, "gamma22": 4, "gamma28": 5, "smpte170m": 6, "smpte240m": 7, "bt2020-10": 14, "bt2020-12": 15,
              "smpte2084": 16, "arib-std-b67": 18}  # fmt: skip
_NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT, errno.EFBIG}


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders: `quantisers` are the options that make it worse, all set to one value; none is lossless."""

    codec: str
    ending: str
    container: str
    quantisers: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    even: bool = False

    def settings(self, value: float | None) -> dict[str, str]:
        return {**self.options, **({} if value is None else dict.fromkeys(self.quantisers, f"{value:g}"))}

    def format(self, fmt: PixelFormat) -> str:
        """FFmpeg's name of the format this encoder takes that is nearest to `fmt`."""
        known = []
        for name in (f.name for f in av.Codec(self.codec, "w").video_formats or []):
            try:
                known.append(PixelFormat.parse(name))
            except KeyError:
                continue
        return min((f for f in known if not f.alpha), key=lambda f: _distance(f, fmt)).name


def _distance(have: PixelFormat, want: PixelFormat) -> tuple[Any, ...]:
    """How far a format is from the one wanted: family, then chroma, then depth; more is better than less."""
    across, down = (
        (0, 0) if have.family == "rgb" or want.family == "gray" else (have.sub_x - want.sub_x, have.sub_y - want.sub_y)
    )
    deeper, lost = have.bit_depth - want.bit_depth, max(across, 0) + max(down, 0)
    return (have.family != want.family, have.family == "gray" != want.family, lost, abs(across) + abs(down), deeper < 0,
            abs(deeper), have.full_range, have.name != common_format(have, have.bit_depth).name)  # fmt: skip


X264 = Encoder("libx264", ".mp4", "mp4", ("crf",), {"preset": "medium", "threads": "1"}, even=True)
X265 = Encoder("libx265", ".mp4", "mp4", ("crf",),
               {"preset": "fast", "x265-params": "log-level=none:pools=none:frame-threads=1"}, even=True)  # fmt: skip
AV1 = Encoder("libsvtav1", ".mp4", "mp4", ("crf",), {"preset": "8", "svtav1-params": "lp=1"})
VP9 = Encoder("libvpx-vp9", ".webm", "webm", ("crf",), {"b": "0", "deadline": "good", "cpu-used": "4", "threads": "1"})
MPEG2 = Encoder("mpeg2video", ".mkv", "matroska", ("qmin", "qmax"), {"threads": "1", "strict": "-2"})
FFV1 = Encoder("ffv1", ".mkv", "matroska", options={"threads": "1", "level": "3", "g": "1"})


def write(frames: Iterator[Planes], info: VideoInfo, path: str, encoder: Encoder, value: float | None = None) -> None:
    """Encode frames of the video `info` into the file `path`, in the encoder's own container.

    Raises
        InputError: the encoder does not take such a video.
        OutputError: the file cannot be written.
    """
    if encoder.even and (info.width % 2 or info.height % 2) and _halved(encoder.format(info.pix_fmt)):
        raise InputError(f"{info.path}: {encoder.codec} takes even sizes only in 4:2:0, not {info.width}x{info.height}")
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would tell its settings on stderr
    try:
        with av.open(path, "w", format=encoder.container, container_options={"fflags": "+bitexact"}) as out:
            stream = out.add_stream(
                encoder.codec, rate=rate_of(info), options=_accepted(encoder, info, encoder.settings(value))
            )
            prepare(stream, info, encoder.format(info.pix_fmt))
            for picture in pictures(frames, info, stream.pix_fmt):
                out.mux(stream.encode(picture))
            out.mux(stream.encode(None))
    except (av.error.FFmpegError, OSError) as error:
        if getattr(error, "errno", None) in _NO_PLACE:
            raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        raise InputError(f"{info.path}: {encoder.codec} does not take it at {info.width}x{info.height}, "
                         f"{encoder.format(info.pix_fmt)}, {float(rate_of(info)):g} frames a second") from None  # fmt: skip


def _accepted(encoder: Encoder, info: VideoInfo, settings: dict[str, str]) -> dict[str, str]:
    """The settings, for FFV1 with slices that go into the size: few numbers of them do, by rules of FFmpeg's own."""
    if encoder.codec != "ffv1":
        return settings
    for more in ({}, {"slices": "4"}, {"slices": "1"}, {"level": "1"}):
        trial: Any = av.CodecContext.create(encoder.codec, "w")
        prepare(trial, info, encoder.format(info.pix_fmt))
        trial.options = {**settings, **more}
        with contextlib.suppress(av.error.FFmpegError, NotImplementedError):
            trial.open()
            return {**settings, **more}
    return settings


def _halved(name: str) -> bool:
    fmt = PixelFormat.parse(name)
    return fmt.family == "yuv" and bool(fmt.sub_x or fmt.sub_y)


def rate_of(info: VideoInfo) -> Fraction:
    return info.rate or Fraction(25)


def prepare(stream: Any, info: VideoInfo, pix_fmt: str) -> None:
    """Tell an encoder what it will get: size, format, time base, and the colours as far as `info` knows them."""
    stream.width, stream.height, stream.pix_fmt = info.width, info.height, pix_fmt
    context = getattr(stream, "codec_context", stream)
    context.time_base = 1 / rate_of(info)
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = info.sample_aspect_ratio
    span = "full" if info.pix_fmt.full_range and info.pix_fmt.family == "yuv" else info.range
    context.color_range = _RANGES.get(span or "", 0)
    if info.pix_fmt.family == "yuv":
        context.colorspace = _MATRICES.get(info.matrix or "", 2)
        context.color_primaries = _PRIMARIES.get(info.primaries or "", 2)
        context.color_trc = _TRANSFERS.get(info.transfer or "", 2)


def pictures(frames: Iterator[Planes], info: VideoInfo, pix_fmt: str) -> Iterator[av.VideoFrame]:
    """Frames as FFmpeg's libraries take them, numbered, in `pix_fmt`."""
    planar = planar_format(info.pix_fmt)
    for n, planes in enumerate(frames):
        picture = to_picture(planes, planar)
        if planar.name != pix_fmt:
            picture = picture.reformat(format=pix_fmt)
        picture.pts, picture.time_base = n, 1 / rate_of(info)
        yield picture


def planar_format(fmt: PixelFormat) -> PixelFormat:
    """The planar format whose planes are those of `fmt`."""
    return common_format(fmt, fmt.bit_depth)


_Y4M = {"yuv420p": "420mpeg2", "yuv411p": "411", "yuv422p": "422", "yuv444p": "444", "gray": "mono"}


def write_raw(frames: Iterator[Planes], info: VideoInfo, path: str, y4m: bool) -> None:
    """Samples as they are, planar, little-endian; with the headers of Y4M or none.

    Raises
        UsageError: Y4M has no name for the pixel format.
        OutputError: the file cannot be written.
    """
    fmt = planar_format(info.pix_fmt)
    name = fmt.name.removesuffix("le")
    base = name if fmt.bit_depth == 8 else name.removesuffix(str(fmt.bit_depth))
    tag = _Y4M.get(base)
    if y4m and (tag is None or (fmt.bit_depth > 8 and base == "yuv411p")):
        raise UsageError(f"{info.path}: Y4M cannot hold {info.pix_fmt.name}; leave out --format y4m")
    if tag and fmt.bit_depth > 8:
        tag = f"{tag[:3]}p{fmt.bit_depth}" if fmt.family == "yuv" else f"{tag}{fmt.bit_depth}"
    order = (2, 0, 1) if fmt.family == "rgb" else range(3)  # gbrp
    rate = rate_of(info)
    span = f" XCOLORRANGE={info.range.upper()}" if info.range in _RANGES else ""
    try:
        with open(path, "wb") as file:
            if y4m:
                file.write(
                    f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} Ip C{tag}{span}\n".encode()
                )
            for planes in frames:
                file.write(b"FRAME\n" if y4m else b"")
                for n in range(3) if len(planes) == 1 else order:
                    if n < len(planes):
                        file.write(planes[n].astype(fmt.memory_dtype).tobytes())
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
