"""One distorted file on its way through a session: prepare its frames, book their scores, and tell how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vqmeter.clips import Assembler
from vqmeter.errors import DecodeError, InputError, VqmeterError
from vqmeter.frames import Frame
from vqmeter.heatmaps import map_path, save
from vqmeter.limits import decided
from vqmeter.metric import Chosen, FrameMeter, QualityMap, Sample, Score
from vqmeter.report import Result
from vqmeter.settings import Settings
from vqmeter.sources.pair import Group, Lane, at_depth, identical
from vqmeter.validity import Glance, Watch, glance

#: So many frames without a partner are listed; the rest is only counted.
_LISTED = 100


@dataclass
class Run:
    """One distorted file on its way through the session."""

    lane: Lane
    result: Result
    depth: int
    chosen: list[Chosen]
    assemblers: list[Assembler]
    settings: Settings
    watch: Watch | None = None
    length: int | None = None  # how many frames will be compared, where that is certain and needed
    stopped: bool = False
    asked: int = 0

    def stop(self, error: VqmeterError) -> None:
        """Take no more frames: a worker could not read or reduce one."""
        self.stopped = self.lane.ended = True
        self.lane.error = self.lane.error or error

    @property
    def by_frame(self) -> bool:
        """Whether every score is a frame's own, so that what comes changes none."""
        return all(isinstance(a.meter, FrameMeter) and type(a.meter).plan is FrameMeter.plan
                   and type(a.meter).finish is FrameMeter.finish for a in self.assemblers)  # fmt: skip

    def stop_if_decided(self) -> None:
        """Take no more frames where the limits can only come out one way."""
        frames = len(self.result.columns["n"])
        if self.stopped or self.length is None or not 0 < frames < self.length:
            return
        if decided(self.settings.limits, self.result, self.length):
            self.stopped = True
            self.lane.stop()
            self.result.validity["decided_after"] = frames


@dataclass(frozen=True)
class Wish:
    """Which meters of a run want a frame, and its number among the frames of the run."""

    number: int
    meters: Sequence[bool]


@dataclass(frozen=True)
class Prepared:
    """What a worker made of one frame of one run."""

    frame: Frame
    ref_time: float | None
    items: list[Any]
    identical: bool = False
    seen: Glance | None = None


def wish(run: Run, frame: Frame | None) -> Wish | None:
    """What a run wants of its next frame; asked in the order of the stream, None where it has no frame."""
    if frame is None:
        return None
    number, run.asked = run.asked, run.asked + 1
    return Wish(number, [assembler.wants(number) for assembler in run.assemblers])


def prepare(chunk: list[Group], wishes: list[list[Wish | None]], runs: list[Run]) -> list[list[Any]]:
    """In a worker: reduce a few frames of every run; a frame's samples live only here."""
    out: list[list[Any]] = []
    for group, wanted in zip(chunk, wishes, strict=True):
        row: list[Any] = []
        for run, frame, want in zip(runs, group.dists, wanted, strict=True):
            try:
                row.append(None if frame is None or want is None else _prepare_one(run, group.ref, frame, want))
            except VqmeterError as error:
                row.append(error)
        for frame in (group.ref, *group.dists):
            if frame is not None:
                frame.release()
        out.append(row)
    return out


def _prepare_one(run: Run, ref: Frame | None, dist: Frame, want: Wish) -> Prepared:
    time = None if ref is None else ref.time
    if not any(want.meters):
        return Prepared(dist, time, [None] * len(want.meters))
    seen = glance(want.number, ref, dist)
    frame, dist = dist, at_depth(dist, run.depth)
    if ref is not None:
        ref = ref.derive(("depth", run.depth), lambda f: at_depth(f, run.depth))
    sample = Sample(want.number, dist, ref)
    items = [a.meter.prepare(sample) if wanted else None for a, wanted in zip(run.assemblers, want.meters, strict=True)]
    return Prepared(frame, time, items, ref is not None and identical(ref, dist), seen)


def take(run: Run, prepared: Prepared) -> None:
    """Book one frame of a run and the scores it completes."""
    result, frame = run.result, prepared.frame
    index = len(result.columns["n"])
    for key, value in zip(result.columns, (frame.index, frame.pts, _round(frame.time), frame.type, frame.bytes), strict=True):
        result.columns[key].append(value)
    result.validity["identical_frames"] += prepared.identical
    if run.watch is not None:
        run.watch.see(prepared.seen, prepared.ref_time, frame.time)
    if frame.corrupt and run.lane.error is None:
        run.lane.error = DecodeError(f"{result.name}: frame {frame.index} was decoded with errors; the file is damaged")
    for chosen, assembler, item in zip(run.chosen, run.assemblers, prepared.items, strict=True):
        if item is not None:
            _book(run, chosen, assembler.push(index, item))


def _book(run: Run, chosen: Chosen, scores: Iterable[Score | QualityMap]) -> None:
    for score in scores:
        if isinstance(score, Score):
            run.result.add(score, chosen.rename(score.name))
        elif run.settings.map_folder is not None:
            info = run.lane.source.info
            quality = replace(score, name=chosen.rename(score.name))
            save(quality, (info.width, info.height), map_path(run.settings.map_folder, run.result.label, quality))


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def finish(run: Run) -> None:
    """Delayed scores, what was seen of the pair, and how the run ended."""
    result = run.result
    frames = len(result.columns["n"])
    for chosen, assembler in zip(run.chosen, run.assemblers, strict=True):
        try:
            _book(run, chosen, assembler.finish(frames, chosen.metric.needs_length))
        except VqmeterError as error:  # of one metric; the others finish
            run.stop(error)
        if assembler.repeated and chosen.metric.needs_length:
            warning = f"{chosen.key}: the video ended early; its last frame stood in for {assembler.repeated}"
            result.validity["warnings"].append(warning)
    if run.watch is not None:
        result.validity["warnings"] += run.watch.warnings()
    _list_unmatched(run)
    result.validity["frames_compared"] = frames
    result.error = run.lane.error
    result.truncated = isinstance(run.lane.error, VqmeterError) and frames > 0
    if frames == 0 and result.error is None:
        asked = "--sync" if run.lane.selection.offset else "--pair pts" if run.lane.selection.pair == "pts" else "-ss or -t"
        result.error = InputError(f"{result.name}: nothing to measure; {asked} leaves no frame")


def _list_unmatched(run: Run) -> None:
    unmatched = run.lane.unmatched
    if unmatched:
        run.result.validity |= {"unmatched": unmatched[:_LISTED], "unmatched_frames": len(unmatched)}
        sides = [sum(frame["file"] == side for frame in unmatched) for side in ("reference", "distorted")]
        run.result.validity["warnings"].append(
            f"{sides[0]} frames of the reference and {sides[1]} of the distorted have no partner within half a frame; "
            "they are left out")  # fmt: skip
