"""Reference and distorted side by side: do they fit, which frames are compared, and in what format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from vqmeter.errors import InputError, MismatchError
from vqmeter.frames import Frame, PixelFormat, Plane, VideoInfo
from vqmeter.sources import Source, name_of
from vqmeter.sources.differences import differences
from vqmeter.sources.lanes import Lane, Selection
from vqmeter.sources.raw import RawSource

__all__ = ["Fit", "Group", "Lane", "Selection", "at_depth", "check_lengths", "check_selection", "common_format",
           "common_length", "fit", "identical", "walk"]  # fmt: skip

_ENDS = 1.0  # seconds by which the ends of two videos may differ where frames are paired by time


@dataclass(frozen=True)
class Fit:
    """The format two videos are compared in, and what a careful reader should know."""

    compare_format: PixelFormat
    warnings: tuple[str, ...] = ()


def fit(ref: VideoInfo, dist: VideoInfo, pair: str = "index") -> Fit:
    """Whether two videos can be compared sample by sample; unequal depths meet at the greater. `pair` is as in `Selection`.

    Raises
        MismatchError: size, colour family or chroma layout differ.
    """
    names = name_of(ref.path), name_of(dist.path)
    if (ref.width, ref.height) != (dist.width, dist.height):
        raise MismatchError(f"{names[1]} is {dist.width}x{dist.height}, but its reference {names[0]} is "
                            f"{ref.width}x{ref.height}; --scale ref brings it to that size")  # fmt: skip
    a, b = ref.pix_fmt, dist.pix_fmt
    if (a.family, a.sub_x, a.sub_y) != (b.family, b.sub_x, b.sub_y):
        raise MismatchError(f"{names[1]} is {b.name}, but its reference {names[0]} is {a.name}; "
                            "convert one to the other's format first")  # fmt: skip
    return Fit(common_format(a, max(a.bit_depth, b.bit_depth)), differences(ref, dist, pair))


def common_format(fmt: PixelFormat, depth: int) -> PixelFormat:
    layout = {(0, 0): "444", (0, 1): "440", (1, 0): "422", (1, 1): "420", (2, 0): "411", (2, 2): "410"}
    base = {"gray": "gray", "rgb": "gbrp", "yuv": f"yuv{layout[fmt.sub_x, fmt.sub_y]}p"}[fmt.family]
    return PixelFormat.parse(base if depth == 8 else f"{base}{depth}le")


def at_depth(frame: Frame, depth: int) -> Frame:
    """`frame` with samples of `depth` bits: limited range is shifted, full range scaled to the new peak."""
    fmt = frame.info.pix_fmt
    if fmt.bit_depth == depth:
        return frame
    full = frame.info.range == "full" or fmt.family == "rgb"
    target = common_format(fmt, depth)

    def load() -> tuple[Plane, ...]:
        return tuple(_promote(plane, fmt.bit_depth, depth, full) for plane in frame.planes)

    return replace(frame, load=load, info=replace(frame.info, pix_fmt=target), _memo={})


def _promote(plane: Plane, depth: int, to: int, full: bool) -> Plane:
    wide = plane.astype(np.uint16) if not full else plane.astype(np.uint64)
    if not full:
        return wide << (to - depth)
    peak, new = (1 << depth) - 1, (1 << to) - 1
    return ((wide * new + peak // 2) // peak).astype(np.uint16)


@dataclass
class Group:
    """Frames that belong together: the reference's (None without one) and each distorted file's (None where it has none)."""

    index: int
    ref: Frame | None
    dists: list[Frame | None] = field(default_factory=list)


def check_lengths(ref: Source, dist: Source, selection: Selection) -> None:
    """Refuse inputs of different lengths before scoring, where the files prove their lengths.

    Raises
        MismatchError: the lengths differ and `selection.shortest` is not set.
    """
    if any(isinstance(s, RawSource) and s.cut for s in (ref, dist)):
        return  # reading to the end says more: it was cut short
    counts = [selection.count(s.info, s.count) for s in (ref, dist)]
    if selection.shortest or selection.offset or selection.pair != "index" or None in counts:
        return
    if counts[0] != counts[1]:
        raise MismatchError(f"{name_of(dist.info.path)} has {counts[1]} frames, its reference {name_of(ref.info.path)} has "
                            f"{counts[0]}; --shortest compares the common ones")  # fmt: skip


def common_length(ref: Source, dist: Source, selection: Selection) -> int | None:
    """How many pairs there will be, counted without decoding; None where that is not certain or the lengths do not fit."""
    lengths, offset = (ref.length(), dist.length()), selection.offset
    untimed = selection.start == 0 and selection.duration is None
    if selection.pair != "index" or None in lengths or not (untimed or None not in (ref.count, dist.count)):
        return None
    first, end = max(0, -offset), min(lengths[0], lengths[1] - offset)  # type: ignore[operator, type-var]
    if lengths[0] != lengths[1] and not selection.shortest:
        return None
    pairs = (replace(selection, frames=None).count(ref.info, end) or 0) - -(-first // selection.every)
    return max(0, pairs if selection.frames is None else min(pairs, selection.frames))


def check_selection(source: Source, selection: Selection) -> None:
    """Refuse raw files of a wrong length, and starts behind the end.

    Raises
        InputError: the file or the selection holds no whole frame to measure.
    """
    if isinstance(source, RawSource):
        source.check_length(selection.last_needed())
    if source.count is not None and selection.count(source.info, source.count) == 0:
        asked = f"-ss {selection.start:g}" + ("" if selection.duration is None else f" -t {selection.duration:g}")
        raise InputError(f"{name_of(source.info.path)}: nothing to measure with {asked}; "
                         f"it lasts {source.info.duration:g} seconds")  # fmt: skip


def walk(ref: Lane | None, dists: Sequence[Lane], selection: Selection) -> Iterator[Group]:
    """Frames in step until every distorted file, or the reference, has ended; errors stay on their lanes."""
    if ref is None:
        yield from _alone(dists)
        return
    index, last = 0, -selection.every
    reach = 0.5 / float(max(lane.source.info.rate or 25 for lane in (ref, *dists))) + 1e-6
    while (frame := ref.next()) is not None:
        last = frame.index
        group = Group(index, frame, [lane.beside(frame, reach) for lane in dists])
        for lane in dists:
            if lane.ended and not lane.limited and lane.error is None and not selection.shortest and _behind(lane, ref):
                lane.error = _shorter(ref, lane, "distorted")
        if any(dist is not None for dist in group.dists):
            yield group
            index += 1
        elif all(lane.ended for lane in dists) and (selection.shortest or all(lane.limited or lane.error for lane in dists)):
            return
    for lane in dists:
        lane.error = lane.error or (None if lane.limited else ref.error)
        if not (ref.limited or selection.shortest or lane.ended or lane.error) and _goes_on(lane, ref, last + selection.every):
            lane.error = _shorter(ref, lane, "reference")


def _alone(lanes: Sequence[Lane]) -> Iterator[Group]:
    for index in count():
        group = Group(index, None, [lane.next() for lane in lanes])
        if all(frame is None for frame in group.dists):
            return
        yield group


def _behind(dist: Lane, ref: Lane) -> bool:
    """Whether the reference has gone on where a distorted file ended; by time, a second is let pass."""
    return dist.selection.pair == "index" or ref.time > dist.time + _ENDS


def _goes_on(dist: Lane, ref: Lane, index: int) -> bool:
    """Whether a distorted file has more than its reference, which ended before frame `index`; by time, a second is let pass."""
    if dist.selection.pair == "index":
        return dist.at(index + dist.selection.offset) is not None
    while (frame := dist.pass_over()) is not None:
        if (frame.time or 0.0) > ref.time + _ENDS:
            return True
    return False


def _shorter(ref: Lane, dist: Lane, which: str) -> InputError:
    names = {"reference": name_of(ref.source.info.path), "distorted": name_of(dist.source.info.path)}
    short = ref if which == "reference" else dist
    other = "distorted" if which == "reference" else "reference"
    return MismatchError(f"{names[which]} ends after {short.given} frames, but {names[other]} goes on; "
                         "--shortest compares the common ones")  # fmt: skip


def identical(ref: Frame, dist: Frame) -> bool:
    """Whether every sample of two frames is the same; the first rows decide most cases at once."""
    pairs: list[tuple[Any, Any]] = list(zip(ref.planes, dist.planes, strict=True))
    return all(np.array_equal(a[:4], b[:4]) for a, b in pairs) and all(np.array_equal(a, b) for a, b in pairs)
