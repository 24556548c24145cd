"""One pass over the inputs, any number of metrics: decode once, prepare in a pool, score in stream order.

The reference is read once however many distorted files there are. Prepared numbers are kept, never frames, so memory
does not grow with length.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields, replace
from fractions import Fraction
from itertools import islice
from typing import Any

from vqmeter.clips import Assembler
from vqmeter.devices import resolve_device
from vqmeter.environment import environment, peak_rss_mib, redact
from vqmeter.errors import InputError, UsageError, VqmeterError
from vqmeter.frames import VideoInfo
from vqmeter.metric import Chosen, Context, Stream, choose
from vqmeter.on_reference import add_differences, with_references
from vqmeter.report import Report, Result, Series
from vqmeter.runs import Prepared, Run, finish, prepare, take, wanted
from vqmeter.settings import Settings, cpu_count
from vqmeter.sources import MAX_PIXELS, InputOptions, Source, name_of, open_video
from vqmeter.sources.geometry import parse_rate, parse_size
from vqmeter.sources.pair import (
    Fit,
    Lane,
    Selection,
    check_lengths,
    check_selection,
    common_format,
    fit,
    walk,
)
from vqmeter.sources.scaling import Scale
from vqmeter.worst import Worst, export

_CHUNK_BYTES = 2 << 20
Progress = Callable[[int, int | None], None]


def measure(
    distorted: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    reference: str | os.PathLike[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    models: str | Sequence[str] = (),
    weights: str | None = None,
    model_ref: bool = False,
    size: tuple[int, int] | str | None = None,
    pix_fmt: str | None = None,
    rate: Fraction | float | str | None = None,
    ref_size: tuple[int, int] | str | None = None,
    ref_pix_fmt: str | None = None,
    input_format: str | None = None,
    ref_input_format: str | None = None,
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
    psnr_cap: float | str | None = "auto",
    scale: str = "none",
    map: str | os.PathLike[str] | None = None,
    worst: int = 0,
    worst_by: str | None = None,
    worst_dir: str | os.PathLike[str] = "worst",
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
    argv: Sequence[str] | None = None,
) -> Report:
    """Measure one distorted video, or several against the same reference.

    `distorted` and `reference` are paths, `-` is stdin. `metrics` (full reference) and `models` (no reference) are
    `NAME[:KEY=VALUE]...[,NAME...]`; with a reference and neither named, `psnr,ssim`. `model_ref` scores the reference
    with the models too and gives the difference. `size` ("1920x1080" or
    (1920, 1080)), `pix_fmt` and `rate` describe headless raw input; `input_format` names the container of stdin, or of
    all inputs where none is stdin. `start` and `duration` are in seconds.
    `psnr_cap` is in dB, None for no ceiling. `scale` is `none`, `ref` or `WxH`, with `:bicubic`, `:lanczos` or
    `:bilinear`. `map` is a folder for quality maps, `worst` the number of worst frames (by score `worst_by`, the first
    one by default) to write as pictures into `worst_dir`.

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
    piped = "-" in (ref, *paths)
    ref_input = replace(
        dist_input, size=parse_size(ref_size) or dist_input.size, pix_fmt=ref_pix_fmt or pix_fmt,
        format=ref_input_format or (None if piped and ref != "-" else input_format),
    )  # fmt: skip
    if piped and ref == "-":
        dist_input = replace(dist_input, format=None)
    if metrics is None:
        metrics = ("psnr", "ssim") if ref is not None else ()
    settings = Settings(
        (metrics,) if isinstance(metrics, str) else tuple(metrics),
        (models,) if isinstance(models, str) else tuple(models),
        Selection(start, duration, frames, subsample, shortest), ref_input, dist_input, planes, device, precision,
        threads, batch, seed, psnr_cap, weights, model_ref, Scale.parse(scale), None if map is None else os.fspath(map),
        Worst(worst, worst_by or "", os.fspath(worst_dir)) if worst else None,
    )  # fmt: skip
    words = list(argv) if argv is not None else []
    if ref is not None:
        return Session(ref, paths, settings, progress).run(words)
    reports = [Session(None, [path], settings, progress).run(words) for path in paths]
    if not reports:
        raise UsageError("no clip named")
    return replace(reports[-1], results=[result for report in reports for result in report.results])


class Session:
    """Opens the inputs, drives every meter over them, and fills a report."""

    def __init__(self, ref: str | None, dists: list[str], settings: Settings, progress: Progress | None = None) -> None:
        if not dists:
            raise UsageError("no distorted file named")
        if [ref, *dists].count("-") > 1:
            raise UsageError("stdin can be read once; only one input may be '-'")
        if settings.worst is not None and "-" in (ref, *dists):
            raise UsageError("the worst frames are read again, and stdin cannot be; write it to a file first")
        self.settings = settings
        self.threads = settings.threads or cpu_count()
        self._paths = (ref, dists)
        self._progress = progress
        models = choose("nr", settings.models) if settings.models else []
        if settings.weights is not None:
            models = [_with_weights(model, settings.weights) for model in models]
        if settings.model_ref and ref is None:
            raise UsageError("--model-ref wants a reference")
        self._chosen = (choose("fr", settings.metrics) if settings.metrics else []) + (
            with_references(models) if settings.model_ref else models
        )
        if not self._chosen:
            raise UsageError("no metric and no model named")
        if settings.map_folder is not None and not any(getattr(c.metric, "has_map", False) for c in self._chosen):
            raise UsageError(f"none of {', '.join(c.name for c in self._chosen)} has a quality map; ssim has")
        self._devices = [resolve_device(settings.device, c.metric.prefers_cuda) for c in self._chosen]
        self._chunk = 1
        self._closing = ExitStack()

    def run(self, argv: list[str]) -> Report:
        """Measure everything; errors of single files stay in their results."""
        started = time.perf_counter()
        ref, dists = self._paths
        report = Report("nr" if ref is None else "fr", redact(argv), {})
        with self._closing:
            reference = None if ref is None else self._try_open(ref, self.settings.ref_input)
            known = reference.info if reference is not None and not isinstance(reference, VqmeterError) else None
            opened = [(path, self._try_open(path, self.settings.dist_input, known)) for path in dists]
            runs = [run for path, source in opened if (run := self._begin(report, path, reference, source))]
            if runs:
                self._drive(None if reference is None else self._start(_opened(reference)), runs)
        if self.settings.worst is not None:
            self._export_worst(report, self.settings.worst)
        seconds = time.perf_counter() - started
        report.environment = environment(self.threads)
        for result in report.results:
            result.timing = _timing(seconds, len(result.columns["n"]))
        return report

    def _try_open(self, path: str, options: InputOptions, ref: VideoInfo | None = None) -> Source | VqmeterError:
        """Open an input and scale it where that is asked for; `ref` is the reference's info for a distorted file."""
        try:
            source = open_video(path, options)
            self._closing.callback(source.close)
            check_selection(source, self.settings.selection)
        except UsageError:
            raise
        except VqmeterError as error:
            return error
        scale = self.settings.scale
        return source if scale is None or (scale.size is None and ref is None) else scale.apply(source, ref)

    def _export_worst(self, report: Report, worst: Worst) -> None:
        """Read the files again and write their worst frames."""
        ref, _ = self._paths
        for result in report.results:
            if not any(series.values for series in result.series.values()):
                continue
            wanted = replace(worst, key=worst.key or next(iter(result.series)))
            with ExitStack() as self._closing:
                first = None if ref is None else _opened(self._try_open(ref, self.settings.ref_input))
                known = None if first is None else first.info
                second = _opened(self._try_open(result.name, self.settings.dist_input, known))
                export(first, second, self.settings.selection, result, wanted)

    def _start(self, source: Source) -> Lane:
        lane = Lane.start(source, self.settings.selection)
        self._closing.callback(lane.close)
        return lane

    def _begin(self, report: Report, path: str, ref: Source | VqmeterError | None,
               dist: Source | VqmeterError) -> Run | None:  # fmt: skip
        """A result for `path`, and a run where it can be measured."""
        inputs: dict[str, Any] = {}
        if ref is not None:
            inputs["reference"] = _inspect(ref, self._paths[0])
        name = os.path.basename(name_of(path))
        taken = sum(os.path.basename(name_of(other.name)) == name for other in report.results)
        result = Result(inputs | {"distorted": _inspect(dist, path)}, label=f"{taken + 1}_{name}" if taken else name)
        report.results.append(result)
        try:
            return self._open_run(result, None if ref is None else _opened(ref), _opened(dist))
        except VqmeterError as error:
            result.error = error
            result.validity = {"frames_compared": 0, "warnings": []}
            return None

    def _open_run(self, result: Result, ref: Source | None, dist: Source) -> Run:
        selection = self.settings.selection
        if ref is None:
            fitted = Fit(common_format(dist.info.pix_fmt, dist.info.pix_fmt.bit_depth))
        else:
            fitted = fit(ref.info, dist.info)
            check_lengths(ref, dist, selection)
        compare = fitted.compare_format
        exact = selection.count(dist.info, dist.count)
        if exact is None and any(c.metric.needs_length for c in self._chosen):
            exact = self._exact_length(dist)
        stream = Stream(dist.info, None if ref is None else ref.info, compare, exact, dist.info.rate, self.settings.planes)
        result.settings = self.settings.to_json(compare.name)
        result.validity = {"frames_compared": 0, "unmatched": [], "identical_frames": 0, "offset": 0,
                           "compare_format": compare.name, "warnings": list(fitted.warnings)}  # fmt: skip
        assemblers = [self._open_meter(c, d, stream, result) for c, d in zip(self._chosen, self._devices, strict=True)]
        size = compare.frame_bytes(dist.info.width, dist.info.height)
        self._chunk = max(1, min(64, _CHUNK_BYTES // max(1, size)))
        return Run(self._start(dist), result, compare.bit_depth, self._chosen, assemblers, map_folder=self.settings.map_folder)

    def _exact_length(self, source: Source) -> int:
        """How many frames will be measured, counted without decoding.

        Raises
            InputError: a pipe, whose length nobody knows before its end.
        """
        frames = self.settings.selection.count(source.info, source.length()) or self.settings.selection.frames
        if frames is None:
            names = ", ".join(c.name for c in self._chosen if c.metric.needs_length)
            raise InputError(f"{name_of(source.info.path)}: {names} must know the length, and a pipe does not say it; "
                             "give --frames N")  # fmt: skip
        return frames

    def _open_meter(self, chosen: Chosen, device: str, stream: Stream, result: Result) -> Assembler:
        s = self.settings
        precision = "fp32" if s.precision == "auto" else s.precision
        meter = chosen.metric.open(stream, Context(device, precision, self.threads, s.batch, s.seed, s.map_folder is not None))
        if hasattr(meter, "close"):
            self._closing.callback(meter.close)
        depth = stream.compare_format.bit_depth
        for score, scale in meter.scores.items():
            name = chosen.rename(score)
            cap = None if not scale.decibels else 6.0 * depth + 12 if s.psnr_cap == "auto" else s.psnr_cap
            result.series[name] = Series(scale, cap)  # type: ignore[arg-type]
            weights = getattr(meter, "weights", None)
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
        with ThreadPoolExecutor(self.threads, "vqmeter-prepare") as pool:
            try:
                while chunk := list(islice(groups, self._chunk)):
                    masks = [[wanted(run, group.index) for run in runs] for group in chunk]
                    pending.append(pool.submit(prepare, chunk, masks, runs))
                    if len(pending) > 2 * self.threads:
                        done = self._consume(pending.popleft().result(), runs, done, total)
                while pending:
                    done = self._consume(pending.popleft().result(), runs, done, total)
            finally:
                for future in pending:
                    future.cancel()
        for run in runs:
            finish(run)
            if self.settings.model_ref:
                add_differences(run.result)

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
                    run.stop(item)
                elif item is not None and not run.stopped:
                    try:
                        take(run, item)
                    except VqmeterError as error:  # of one meter; what was scored before is kept
                        run.stop(error)
            done += 1
        if self._progress is not None:
            self._progress(done, total)
        return done


def _with_weights(model: Chosen, weights: str) -> Chosen:
    """`model` with the weights named for all, unless it names its own or has none."""
    if "weights" in model.options or "weights" not in {f.name for f in fields(model.metric)}:  # type: ignore[arg-type]
        return model
    return replace(model, metric=replace(model.metric, weights=weights))  # type: ignore[type-var]


def _opened(source: Source | VqmeterError) -> Source:
    if isinstance(source, VqmeterError):
        raise source
    return source


def _inspect(source: Source | VqmeterError, path: str | None) -> dict[str, Any]:
    return {"path": path} if isinstance(source, VqmeterError) else source.info.to_json()


def _timing(seconds: float, frames: int) -> dict[str, Any]:
    return {"seconds": round(seconds, 4), "frames_per_second": round(frames / seconds, 2) if seconds > 0 else None,
            "peak_rss_mib": peak_rss_mib()}  # fmt: skip
