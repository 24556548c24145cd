"""Headless raw YUV and Y4M. Frames of a plain file are read by position, each by the worker that scores it.

Every frame has the same length, so there is no serial reader to wait for: `Frame.load` reads straight into a buffer
its thread uses again and again. Pipes are read in order.
Y4M: https://wiki.multimedia.cx/index.php/YUV4MPEG2
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from vqmeter.errors import DecodeError
from vqmeter.frames import Frame, Part, PixelFormat, Plane, VideoInfo
from vqmeter.sources import Y4M_MAGIC, InputOptions, at_most, check_pixels, name_of
from vqmeter.sources.geometry import DEFAULT_RATE, raw_geometry

_FRAME = b"FRAME\n"
_MAX_HEADER = 4096
_Y4M_FORMATS = {
    "420": "yuv420p", "420jpeg": "yuv420p", "420mpeg2": "yuv420p", "420paldv": "yuv420p", "411": "yuv411p",
    "422": "yuv422p", "444": "yuv444p", "444alpha": "yuva444p", "mono": "gray",
}  # fmt: skip


def open_raw(path: str, stream: BinaryIO | None, options: InputOptions) -> RawSource:
    """A headless file or pipe."""
    geometry = raw_geometry(path, options)
    fmt = geometry.pix_fmt
    info = VideoInfo(
        path, geometry.width, geometry.height, fmt, geometry.rate, geometry.rate_stated, container="rawvideo", codec="rawvideo",
        range=options.range or ("full" if fmt.full_range else None), matrix=options.matrix,
        notes=(f"from the file name: {', '.join(geometry.guessed)}",) if geometry.guessed else (),
    )  # fmt: skip
    return RawSource(info, stream, 0, b"", options.max_frames)


def open_y4m(path: str, stream: BinaryIO | None, options: InputOptions) -> RawSource:
    """A Y4M file or pipe.

    Raises
        DecodeError: the header is broken, or its colour space unknown.
    """
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(stream if stream is not None else open(path, "rb"))
        line = _read_line(handle, name_of(path))
        info = _parse_y4m(path, line, options)
        if stream is None and handle.read(len(_FRAME)) in (_FRAME, b""):
            return RawSource(info, None, len(line), _FRAME, options.max_frames)
        if stream is None:
            handle.seek(len(line))  # frame headers with parameters: their lengths vary, so read in order
        source = RawSource(info, handle, len(line), _FRAME, options.max_frames)
        stack.pop_all()
        return source


def _read_line(stream: BinaryIO, name: str) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = stream.read(1)
        if not byte or len(line) > _MAX_HEADER:
            raise DecodeError(f"{name}: the Y4M header has no end; the file is damaged or cut short")
        line += byte
    return bytes(line)


def _parse_y4m(path: str, line: bytes, options: InputOptions) -> VideoInfo:
    name = name_of(path)
    tags = {token[:1]: token[1:] for token in line[len(Y4M_MAGIC) :].decode("latin-1").split() if token[:1] != "X"}
    extras = [token[1:] for token in line.decode("latin-1").split() if token.startswith("X")]
    try:
        width, height = int(tags["W"]), int(tags["H"])
        rate = _ratio(tags.get("F"))
        aspect = _ratio(tags.get("A"))
    except (KeyError, ValueError, ZeroDivisionError):
        raise DecodeError(f"{name}: the Y4M header '{line.decode('latin-1').strip()[:80]}' is broken") from None
    if width < 1 or height < 1:
        raise DecodeError(f"{name}: the Y4M header says {width}x{height}, which is no picture")
    check_pixels(name, width, height, options.max_pixels)
    fmt = _y4m_format(tags.get("C", "420"))
    if fmt is None:
        raise DecodeError(f"{name}: unknown Y4M colour space 'C{tags['C'][:40]}'")
    colour_range = {"COLORRANGE=FULL": "full", "COLORRANGE=LIMITED": "limited"}
    return VideoInfo(
        path, width, height, fmt, rate or DEFAULT_RATE, rate is not None, container="yuv4mpegpipe", codec="rawvideo",
        range=options.range or next((colour_range[x] for x in extras if x in colour_range), None),
        matrix=options.matrix, sample_aspect_ratio=aspect,
        field_order={"t": "tt", "b": "bb", "p": "progressive"}.get(tags.get("I", "")),
    )  # fmt: skip


def _ratio(text: str | None) -> Fraction | None:
    if text is None:
        return None
    top, _, bottom = text.partition(":")
    return None if int(top) == 0 else Fraction(int(top), int(bottom))


def _y4m_format(tag: str) -> PixelFormat | None:
    if tag in _Y4M_FORMATS:
        return PixelFormat.parse(_Y4M_FORMATS[tag])
    layout, _, depth = tag.partition("p") if "p" in tag else (tag[:4], "", tag[4:])
    base = {"420": "yuv420p", "422": "yuv422p", "444": "yuv444p", "mono": "gray"}.get(layout)
    known = base is not None and depth in ("9", "10", "12", "14", "16")
    return PixelFormat.parse(f"{base}{depth}le") if known else None


class RawSource:
    """Frames of one length, each after a marker (`FRAME` in Y4M, nothing in headless files)."""

    def __init__(
        self, info: VideoInfo, stream: BinaryIO | None, header: int, marker: bytes, max_frames: int | None = None
    ) -> None:
        self._stream, self._header, self._marker, self._max_frames = stream, header, marker, max_frames
        self._shapes = info.pix_fmt.plane_shapes(info.width, info.height)
        self._bytes = info.pix_fmt.frame_bytes(info.width, info.height)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._name = name_of(info.path)
        self._file = None if stream is not None else open(info.path, "rb", buffering=0)
        self.count: int | None = None
        self.cut = 0  # bytes after the last whole frame
        size = None
        if self._file is not None:
            size = os.fstat(self._file.fileno()).st_size
            self.count, self.cut = divmod(size - header, self._bytes + len(marker))
        rate = info.rate or DEFAULT_RATE
        self.info = _with_length(info, self.count, size, rate, self._bytes)
        if self._file is not None and not self.count:
            self._file.close()
            raise DecodeError(self._too_short(size or 0))

    def _too_short(self, size: int) -> str:
        i = self.info
        return (f"{self._name}: {size} bytes hold no whole frame of {i.width}x{i.height} {i.pix_fmt.name} "
                f"({self._bytes} bytes); check -s and -pix_fmt")  # fmt: skip

    def _cut_message(self) -> str:
        i = self.info
        what = f"{self._name}: {self.cut} bytes left over after {self.count} frames of {i.width}x{i.height} {i.pix_fmt.name}"
        if self._marker:
            return f"{what}: cut short"
        return f"{what} ({self._bytes} bytes each); check -s and -pix_fmt, or score the whole ones with --frames {self.count}"

    def length(self) -> int | None:
        return self.count

    def check_length(self, wanted: int | None) -> None:
        """Refuse a headless file whose length does not fit its geometry, unless only whole frames are wanted.

        Raises
            DecodeError: the length is no multiple of the frame's.
        """
        if self.cut and not self._marker and (wanted is None or self.count is None or wanted > self.count):
            raise DecodeError(self._cut_message())

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        rate = self.info.rate or DEFAULT_RATE
        first = max(0, round(start * rate))
        top, bottom = rate.numerator, rate.denominator
        numbers = self._by_position(first) if self._file is not None else self._in_order(first)
        for number, load in at_most(numbers, self._max_frames, self._name):
            yield Frame(self.info, number - first, load, pts=number, time=number * bottom / top, bytes=self._bytes)

    def _by_position(self, first: int) -> Iterator[tuple[int, Any]]:
        for number in range(first, self.count or 0):
            yield number, _Place(self, number)
        if self.cut and self._marker:
            raise DecodeError(self._cut_message())

    def _in_order(self, first: int) -> Iterator[tuple[int, Any]]:
        number = 0
        while (buffer := self._next(number)) is not None:
            planes = self._planes(buffer)
            if number >= first:
                yield number, lambda p=planes: p
            number += 1

    def _own(self) -> Any:
        """This thread's own memory: a buffer, room for a marker, the planes where they are views on the buffer."""
        own = self._local
        if not hasattr(own, "buffer"):
            own.buffer, own.marker = np.empty(self._bytes, np.uint8), bytearray(len(self._marker))
            planes = self._planes(own.buffer)
            own.planes = planes if all(np.shares_memory(plane, own.buffer) for plane in planes) else None
            own.plain = own.planes is not None and _lie_plainly(planes, own.buffer)
        return own

    def part(self, number: int) -> Part | None:
        """Where frame `number` lies and belongs, if its planes lie there one after another as they are."""
        own = self._own()
        if not own.plain or self._file is None or not hasattr(os, "pread"):
            return None
        file, at = self._file.fileno(), self._header + number * (self._bytes + len(self._marker))
        if self._marker and os.pread(file, len(self._marker), at) != self._marker:
            return None
        return Part(file, at + len(self._marker), own.buffer.view(own.planes[0].dtype), own.planes)

    def read(self, number: int) -> tuple[Plane, ...]:
        """Frame `number` in this thread's own buffer."""
        own = self._own()
        buffer, marker = own.buffer, own.marker
        offset = self._header + number * (self._bytes + len(marker))
        try:
            got = self._read_at([marker, buffer] if marker else [buffer], offset)
        except OSError as error:
            raise DecodeError(f"{self._name}: frame {number}: {error.strerror}") from None
        if got != self._bytes + len(marker):
            raise DecodeError(f"{self._name}: frame {number} is cut short; the file changed while it was read")
        if marker != self._marker:
            raise DecodeError(f"{self._name}: frame {number} does not begin with FRAME; the file is damaged")
        return self._planes(buffer) if own.planes is None else own.planes

    def _read_at(self, buffers: list[Any], offset: int) -> int:
        assert self._file is not None
        if hasattr(os, "preadv"):
            got = os.preadv(self._file.fileno(), buffers, offset)
            if got == sum(len(b) for b in buffers) or got == 0:
                return got
        with self._lock:
            self._file.seek(offset)
            return sum(_fill(self._file, memoryview(b)) for b in buffers)

    def _next(self, number: int) -> Any:
        """The next frame of a pipe, None at its end."""
        assert self._stream is not None
        if self._marker:
            first = self._stream.read(1)
            if not first:
                return None
            if not (first + _read_line(self._stream, self._name)).startswith(b"FRAME"):
                raise DecodeError(f"{self._name}: frame {number} does not begin with FRAME; the stream is damaged")
        buffer = np.empty(self._bytes, np.uint8)
        got = _fill(self._stream, memoryview(buffer.data))
        if got == 0 and not self._marker and number:
            return None
        if got < self._bytes:
            if not number:
                raise DecodeError(self._too_short(got))
            raise DecodeError(f"{self._name}: cut short in frame {number}: {got} of {self._bytes} bytes")
        return buffer

    def _planes(self, buffer: Any) -> tuple[Plane, ...]:
        memory, offset, fmt = [], 0, self.info.pix_fmt
        for rows, samples in self._shapes:
            size = rows * samples * fmt.bytes_per_sample
            memory.append(buffer[offset : offset + size].view(fmt.memory_dtype).reshape(rows, samples))
            offset += size
        return fmt.planes(memory, self.info.width, self.info.height)

    def close(self) -> None:
        for handle in (self._file, self._stream):
            if handle is not None and self.info.path != "-":
                handle.close()


class _Place:
    """What loads a frame: its place in a file."""

    def __init__(self, source: RawSource, number: int) -> None:
        self._source, self._number = source, number

    def __call__(self) -> tuple[Plane, ...]:
        return self._source.read(self._number)

    def part(self) -> Part | None:
        return self._source.part(self._number)


def _lie_plainly(planes: tuple[Plane, ...], buffer: Any) -> bool:
    """Whether `planes`, in their order and without gaps, are all of `buffer`."""
    ends = [buffer.ctypes.data]
    for plane in planes:
        if not plane.flags.c_contiguous or plane.ctypes.data != ends[-1]:
            return False
        ends.append(ends[-1] + plane.nbytes)
    return bool(ends[-1] - ends[0] == buffer.nbytes)


def _fill(stream: Any, view: memoryview) -> int:
    """Read until `view` is full or the stream ends; the number of bytes read."""
    got = 0
    while got < len(view):
        n = stream.readinto(view[got:])
        if not n:
            break
        got += n
    return got


def _with_length(info: VideoInfo, count: int | None, size: int | None, rate: Fraction, frame: int) -> VideoInfo:
    from dataclasses import replace

    duration = None if count is None else round(float(count / rate), 6)
    return replace(info, frames=count, duration=duration, size=size, bitrate=round(frame * 8 * rate))
