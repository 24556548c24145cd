"""Reference and distorted side by side: do they fit, which frames are compared, and in what format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vqmeter.errors import InputError, MismatchError, VqmeterError
from vqmeter.frames import Frame, PixelFormat, Plane, VideoInfo
from vqmeter.sources import Source, name_of
from vqmeter.sources.raw import RawSource
from vqmeter.sources.streams import Ahead

_QUEUE_BYTES = 48 << 20


@dataclass(frozen=True)
class Selection:
    """Which frames: from `start` seconds, for `duration` seconds, at most `frames`, every `every`-th.

    `shortest` lets the shorter of two inputs end the comparison.
    """

    start: float = 0.0
    duration: float | None = None
    frames: int | None = None
    every: int = 1
    shortest: bool = False

    def pick(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames chosen from a stream that already begins at `start`."""
        taken = 0
        for frame in frames:
            if self.frames is not None and taken >= self.frames:
                return
            if self.duration is not None and (frame.time or 0.0) - self.start >= self.duration - 1e-9:
                return
            if frame.index % self.every == 0:
                taken += 1
                yield frame
                if taken == self.frames:
                    return

    def count(self, info: VideoInfo, frames: int | None) -> int | None:
        """How many of `frames` frames are chosen; None where that is not known."""
        if frames is None:
            return None
        rate = info.rate or 25
        left = max(0, frames - round(self.start * rate))
        if self.duration is not None:
            left = min(left, max(0, -int(-(self.duration * rate) // 1)))
        left = -(-left // self.every)
        return left if self.frames is None else min(left, self.frames)

    def last_needed(self) -> int | None:
        """How many frames of the file must be whole, where `frames` says it."""
        return None if self.frames is None or self.start else (self.frames - 1) * self.every + 1


@dataclass(frozen=True)
class Fit:
    """The format two videos are compared in, and what a careful reader should know."""

    compare_format: PixelFormat
    warnings: tuple[str, ...] = ()


def fit(ref: VideoInfo, dist: VideoInfo) -> Fit:
    """Whether two videos can be compared sample by sample; unequal depths meet at the greater.

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
    warnings = []
    for what, of_ref, of_dist in (
        ("range", ref.range, dist.range), ("matrix", ref.matrix, dist.matrix),
        ("transfer", ref.transfer, dist.transfer), ("rotation", ref.rotation, dist.rotation),
    ):  # fmt: skip
        if of_ref is not None and of_dist is not None and of_ref != of_dist:
            warnings.append(f"{what} differs: {of_ref} in the reference, {of_dist} in the distorted; "
                            "samples are compared as stored")  # fmt: skip
    if ref.rate and dist.rate and ref.rate_stated and dist.rate_stated and abs(ref.rate - dist.rate) > ref.rate / 1000:
        warnings.append(f"rate differs: {float(ref.rate):.6g} in the reference, {float(dist.rate):.6g} in the distorted; "
                        "frames are paired by number")  # fmt: skip
    if a.bit_depth != b.bit_depth:
        warnings.append(f"depth differs: {a.bit_depth} bit in the reference, {b.bit_depth} in the distorted; "
                        f"compared at {max(a.bit_depth, b.bit_depth)} bit")  # fmt: skip
    return Fit(common_format(a, max(a.bit_depth, b.bit_depth)), tuple(warnings))


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
class Lane:
    """One input on its way through a run: its frames, and how it ended."""

    source: Source
    frames: Iterator[Frame]
    ahead: Ahead[Frame] | None = None
    error: VqmeterError | None = None
    ended: bool = False
    given: int = 0

    @classmethod
    def start(cls, source: Source, selection: Selection) -> Lane:
        """Begin to read; decoding runs ahead on its own thread, raw files are read by the workers."""
        frames = selection.pick(source.frames(selection.start))
        if source.count is not None:
            return cls(source, frames)
        info = source.info
        size = info.pix_fmt.frame_bytes(info.width, info.height)
        ahead = Ahead(frames, max(2, min(16, _QUEUE_BYTES // max(1, size))))
        return cls(source, ahead, ahead)

    def next(self) -> Frame | None:
        """The next frame, or None when the input has ended or failed."""
        if self.ended:
            return None
        try:
            frame = next(self.frames)
            self.given += 1
            return frame
        except StopIteration:
            self.ended = True
        except VqmeterError as error:
            self.ended, self.error = True, error
        return None

    def close(self) -> None:
        """Stop to decode; whoever opened the source closes it after this."""
        if self.ahead is not None:
            self.ahead.close()


@dataclass
class Group:
    """Frames with one number: the reference's (None without one) and each distorted file's (None once it has ended)."""

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
    if None not in counts and counts[0] != counts[1] and not selection.shortest:
        raise MismatchError(f"{name_of(dist.info.path)} has {counts[1]} frames, its reference {name_of(ref.info.path)} has "
                            f"{counts[0]}; --shortest compares the common ones")  # fmt: skip


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
    index = 0
    while True:
        group = Group(index, ref.next() if ref is not None else None, [lane.next() for lane in dists])
        if ref is not None and group.ref is None:
            _reference_ended(ref, dists, group, selection)
            return
        for lane, frame in zip(dists, group.dists, strict=True):
            if frame is None and lane.error is None and ref is not None and not selection.shortest:
                lane.error = _shorter(ref, lane, "distorted")
        if all(frame is None for frame in group.dists):
            return
        yield group
        index += 1


def _reference_ended(ref: Lane, dists: Sequence[Lane], group: Group, selection: Selection) -> None:
    for lane, frame in zip(dists, group.dists, strict=True):
        if ref.error is not None:
            lane.error = lane.error or ref.error
        elif frame is not None and not selection.shortest:
            lane.error = _shorter(ref, lane, "reference")


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
