"""Everything FFmpeg reads, through PyAV: AVI, MP4, MKV, WebM, MOV, bare streams, pictures, numbered sequences.

Planes are views on the decoder's own memory. Layouts this program does not read as they lie (palettes, packed 10 bit)
go through libswscale to the nearest planar one, and the notes say so. Media are untrusted: FFmpeg may open files and
pipes only, and playlists, which open other files, are refused unless their format is asked for by name.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import count
from typing import Any, BinaryIO

import av

from vqmeter.errors import DecodeError, DeviceError, MissingInputError, UsageError, VqmeterError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.machine import cpu_count
from vqmeter.sources import InputOptions, at_most, check_pixels, is_sequence, name_of
from vqmeter.sources.matroska import missing_bytes
from vqmeter.sources.pictures import planes_of

_PLAYLISTS = {"hls", "applehttp", "dash", "webm_dash_manifest", "concat", "concatf", "imf", "sdp", "rtsp", "tedcaptions"}
_RANGES = {1: "limited", 2: "full"}
_MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020", 10: "bt2020c"}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 11: "p3-dci",
              12: "p3"}  # fmt: skip
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 13: "srgb", 14: "bt2020-10",
              15: "bt2020-12", 16: "smpte2084", 18: "arib-std-b67"}  # fmt: skip
#: Packets without a time are numbered from here on, where no time lies.
_UNTIMED = -(1 << 62)
_MOST_THREADS = 16  # FFmpeg warns of more
_FIELD_ORDERS = {1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"}


class ContainerSource:
    """A video FFmpeg decodes. The first frame is decoded on opening, so `info` says what the decoder sees."""

    count: int | None = None

    def __init__(self, path: str, stream: BinaryIO | None, options: InputOptions) -> None:
        self._path, self._name = path, name_of(path)
        self._options = options
        self._pipe = stream
        self._notes: list[str] = []
        self._container = self._open(path, stream)
        try:
            self._stream = self._video_stream()
            self._sizes: dict[int | None, int] = {}
            self._untimed = count(_UNTIMED)
            self._packets = self._damaged = 0
            self._decoded = self._decode()
            try:
                self._first: Any = next(self._decoded)
            except StopIteration:
                raise DecodeError(f"{self._name}: no frame could be decoded; the file is empty or cut short") from None
            self._pix_fmt, self._swscale = self._layout(self._first[0].format)
            self.info = self._describe(path)
        except BaseException:
            self._container.close()
            raise

    def _open(self, path: str, stream: BinaryIO | None) -> Any:
        options = {"protocol_whitelist": "file,pipe,fd"}
        if self._options.format is None:
            options["format_whitelist"] = ",".join(sorted(av.formats_available - _PLAYLISTS))
        file: Any = stream if stream is not None else "file:" + path
        if is_sequence(path) and not os.path.exists(path):
            options["start_number"] = str(_first_number(path))
        elif stream is None:
            options["pattern_type"] = "none"
        try:
            return av.open(file, format=self._options.format, options=options, metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise DecodeError(f"{self._name}: not a video FFmpeg can read ({_reason(error)}){self._raw_hint(path)}") from None
        except ValueError as error:
            raise UsageError(f"unknown --input-format '{self._options.format}'; {error}") from None

    def _raw_hint(self, path: str) -> str:
        if path == "-" or self._options.size:
            return "; headless raw video wants --input-format rawvideo -s WIDTHxHEIGHT"
        return _playlist_hint(path) if self._options.format is None else ""

    def _video_stream(self) -> Any:
        streams = list(self._container.streams.video)
        moving = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic] or streams
        if not moving:
            kinds = sorted({s.type for s in self._container.streams if s.type}) or ["unknown"]
            hint = self._raw_hint("-") if self._name == "stdin" else ""
            raise DecodeError(f"{self._name}: no video stream in it ({', '.join(kinds)} only){hint}")
        known = [s for s in moving if s.codec_context is not None]
        if not known:
            raise DecodeError(f"{self._name}: no decoder for its video stream")
        stream = max(known, key=lambda s: (bool(s.disposition & av.stream.Disposition.default), s.width * s.height))
        if len(moving) > 1:
            self._notes.append(f"{len(moving)} video streams, stream {stream.index} is measured")
        check_pixels(self._name, stream.width, stream.height, self._options.max_pixels)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self._options.threads or _threads(stream.codec_context.codec, self._options.beside)
        stream.codec_context.options = {"max_pixels": str(self._options.max_pixels)}
        return stream

    def _layout(self, fmt: Any) -> tuple[PixelFormat, str | None]:
        """The format frames are given in, and the name to convert to where FFmpeg's own cannot be read as it lies."""
        try:
            return PixelFormat.parse(fmt.name), None
        except KeyError:
            deep = max(c.bits for c in fmt.components) > 8
            if fmt.is_rgb or fmt.has_palette:
                target = "gbrp16le" if deep else "gbrp"
            elif len(fmt.components) == 1:
                target = "gray16le" if deep else "gray"
            else:
                target = "yuv444p16le" if deep else "yuv444p"
            self._notes.append(f"{fmt.name} is read as {target}")
            return PixelFormat.parse(target), target

    def _describe(self, path: str) -> VideoInfo:
        stream, frame, container = self._stream, self._first[0], self._container
        context = stream.codec_context
        fmt = self._pix_fmt
        size = container.size if container.size and container.size > 0 else None
        duration = _seconds(stream.duration, stream.time_base) or (container.duration or 0) / 1e6 or None
        rate = stream.average_rate or stream.guessed_rate or None
        if fmt.alpha:
            self._notes.append("alpha is not looked at")
        stated = _RANGES.get(int(frame.color_range or 0))
        return VideoInfo(
            path, frame.width, frame.height, fmt, Fraction(rate) if rate else None,
            frames=stream.frames or None, duration=duration, container=container.format.name, codec=context.codec.name,
            range=self._options.range or stated or ("full" if fmt.full_range else None),
            matrix=self._options.matrix or ("rgb" if fmt.family == "rgb" else _MATRICES.get(int(frame.colorspace or 2))),
            primaries=_PRIMARIES.get(int(frame.color_primaries or 2)), transfer=_TRANSFERS.get(int(frame.color_trc or 2)),
            rotation=int(frame.rotation or 0) % 360, field_order=_field_order(context, frame),
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            bitrate=context.bit_rate or container.bit_rate or None, size=size, stream=stream.index,
            notes=tuple(self._notes),
        )  # fmt: skip

    def length(self) -> int | None:
        if self._pipe is not None:
            return None
        again = self._open(self.info.path, None)
        try:
            stream = again.streams[self._stream.index]
            return sum(bool(packet.size) and not packet.is_discard for packet in again.demux(stream)) or None
        finally:
            again.close()

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        origin = self._first[0].time or 0.0
        pictures = self._from_start() if start <= 0 or not self._seek(origin + start) else self._decode()
        rate = self.info.rate or Fraction(25)
        index = 0
        for number, (picture, size) in enumerate(at_most(pictures, self._options.max_frames, self._name)):
            time = number / float(rate) if picture.time is None else picture.time - origin
            if time < start - 0.5 / float(rate) - 1e-9:
                continue
            yield self._frame(picture, size, index, time)
            index += 1

    def _from_start(self) -> Iterator[tuple[Any, int | None]]:
        yield self._first
        self._first = None
        yield from self._decoded

    def _seek(self, time: float) -> bool:
        """Go to the key frame before `time`, where the container can; decoding then starts anew."""
        if self._stream.duration is None and self._container.duration is None:
            return False
        try:
            self._container.seek(int(time / self._stream.time_base), stream=self._stream)
        except (av.error.FFmpegError, OverflowError):  # beyond what a time can be
            return False
        self._stream.codec_context.flush_buffers()
        self._packets = -1  # no longer counts from the first
        return True

    def _decode(self) -> Generator[tuple[Any, int | None], None, None]:
        """Pictures, each with the size of its packet."""
        number = 0
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    self._mark(packet)
                    self._packets += self._packets >= 0
                    self._damaged += packet.is_corrupt
                for picture in self._pictures(packet):
                    yield picture, self._size(picture)
                    number += 1
        except av.error.FFmpegError as error:
            raise DecodeError(f"{self._name}: {self._what_failed(number)} ({_reason(error)})") from None
        self._check_end()

    def _pictures(self, packet: Any) -> list[Any]:
        """What the decoder makes of a packet.

        Raises
            DeviceError: there was no memory, or there were no threads for it; a lying file fails before, in its container.
        """
        try:
            return list(packet.decode())
        except (av.error.MemoryError, av.error.BlockingIOError):
            raise DeviceError(f"{self._name}: no memory, or no threads, for the decoder; use fewer --threads") from None

    def _mark(self, packet: Any) -> None:
        """Note a packet's size under its time, or under a number that goes the way of a time.

        FFmpeg can hang a value on a packet (`copy_opaque`), but PyAV lets go of it on the decoder's threads: these wait for
        the interpreter, which waits for them when the decoder is closed.
        """
        if packet.pts is None:
            packet.pts = next(self._untimed)
        self._sizes[packet.pts] = packet.size

    def _size(self, picture: Any) -> int | None:
        size = self._sizes.pop(picture.pts, None)
        if picture.pts is not None and picture.pts < _UNTIMED // 2:
            picture.pts = None
        return size

    def _what_failed(self, number: int) -> str:
        if number:
            return f"damaged after frame {number}"
        if self._pipe is not None and "mp4" in self._container.format.name:
            return "an MP4 whose index lies at its end cannot be read from a pipe; use +faststart, mkv or Y4M"
        return "cannot be decoded"

    def _check_end(self) -> None:
        """A container that promised more pictures than it held was cut short, and one whose packets are not whole too."""
        promised = self._stream.frames
        if 0 <= self._packets < promised and "mp4" in self._container.format.name:
            raise DecodeError(f"{self._name}: cut short: {self._packets} of {promised} frames are there")
        missing = missing_bytes(self._path) if self._pipe is None and "matroska" in self._container.format.name else 0
        if missing:
            raise DecodeError(f"{self._name}: cut short: {missing} bytes are missing at its end")
        if self._damaged:
            raise DecodeError(f"{self._name}: cut short or damaged: {self._damaged} packets are not whole")

    def _frame(self, picture: Any, size: int | None, index: int, time: float) -> Frame:
        if (picture.width, picture.height) != (self.info.width, self.info.height):
            raise DecodeError(f"{self._name}: the picture changes from {self.info.width}x{self.info.height} to "
                              f"{picture.width}x{picture.height} at frame {index}; cut the stream there")  # fmt: skip
        if self._swscale is None and picture.format.name != self._pix_fmt.name:
            raise DecodeError(f"{self._name}: the pixel format changes from {self._pix_fmt.name} to {picture.format.name} "
                              f"at frame {index}; cut the stream there")  # fmt: skip
        kind = av.video.frame.PictureType(picture.pict_type).name
        if self._swscale is not None:
            picture = picture.reformat(format=self._swscale)
        planes = planes_of(picture, self._pix_fmt)
        return Frame(self.info, index, lambda: planes, picture.pts, time, None if kind == "NONE" else kind, size,
                     bool(picture.is_corrupt))  # fmt: skip

    def close(self) -> None:
        self._decoded.close()
        self._container.close()
        if self._pipe is not None and self._name != "stdin":
            self._pipe.close()


def _threads(codec: Any, beside: int) -> int:
    """Of one of so many decoders that share the machine; 0 leaves it to FFmpeg.

    Threads that decode whole frames wait for each other, and with one more than cores, which is FFmpeg's choice, cores idle: on
    two of them H.264 and HEVC decode a tenth to a third faster with eight.
    """
    cores = cpu_count()
    share = min(_MOST_THREADS, 4 * cores // max(1, beside))
    by_frame = codec.capabilities & av.codec.Capabilities.frame_threads
    return share if by_frame and share > cores + 1 > 2 else 0


def _first_number(pattern: str) -> int:
    """The lowest number of a sequence on disk.

    Raises
        MissingInputError: no file fits the pattern.
    """
    folder, name = os.path.split(pattern)
    before, spec, after = re.split(r"(%0?\d*d)", name, maxsplit=1)
    shape = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = (shape.fullmatch(os.path.basename(p)) for p in glob.glob(os.path.join(glob.escape(folder), "*")))
    numbers = [int(m[1]) for m in found if m and spec % int(m[1]) == m[1]]
    if not numbers:
        raise MissingInputError(f"{pattern}: no file fits this pattern")
    return min(numbers)


def _playlist_hint(path: str) -> str:
    """What to say of a file that was refused because it names other files to open."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return ""
    kinds = {"hls": b"#EXTM3U", "concat": b"ffconcat version", "dash": b"<MPD"}
    kind = next((name for name, mark in kinds.items() if mark in head), None)
    return f"; playlists open other files: ask for it with --input-format {kind}" if kind else ""


def _seconds(ticks: int | None, time_base: Fraction | None) -> float | None:
    return None if ticks is None or time_base is None else float(ticks * time_base)


def _field_order(context: Any, frame: Any) -> str | None:
    order = _FIELD_ORDERS.get(int(getattr(context, "field_order", 0) or 0))
    return order or ("interlaced" if frame.interlaced_frame else None)


def _reason(error: BaseException) -> str:
    if isinstance(error, VqmeterError):
        return str(error)
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:] if text else type(error).__name__
