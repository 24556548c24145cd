"""Frames at another size, as libswscale scales them: `--scale ref`, `--scale 1280x720:lanczos`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from vqmeter.errors import InputError, UsageError
from vqmeter.frames import Frame, Plane, VideoInfo
from vqmeter.sources import Source, name_of
from vqmeter.sources.geometry import parse_size
from vqmeter.sources.pair import common_format

ALGORITHMS = ("bicubic", "lanczos", "bilinear")


@dataclass(frozen=True)
class Scale:
    """What `--scale` asks for: the reference's size (None) or a fixed one, and how to get there."""

    size: tuple[int, int] | None
    algorithm: str = "bicubic"

    @classmethod
    def parse(cls, text: str) -> Scale | None:
        """`none`, `ref` or `WxH`, and after a colon the algorithm.

        Raises
            UsageError: neither of these.
        """
        size, _, algorithm = text.partition(":")
        if (algorithm or "bicubic") not in ALGORITHMS:
            raise UsageError(f"no scaling called '{algorithm}'; there are {', '.join(ALGORITHMS)}")
        if size == "none":
            return None
        return cls(None if size == "ref" else parse_size(size), algorithm or "bicubic")

    def __str__(self) -> str:
        return f"{'ref' if self.size is None else '{}x{}'.format(*self.size)}:{self.algorithm}"

    def apply(self, source: Source, ref: VideoInfo | None) -> Source:
        """`source` at the size asked for; itself where it has that size already.

        Raises
            UsageError: the reference's size is asked for and there is no reference.
        """
        if self.size is None and ref is None:
            raise UsageError("--scale ref wants a reference; give a size")
        width, height = self.size or (ref.width, ref.height)  # type: ignore[union-attr]
        if (width, height) == (source.info.width, source.info.height):
            return source
        return Scaled(source, width, height, self.algorithm)


class Scaled:
    """A source whose frames come at another size; they are scaled by whoever looks at them."""

    def __init__(self, source: Source, width: int, height: int, algorithm: str) -> None:
        self._source, self._algorithm = source, algorithm
        was = source.info
        fmt = common_format(was.pix_fmt, was.pix_fmt.bit_depth)
        note = f"scaled from {was.width}x{was.height} to {width}x{height} ({algorithm})"
        self.info = replace(was, width=width, height=height, pix_fmt=fmt, notes=(*was.notes, note))
        self.count = source.count
        self._local = threading.local()

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        for frame in self._source.frames(start):
            yield replace(frame, info=self.info, load=partial(self._scale, frame), _memo={})

    def _scale(self, frame: Frame) -> tuple[Plane, ...]:
        from av.error import ArgumentError, MemoryError
        from av.video.reformatter import VideoReformatter

        from vqmeter.sources.pictures import planes_of, to_picture

        if not hasattr(self._local, "reformatter"):
            self._local.reformatter = VideoReformatter()
        picture = to_picture(frame.planes, self.info.pix_fmt)
        frame.release()
        info = self.info
        try:
            scaled = self._local.reformatter.reformat(picture, info.width, info.height, interpolation=self._algorithm.upper())
        except (ArgumentError, MemoryError) as error:
            raise InputError(f"{name_of(info.path)}: FFmpeg cannot bring {picture.width}x{picture.height} to "
                             f"{info.width}x{info.height} ({self._algorithm})") from error  # fmt: skip
        return planes_of(scaled, info.pix_fmt)

    def length(self) -> int | None:
        return self._source.length()

    def close(self) -> None:
        self._source.close()
