"""A part of every frame, as views on its planes: `--crop 1280:720:320:180`, in ffmpeg's order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from vqmeter.errors import MismatchError, UsageError
from vqmeter.frames import Frame, Plane
from vqmeter.sources import Source, name_of


@dataclass(frozen=True)
class Crop:
    """`width` x `height` luma samples, `x` from the left and `y` from the top."""

    width: int
    height: int
    x: int
    y: int

    @classmethod
    def parse(cls, text: str | None) -> Crop | None:
        """`W:H:X:Y`.

        Raises
            UsageError: not four whole numbers, or a part without samples.
        """
        if text is None:
            return None
        parts = text.split(":")
        if len(parts) != 4 or not all(p.isascii() and p.isdigit() for p in parts) or not int(parts[0]) * int(parts[1]):
            raise UsageError(f"--crop is WIDTH:HEIGHT:X:Y, as 1280:720:320:180, not '{text}'")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.width}:{self.height}:{self.x}:{self.y}"

    def apply(self, source: Source) -> Source:
        """This part of `source`.

        Raises
            MismatchError: it reaches out of the picture, or cuts through a chroma sample.
        """
        info = source.info
        name = name_of(info.path)
        if self.x + self.width > info.width or self.y + self.height > info.height:
            raise MismatchError(f"{name}: --crop {self} reaches out of {info.width}x{info.height}")
        legal = self._aligned(info.pix_fmt.sub_x, info.pix_fmt.sub_y, info.width, info.height)
        if legal != self:
            raise MismatchError(f"{name}: --crop {self} cuts through chroma samples of {info.pix_fmt.name}; "
                                f"the nearest that does not is {legal}")  # fmt: skip
        return Cropped(source, self)

    def _aligned(self, sub_x: int, sub_y: int, width: int, height: int) -> Crop:
        """The nearest part that begins and ends between chroma samples, or at the picture's edge."""
        x, right = _span(self.x, self.width, 1 << sub_x, width)
        y, bottom = _span(self.y, self.height, 1 << sub_y, height)
        return Crop(right - x, bottom - y, x, y)


def _span(start: int, length: int, step: int, end: int) -> tuple[int, int]:
    first = start // step * step
    last = end if start + length == end else max(first + step, (start + length) // step * step)
    return first, min(last, end)


class Cropped:
    """A source that shows a part of its frames."""

    def __init__(self, source: Source, crop: Crop) -> None:
        self._source, self._crop = source, crop
        was = source.info
        note = f"cropped from {was.width}x{was.height} to {crop}"
        self.info = replace(was, width=crop.width, height=crop.height, notes=(*was.notes, note))
        self.count = source.count

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        for frame in self._source.frames(start):
            yield replace(frame, info=self.info, load=partial(self._cut, frame), _memo={})

    def _cut(self, frame: Frame) -> tuple[Plane, ...]:
        crop, fmt = self._crop, self.info.pix_fmt
        wide, high = fmt.chroma_size(crop.width, crop.height)
        planes = []
        for n, plane in enumerate(frame.load()):
            chroma = n > 0 and fmt.family == "yuv"
            x, y = (crop.x >> fmt.sub_x, crop.y >> fmt.sub_y) if chroma else (crop.x, crop.y)
            width, height = (wide, high) if chroma else (crop.width, crop.height)
            planes.append(plane[y : y + height, x : x + width])
        return tuple(planes)

    def length(self) -> int | None:
        return self._source.length()

    def close(self) -> None:
        self._source.close()
