"""One pass over the inputs, any number of metrics: decode once, prepare in a pool, score in stream order.

The reference is read once however many distorted files there are. Prepared numbers are kept, never frames, so memory
does not grow with length.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Any

from vqmeter.clips import Assembler
from vqmeter.environment import environment, peak_rss_mib, redact
from vqmeter.errors import DecodeError, DeviceError, UsageError, VqmeterError
from vqmeter.frames import Frame
from vqmeter.metric import Chosen, Context, Sample, Score, Stream, choose
from vqmeter.report import Report, Result, Series
from vqmeter.sources import MAX_PIXELS, InputOptions, Source, open_video
from vqmeter.sources.pair import (
    Group,
    Lane,
    Selection,
    at_depth,
    check_lengths,
    check_selection,
    common_format,
    fit,
    identical,
    walk,
)

_CHUNK_BYTES = 2 << 20
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Settings:
    """How to measure, as resolved from the command line or the call to `measure`."""

    metrics: tuple[str, ...] = ("psnr", "ssim")
    models: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    ref_input: InputOptions = field(default_factory=InputOptions)
    dist_input: InputOptions = field(default_factory=InputOptions)
    planes: str = "y"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    batch: int | None = None
    seed: int = 0
    psnr_cap: float | None | str = "auto"

    def to_json(self, pix_fmt: str) -> dict[str, Any]:
        s = self.selection
        return {
            "metrics": list(self.metrics), "models": list(self.models), "start": s.start, "duration": s.duration,
            "frames": s.frames, "subsample": s.every, "shortest": s.shortest, "planes": self.planes,
            "compare_format": pix_fmt, "device": self.device, "precision": self.precision,
            "threads": self.threads or cpu_count(), "batch": self.batch, "seed": self.seed, "psnr_cap": self.psnr_cap,
        }  # fmt: skip


def cpu_count() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(
    distorted: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    reference: str | os.PathLike[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    models: str | Sequence[str] = (),
    size: tuple[int, int] | str | None = None,
    pix_fmt: str | None = None,
    rate: Fraction | float | str | None = None,
    ref_size: tuple[int, int] | str | None = None,
    ref_pix_fmt: str | None = None,
    input_format: str | None = None,
    range: str | None = None,
    matrix: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
    frames: int | None = None,
    subsample: int = 1,
    shortest: bool = False,
    planes: str = "y",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    batch: int | None = None,
    seed: int = 0,
    psnr_cap: float | None | str = "auto",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    argv: Sequence[str] | None = None,
) -> Report:
    """Measure one distorted video, or several against the same reference.

    `distorted` and `reference` are paths, `-` is stdin. `metrics` (full reference) and `models` (no reference) are
    `NAME[:KEY=VALUE]...[,NAME...]`; with a reference and neither named, `psnr,ssim`. `size` ("1920x1080" or
    (1920, 1080)), `pix_fmt` and `rate` describe headless raw input. `start` and `duration` are in seconds.
    `psnr_cap` is in dB, None for no ceiling.

    Returns a `Report`; a file that fails carries its error in its result, and what was scored before is kept.

    Raises
        VqmeterError: the request itself is wrong, or no file could be measured at all is told in `Report.results`.
    """
    paths = [os.fspath(distorted)] if isinstance(distorted, (str, os.PathLike)) else [os.fspath(d) for d in distorted]
    ref = None if reference is None else os.fspath(reference)
    dist_input = InputOptions(
        parse_size(size), pix_fmt, parse_rate(rate), input_format,
        None if range == "auto" else range, None if matrix == "auto" else matrix, threads, max_pixels,
    )  # fmt: skip
    ref_input = replace(dist_input, size=parse_size(ref_size) or dist_input.size, pix_fmt=ref_pix_fmt or pix_fmt)
    if metrics is None:
        metrics = ("psnr", "ssim") if ref is not None else ()
    settings = Settings(
        (metrics,) if isinstance(metrics, str) else tuple(metrics),
        (models,) if isinstance(models, str) else tuple(models),
        Selection(start, duration, frames, subsample, shortest), ref_input, dist_input, planes, device, precision,
        threads, batch, seed, psnr_cap,
    )  # fmt: skip
    return Session(ref, paths, settings, progress).run(list(argv) if argv is not None else [])


def parse_size(size: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """(width, height) of "1920x1080".

    Raises
        UsageError: not two positive whole numbers.
    """
    if size is None:
        return None
    parts = size.lower().split("x") if isinstance(size, str) else [str(n) for n in size]
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"a size is WIDTHxHEIGHT, as 1920x1080, not '{size}'")
    return int(parts[0]), int(parts[1])


def parse_rate(rate: Fraction | float | str | None) -> Fraction | None:
    """Frames a second of "25", "29.97" or "30000/1001".

    Raises
        UsageError: not a positive number.
    """
    if rate is None:
        return None
    try:
        value = Fraction(rate)
        if 0 < value <= 1_000_000:
            return value.limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError, TypeError):
        pass
    raise UsageError(f"a rate is frames a second, as 25 or 30000/1001, not '{rate}'")


def resolve_device(wanted: str, prefers_cuda: bool) -> str:
    """`cpu` or `cuda:N`. torch is imported only when a GPU is asked for or some metric is better off with one.

    Raises
        DeviceError: CUDA was asked for and is not usable.
    """
    if wanted == "cpu" or (wanted == "auto" and not prefers_cuda):
        return "cpu"
    import torch

    usable = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda:0" if usable else "cpu"
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise UsageError(f"unknown device '{wanted}'; there are auto, cpu, cuda and cuda:N")
    if not usable:
        raise DeviceError("no usable CUDA GPU here; use --device cpu")
    if int(number or 0) >= torch.cuda.device_count():
        raise DeviceError(f"no GPU {number} here; there are {torch.cuda.device_count()}")
    return f"cuda:{number or 0}"


@dataclass
class Run:
    """One distorted file on its way through the session."""

    lane: Lane
    result: Result
    depth: int
    chosen: list[Chosen]
    assemblers: list[Assembler]

    def alive(self) -> bool:
        return not self.lane.ended


@dataclass(frozen=True)
class Prepared:
    """What a worker made of one frame of one run."""

    frame: Frame
    items: list[Any]
    identical: bool


class Session:
    """Opens the inputs, drives every meter over them, and fills a report."""

    def __init__(self, ref: str | None, dists: list[str], settings: Settings, progress: Progress | None = None) -> None:
        if not dists:
            raise UsageError("no distorted file named")
        if [ref, *dists].count("-") > 1:
            raise UsageError("stdin can be read once; only one input may be '-'")
        self.settings = settings
        self.threads = settings.threads or cpu_count()
        self._paths = (ref, dists)
        self._progress = progress
        self._chosen = (choose("fr", settings.metrics) if settings.metrics else []) + (
            choose("nr", settings.models) if settings.models else []
        )
        if not self._chosen:
            raise UsageError("no metric and no model named")
        self._devices = [resolve_device(settings.device, c.metric.prefers_cuda) for c in self._chosen]
        self._chunk = 1

    def run(self, argv: list[str]) -> Report:
        """Measure everything; errors of single files stay in their results."""
        started = time.perf_counter()
        ref, dists = self._paths
        report = Report("nr" if ref is None else "fr", redact(argv), environment(self.threads))
        opened = [(path, _try_open(path, self.settings.dist_input)) for path in dists]
        reference = None if ref is None else _try_open(ref, self.settings.ref_input)
        try:
            runs = [self._begin(report, path, reference, source) for path, source in opened]
            live = [run for run in runs if run is not None]
            if live:
                ref_lane = None if reference is None else Lane.start(_opened(reference), self.settings.selection)
                self._drive(ref_lane, live)
        finally:
            for source in [reference, *(s for _, s in opened)]:
                if source is not None and not isinstance(source, VqmeterError):
                    source.close()
        seconds = time.perf_counter() - started
        for result in report.results:
            result.timing = _timing(seconds, len(result.columns["n"]))
        return report

    def _begin(self, report: Report, path: str, ref: Source | VqmeterError | None,
               dist: Source | VqmeterError) -> Run | None:  # fmt: skip
        """A result for `path`, and a run where it can be measured."""
        inputs: dict[str, Any] = {}
        if ref is not None:
            inputs["reference"] = _inspect(ref, self._paths[0])
        result = Result(inputs | {"distorted": _inspect(dist, path)})
        report.results.append(result)
        try:
            return self._open_run(result, None if ref is None else _opened(ref), _opened(dist))
        except VqmeterError as error:
            result.error = error
            result.validity = {"frames_compared": 0, "warnings": []}
            return None

    def _open_run(self, result: Result, ref: Source | None, dist: Source) -> Run:
        selection = self.settings.selection
        for source in (ref, dist):
            if source is not None:
                check_selection(source, selection)
        if ref is None:
            compare, warnings = common_format(dist.info.pix_fmt, dist.info.pix_fmt.bit_depth), ()
        else:
            fitted = fit(ref.info, dist.info)
            compare, warnings = fitted.compare_format, fitted.warnings
            check_lengths(ref, dist, selection)
        exact = selection.count(dist.info, dist.count)
        stream = Stream(dist.info, None if ref is None else ref.info, compare, exact, dist.info.rate, self.settings.planes)
        result.settings = self.settings.to_json(compare.name)
        result.validity = {"frames_compared": 0, "unmatched": [], "identical_frames": 0, "offset": 0,
                           "compare_format": compare.name, "warnings": list(warnings)}  # fmt: skip
        assemblers = [self._open_meter(c, d, stream, result) for c, d in zip(self._chosen, self._devices, strict=True)]
        size = compare.frame_bytes(dist.info.width, dist.info.height)
        self._chunk = max(1, min(64, _CHUNK_BYTES // max(1, size)))
        return Run(Lane.start(dist, selection), result, compare.bit_depth, self._chosen, assemblers)

    def _open_meter(self, chosen: Chosen, device: str, stream: Stream, result: Result) -> Assembler:
        s = self.settings
        precision = "fp32" if s.precision == "auto" else s.precision
        meter = chosen.metric.open(stream, Context(device, precision, self.threads, s.batch, s.seed))
        depth = stream.compare_format.bit_depth
        for score, scale in meter.scores.items():
            name = chosen.rename(score)
            if name in result.metrics:
                raise UsageError(f"two metrics give a score called '{name}'; rename one with as=KEY")
            cap = None if not scale.decibels else 6.0 * depth + 12 if s.psnr_cap == "auto" else s.psnr_cap
            result.series[name] = Series(scale, cap)  # type: ignore[arg-type]
            weights = getattr(chosen.metric, "weights", None)
            result.metrics[name] = {
                "unit": scale.unit, "low": scale.low, "high": scale.high, "better": scale.better,
                "definition": scale.definition, "weights_sha256": getattr(weights, "sha256", None),
                "device": device, "options": dict(chosen.options),
            }  # fmt: skip
        return Assembler(meter, s.batch)

    def _drive(self, ref: Lane | None, runs: list[Run]) -> None:
        """Walk the inputs in step, prepare in the pool, score in order."""
        lanes = [run.lane for run in runs]
        total = self._expected(ref, runs)
        groups = walk(ref, lanes, self.settings.selection)
        pending: deque[Future[list[list[Prepared | VqmeterError | None]]]] = deque()
        done = 0
        try:
            with ThreadPoolExecutor(self.threads, "vqmeter-prepare") as pool:
                try:
                    while chunk := list(islice(groups, self._chunk)):
                        wanted = [[_wanted(run, group) for run in runs] for group in chunk]
                        pending.append(pool.submit(_prepare, chunk, wanted, runs))
                        if len(pending) > 2 * self.threads:
                            done = self._consume(pending.popleft().result(), runs, done, total)
                    while pending:
                        done = self._consume(pending.popleft().result(), runs, done, total)
                except BaseException:
                    for future in pending:
                        future.cancel()
                    raise
            for run in runs:
                _finish(run)
        finally:
            for lane in [ref, *lanes] if ref is not None else lanes:
                lane.close()

    def _expected(self, ref: Lane | None, runs: list[Run]) -> int | None:
        selection = self.settings.selection
        counts = [selection.count(lane.source.info, lane.source.info.frames)
                  for lane in ([ref] if ref is not None else []) + [run.lane for run in runs]]  # fmt: skip
        known = [count for count in counts if count is not None]
        return min(known) if known else selection.frames

    def _consume(self, prepared: list[list[Prepared | VqmeterError | None]], runs: list[Run], done: int,
                 total: int | None) -> int:  # fmt: skip
        for row in prepared:
            for run, item in zip(runs, row, strict=True):
                if isinstance(item, VqmeterError):
                    run.lane.ended, run.lane.error = True, run.lane.error or item
                elif item is not None and not (run.lane.error and run.result.truncated):
                    _take(run, item)
            done += 1
        if self._progress is not None:
            self._progress(done, total)
        return done


def _try_open(path: str, options: InputOptions) -> Source | VqmeterError:
    try:
        return open_video(path, options)
    except UsageError:
        raise
    except VqmeterError as error:
        return error


def _opened(source: Source | VqmeterError) -> Source:
    if isinstance(source, VqmeterError):
        raise source
    return source


def _inspect(source: Source | VqmeterError, path: str | None) -> dict[str, Any]:
    return {"path": path} if isinstance(source, VqmeterError) else source.info.to_json()


def _wanted(run: Run, group: Group) -> list[bool]:
    return [assembler.wants(group.index) for assembler in run.assemblers]


def _prepare(chunk: list[Group], wanted: list[list[list[bool]]], runs: list[Run]) -> list[list[Any]]:
    """In a worker: reduce a few frames of every run; a frame's samples live only here."""
    out: list[list[Any]] = []
    for group, masks in zip(chunk, wanted, strict=True):
        row: list[Any] = []
        for run, frame, mask in zip(runs, group.dists, masks, strict=True):
            try:
                row.append(None if frame is None else _prepare_one(run, group, frame, mask))
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


def _take(run: Run, prepared: Prepared) -> None:
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
            _book(result, chosen, assembler.push(index, item))


def _book(result: Result, chosen: Chosen, scores: Iterable[Any]) -> None:
    for score in scores:
        if isinstance(score, Score):
            result.add(score, chosen.rename(score.name))


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _finish(run: Run) -> None:
    """Delayed scores, and how the run ended."""
    result = run.result
    frames = len(result.columns["n"])
    for chosen, assembler in zip(run.chosen, run.assemblers, strict=True):
        _book(result, chosen, assembler.finish(frames, chosen.metric.needs_length))
        if assembler.repeated and chosen.metric.needs_length:
            result.validity["warnings"].append(f"{chosen.key}: the video ended early; its last frame stood in for {assembler.repeated}")
    result.validity["frames_compared"] = frames
    result.error = run.lane.error
    result.truncated = isinstance(run.lane.error, VqmeterError) and frames > 0
    if frames == 0 and result.error is None:
        result.error = DecodeError(f"{result.name}: no frames to measure")


def _timing(seconds: float, frames: int) -> dict[str, Any]:
    return {"seconds": round(seconds, 4), "frames_per_second": round(frames / seconds, 2) if seconds > 0 else None,
            "peak_rss_mib": peak_rss_mib()}  # fmt: skip
