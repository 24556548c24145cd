"""From a path to frames: headless raw YUV and Y4M by a small reader of our own, everything else over PyAV.

Both readers give a `Source`; nobody above this package knows which one it was.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Protocol, TypeVar

from vqmeter.errors import DecodeError, MissingInputError
from vqmeter.frames import Frame, VideoInfo
from vqmeter.sources.streams import Prefixed

#: Frames larger than this are refused unless --max-pixels allows them: headers lie.
MAX_PIXELS = 1 << 27

RAW_SUFFIXES = (".yuv", ".raw", ".rgb", ".bgr", ".gray", ".nv12", ".nv21", ".p010", ".i420", ".420p", ".422p", ".444p")
Y4M_MAGIC = b"YUV4MPEG2 "

T = TypeVar("T")


@dataclass(frozen=True)
class InputOptions:
    """How to read an input. `size`, `pix_fmt` and `rate` touch headless raw input only.

    `format` is FFmpeg's name of a container (`rawvideo`, `yuv4mpegpipe`, `hls` ...); None finds out.
    `range` and `matrix` override what the stream says or leaves unsaid. A frame of more than `max_pixels` is refused, and
    what comes after `max_frames` frames, counted from where decoding begins. `beside` is how many files are decoded at once:
    where `threads` is 0, they share the machine.
    """

    size: tuple[int, int] | None = None
    pix_fmt: str | None = None
    rate: Fraction | None = None
    format: str | None = None
    range: str | None = None
    matrix: str | None = None
    threads: int = 0
    max_pixels: int = MAX_PIXELS
    max_frames: int | None = None
    beside: int = 1


class Source(Protocol):
    """An opened video.

    `count` is the number of frames where the length of the file proves it, else None.
    """

    info: VideoInfo
    count: int | None

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """The frames from `start` seconds on, numbered from 0. May be called once.

        Raises
            DecodeError: the stream is damaged or cut short; every frame before that was given.
        """
        ...

    def length(self) -> int | None:
        """The exact number of frames, found without decoding; None of a pipe."""
        ...

    def close(self) -> None: ...


def open_video(path: str, options: InputOptions | None = None) -> Source:
    """Open `path` (`-` is stdin) with the reader it needs.

    Raises
        MissingInputError: no such file, a folder, or no permission.
        DecodeError: empty, or nothing FFmpeg knows as video.
        UsageError: raw input whose size is neither given nor in its name.
    """
    options = options or InputOptions()
    stream, head = _peek(path)
    if _is_raw(path, head, options):
        from vqmeter.sources.raw import open_raw

        return open_raw(path, stream, options)
    if head.startswith(Y4M_MAGIC) and options.format in (None, "yuv4mpegpipe"):
        from vqmeter.sources.raw import open_y4m

        return open_y4m(path, stream, options)
    from vqmeter.sources.container import ContainerSource

    return ContainerSource(path, stream, options)


def _is_raw(path: str, head: bytes, options: InputOptions) -> bool:
    if options.format is not None:
        return options.format == "rawvideo"
    if path == "-":
        return options.size is not None and not head.startswith(Y4M_MAGIC)
    return path.lower().endswith(RAW_SUFFIXES)


def _peek(path: str) -> tuple[BinaryIO | None, bytes]:
    """The first bytes of an input, and for pipes the stream that still begins with them (None for plain files)."""
    if path == "-":
        stream: BinaryIO = sys.stdin.buffer
    else:
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode):
                raise MissingInputError(f"{path}: is a folder, not a video")
            stream = open(path, "rb")
        except FileNotFoundError:
            if is_sequence(path):
                return None, b""
            hint = "; URLs are not opened, pipe it to '-'" if "://" in path else ""
            raise MissingInputError(f"{path}: no such file{hint}") from None
        except OSError as error:
            raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        except ValueError:
            raise MissingInputError(f"{path!r}: not a file name") from None
    head = stream.read(len(Y4M_MAGIC))
    plain = path != "-" and stat.S_ISREG(mode)
    if plain or not head:
        stream.close()
    if not head:
        raise DecodeError(f"{name_of(path)}: empty, there is nothing to read")
    return (None, head) if plain else (Prefixed(head, stream), head)


def check_pixels(name: str, width: int, height: int, most: int) -> None:
    """Refuse what is too large before memory is taken for it.

    Raises
        DecodeError: more than `most` pixels.
    """
    if width * height > most:
        raise DecodeError(f"{name}: {width}x{height} is more than --max-pixels {most} allows")


def at_most(frames: Iterator[T], limit: int | None, name: str) -> Iterator[T]:
    """`frames`, of which there may be `limit`.

    Raises
        DecodeError: there are more; those before were given.
    """
    for number, frame in enumerate(frames):
        if number == limit:
            raise DecodeError(f"{name}: more frames than --max-frames {limit} allows")
        yield frame


def is_sequence(path: str) -> bool:
    """Whether `path` is a numbered sequence's pattern, as `frame_%04d.png`."""
    import re

    return re.search(r"%0?\d*d", os.path.basename(path)) is not None


def name_of(path: str) -> str:
    """`path` as messages call it."""
    return "stdin" if path == "-" else path
