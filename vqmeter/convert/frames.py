"""Which frames are taken, and their planes in the pixel format of the output.

Of N frames, n evenly spread ones are those of number floor((k + 1/2) N / n), k = 0 ... n - 1: the middles of n equal parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vqmeter.colour import colour
from vqmeter.distortions.codecs import Planes, planar_format
from vqmeter.distortions.video import from_rgb
from vqmeter.errors import InputError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.sources import InputOptions, Source, name_of
from vqmeter.sources.pair import Selection, at_depth
from vqmeter.sources.pictures import planes_of, to_picture


def evenly(count: int, total: int) -> tuple[int, ...]:
    """The numbers of `count` evenly spread frames of `total`."""
    return tuple((2 * k + 1) * total // (2 * count) for k in range(count))


def spread(source: Source, selection: Selection, count: int) -> tuple[int, ...]:
    """The numbers, among the frames selected, of `count` evenly spread ones.

    Raises
        InputError: fewer frames than that, or a pipe, whose length nobody knows before its end.
    """
    total = selection.count(source.info, source.length())
    if total is None:
        raise InputError(f"{name_of(source.info.path)}: to spread frames evenly the length must be known, and a pipe does not "
                         "say it; write it to a file first")  # fmt: skip
    if total < count:
        raise InputError(f"{name_of(source.info.path)}: {count} frames are asked for, and there are {total}")
    return evenly(count, total)


def taken(source: Source, selection: Selection, chosen: tuple[int, ...] | None) -> Iterator[Frame]:
    """The frames selected, of these only those whose number is in `chosen` where it is given; each is released after use.

    Raises
        InputError: no frame at all, or the video ends before the last one chosen.
    """
    name, left, any_taken = name_of(source.info.path), list(reversed(chosen or ())), False
    for number, frame in enumerate(selection.pick(source.frames(selection.start))):
        if chosen is not None and number != left[-1]:
            continue
        any_taken = True
        yield frame
        frame.release()
        if chosen is not None:
            left.pop()
            if not left:
                return
    if left:
        raise InputError(f"{name}: ended before frame {left[-1]}, {len(left)} of {len(chosen or ())} frames are missing")
    if not any_taken:
        raise InputError(f"{name}: no frame to convert at -ss {selection.start:g}")


def described(info: VideoInfo, fmt: PixelFormat, reading: InputOptions) -> VideoInfo:
    """`info` of the same video in the planar format `fmt`; where the family changes, matrix and range are decided here."""
    if fmt.family == info.pix_fmt.family:
        span = "full" if info.pix_fmt.full_range and fmt.family == "yuv" else info.range
        return replace(info, pix_fmt=fmt, range=span)
    if fmt.family != "yuv":
        return replace(info, pix_fmt=fmt, matrix=None, range="full")
    unsaid = replace(info, pix_fmt=fmt, matrix=None, range=None)
    meaning = colour(unsaid, reading.matrix, reading.range)
    return replace(unsaid, matrix=meaning.matrix, range=meaning.range)


def in_format(frames: Iterator[Frame], info: VideoInfo) -> Iterator[Planes]:
    """Planes in the format of `info`: as they are where it is theirs, deeper by `at_depth`, chroma resampled by libswscale.

    Between YUV, RGB and grey the way is 8-bit RGB.
    """
    fmt = info.pix_fmt
    for frame in frames:
        was = frame.info.pix_fmt
        if was.family != fmt.family:
            from vqmeter.worst import to_rgb

            yield from_rgb(to_rgb(frame), info)
            continue
        deep = at_depth(frame, fmt.bit_depth) if fmt.bit_depth > was.bit_depth else frame
        have = planar_format(deep.info.pix_fmt)
        if have == fmt:
            yield deep.planes
        else:
            yield planes_of(to_picture(deep.planes, have).reformat(format=fmt.name), fmt)
