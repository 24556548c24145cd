"""One distorted file on its way through a session: prepare its frames, book their scores, and tell how it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from vqmeter.clips import Assembler
from vqmeter.errors import DecodeError, InputError, VqmeterError
from vqmeter.frames import Frame
from vqmeter.heatmaps import map_path, save
from vqmeter.metric import Chosen, QualityMap, Sample, Score
from vqmeter.report import Result
from vqmeter.sources.pair import Group, Lane, at_depth, identical


@dataclass
class Run:
    """One distorted file on its way through the session."""

    lane: Lane
    result: Result
    depth: int
    chosen: list[Chosen]
    assemblers: list[Assembler]
    stopped: bool = False
    map_folder: str | None = None

    def stop(self, error: VqmeterError) -> None:
        """Take no more frames: a worker could not read or reduce one."""
        self.stopped = self.lane.ended = True
        self.lane.error = self.lane.error or error


@dataclass(frozen=True)
class Prepared:
    """What a worker made of one frame of one run."""

    frame: Frame
    items: list[Any]
    identical: bool


def wanted(run: Run, index: int) -> list[bool]:
    """Which meters of a run want frame `index`."""
    return [assembler.wants(index) for assembler in run.assemblers]


def prepare(chunk: list[Group], masks: list[list[list[bool]]], runs: list[Run]) -> list[list[Any]]:
    """In a worker: reduce a few frames of every run; a frame's samples live only here."""
    out: list[list[Any]] = []
    for group, mask in zip(chunk, masks, strict=True):
        row: list[Any] = []
        for run, frame, wants in zip(runs, group.dists, mask, strict=True):
            try:
                row.append(None if frame is None else _prepare_one(run, group, frame, wants))
            except VqmeterError as error:
                row.append(error)
        for frame in (group.ref, *group.dists):
            if frame is not None:
                frame.release()
        out.append(row)
    return out


def _prepare_one(run: Run, group: Group, frame: Frame, mask: list[bool]) -> Prepared:
    if not any(mask):
        return Prepared(frame, [None] * len(mask), False)
    dist, ref = at_depth(frame, run.depth), None
    if group.ref is not None:
        ref = group.ref.derive(("depth", run.depth), lambda f: at_depth(f, run.depth))
    sample = Sample(group.index, dist, ref)
    items = [a.meter.prepare(sample) if want else None for a, want in zip(run.assemblers, mask, strict=True)]
    return Prepared(frame, items, ref is not None and identical(ref, dist))


def take(run: Run, prepared: Prepared) -> None:
    """Book one frame of a run and the scores it completes."""
    result, frame = run.result, prepared.frame
    index = len(result.columns["n"])
    for key, value in zip(result.columns, (frame.index, frame.pts, _round(frame.time), frame.type, frame.bytes), strict=True):
        result.columns[key].append(value)
    result.validity["identical_frames"] += prepared.identical
    if frame.corrupt and run.lane.error is None:
        run.lane.error = DecodeError(f"{result.name}: frame {frame.index} was decoded with errors; the file is damaged")
    for chosen, assembler, item in zip(run.chosen, run.assemblers, prepared.items, strict=True):
        if item is not None:
            _book(run, chosen, assembler.push(index, item))


def _book(run: Run, chosen: Chosen, scores: Iterable[Score | QualityMap]) -> None:
    for score in scores:
        if isinstance(score, Score):
            run.result.add(score, chosen.rename(score.name))
        elif run.map_folder is not None:
            info = run.lane.source.info
            quality = replace(score, name=chosen.rename(score.name))
            save(quality, (info.width, info.height), map_path(run.map_folder, run.result.label, quality))


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def finish(run: Run) -> None:
    """Delayed scores, and how the run ended."""
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
    result.validity["frames_compared"] = frames
    result.error = run.lane.error
    result.truncated = isinstance(run.lane.error, VqmeterError) and frames > 0
    if frames == 0 and result.error is None:
        result.error = InputError(f"{result.name}: nothing to measure; -ss or -t leaves no frame")
