"""From an item to what a network is trained on, by the same steps as in scoring: a metric's own `plan` and `prepare`.

    clips = read(item, Reader(plan, prepare))

A reader says which frames make a clip and what becomes of a frame, exactly as a meter does; here the clips are handed
back instead of scored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vqmeter.clips import Assembler
from vqmeter.metric import Clip, Meter, QualityMap, Sample, Scale, Score, Stream
from vqmeter.sources import InputOptions, open_video
from vqmeter.sources.pair import Lane, Selection, at_depth, common_format, fit, walk
from vqmeter.training.datasets import Item

M = TypeVar("M", bound=Meter)


@dataclass(frozen=True)
class Reader:
    """What is wanted of a video: clips of frame numbers for a stream, and what is kept of a frame.

    `counted` is whether `plan` must know the exact number of frames, `paired` whether frames come with their reference.
    """

    plan: Callable[[Stream], Iterable[tuple[int, ...]]]
    prepare: Callable[[Sample], Any]
    counted: bool = False
    paired: bool = False


class _Keeper:
    """A meter that keeps the clips it is given."""

    batch = 1
    scores: Mapping[str, Scale]

    def __init__(self, reader: Reader, stream: Stream) -> None:
        self.scores, self.clips = {}, list[Clip]()
        self._reader, self._stream = reader, stream
        self.prepare = reader.prepare

    def plan(self) -> Iterable[tuple[int, ...]]:
        return self._reader.plan(self._stream)

    def score(self, batch: Sequence[Clip]) -> Iterable[Score]:
        self.clips += batch
        return ()

    def finish(self) -> Iterable[Score]:
        return ()


def read(item: Item, reader: Reader, frames: int | None = None) -> list[Clip]:
    """The clips of an item, of its first `frames` frames.

    Raises
        InputError: a file is missing or damaged, or does not fit its reference.
    """
    keeper, _ = _drive(item, lambda stream: _Keeper(reader, stream), frames, reader.counted, reader.paired)
    return keeper.clips


def scores(item: Item, opened: Callable[[Stream], Meter], *, frames: int | None = None, counted: bool = False,
           paired: bool = False) -> list[Score]:  # fmt: skip
    """What a meter says of an item, of its frames and of the whole: for predicting by a metric's own code.

    `opened` makes the meter for the item's stream; `frames`, `counted` and `paired` as for `read`.
    """
    return _drive(item, opened, frames, counted, paired)[1]


def _drive(item: Item, opened: Callable[[Stream], M], frames: int | None, counted: bool,
           paired: bool) -> tuple[M, list[Score]]:  # fmt: skip
    """The meter after all of an item went through it, and its scores."""
    rate = None if item.rate is None else Fraction(item.rate).limit_denominator(1001)
    how, selection = InputOptions(size=item.size, rate=rate, threads=1), Selection(frames=frames)
    with ExitStack() as closing:
        dist = open_video(item.path, how)
        closing.callback(dist.close)
        ref = open_video(item.reference, how) if paired and item.reference else None
        if ref is not None:
            closing.callback(ref.close)
        compare = (
            fit(ref.info, dist.info).compare_format if ref else common_format(dist.info.pix_fmt, dist.info.pix_fmt.bit_depth)
        )
        count = selection.count(dist.info, dist.count)
        if count is None and counted:
            count = selection.count(dist.info, dist.length())
        meter = opened(Stream(dist.info, None if ref is None else ref.info, compare, count, dist.info.rate))
        assembler, lanes = Assembler(meter), [Lane.start(s, selection) for s in (ref, dist) if s is not None]
        for lane in lanes:
            closing.callback(lane.close)
        seen, out = 0, list[Score | QualityMap]()
        for group in walk(lanes[0] if ref else None, lanes[-1:], selection):
            seen, [frame] = group.index + 1, group.dists
            if frame is not None and assembler.wants(group.index):
                pair = None if group.ref is None else at_depth(group.ref, compare.bit_depth)
                sample = Sample(group.index, at_depth(frame, compare.bit_depth), pair)
                out += assembler.push(group.index, meter.prepare(sample))
        if lanes[-1].error is not None:
            raise lanes[-1].error
        out += assembler.finish(seen, counted)
    return meter, [score for score in out if isinstance(score, Score)]


def every(count: int | None = None) -> Callable[[Stream], Iterable[tuple[int, ...]]]:
    """A plan: every frame by itself, or `count` frames evenly spread over the video (needs the length)."""

    def plan(stream: Stream) -> Iterable[tuple[int, ...]]:
        if count is None or stream.frames is None:
            return zip(itertools.count())
        n, wanted = stream.frames, min(count, stream.frames)
        return [((2 * k + 1) * n // (2 * wanted),) for k in range(wanted)]

    return plan


def pictures(item: Item, count: int | None = 1, paired: bool = False) -> NDArray[np.uint8]:
    """(sides, N, 3, H, W) uint8 RGB of `count` frames evenly spread over an item (all with None); sides are the distorted
    and, where `paired`, its reference."""
    from vqmeter import tensors

    def prepare(sample: Sample) -> NDArray[np.uint8]:
        frames = (sample.dist, sample.ref) if paired else (sample.dist,)
        return np.stack([(tensors.rgb_array(f) * 255 + 0.5).astype(np.uint8) for f in frames if f is not None])

    clips = read(item, Reader(every(count), prepare, counted=count is not None, paired=paired))
    return np.stack([clip.items[0] for clip in clips], 1)


def as_reference(item: Item) -> Item:
    """The item's reference as an item of its own."""
    return replace(item, path=item.reference or item.path)
