"""One pass over the inputs, any number of metrics: decode once, prepare in a pool, score in stream order.

The reference is read once however many distorted files there are. Prepared numbers are kept, never frames, so memory
does not grow with length.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any

from vqmeter.clips import Assembler
from vqmeter.devices import resolve_device
from vqmeter.environment import environment, peak_rss_mib, redact
from vqmeter.errors import InputError, UsageError, VqmeterError
from vqmeter.inputs import first_signatures, lag, open_input, opened
from vqmeter.machine import cpu_count, hold_memory
from vqmeter.metric import Chosen, Context, Stream, choose
from vqmeter.on_reference import add_differences, with_references
from vqmeter.report import Report, Result, Series
from vqmeter.runs import Prepared, Run, finish, prepare, take, wish
from vqmeter.settings import Settings
from vqmeter.sources import Source, name_of
from vqmeter.sources.align import Signatures
from vqmeter.sources.pair import Fit, Lane, Selection, check_lengths, common_format, common_length, fit, walk
from vqmeter.validity import Watch, of_input
from vqmeter.worst import Worst, export

#: What a worker takes at once: frames of so many bytes together, or so many that lie unread in their file.
_CHUNK_BYTES = 2 << 20
_CHUNK_LAZY = 4
Progress = Callable[[int, int | None], None]


class OnePass:
    """Opens the inputs, drives every meter over them, and fills a report."""

    def __init__(self, ref: str | None, dists: list[str], settings: Settings, progress: Progress | None = None) -> None:
        _check_paths(ref, dists, settings)
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
        self._ref_signatures: Signatures | None = None
        self._closing = ExitStack()

    def run(self, argv: list[str]) -> Report:
        """Measure everything; errors of single files stay in their results."""
        started = time.perf_counter()
        hold_memory()
        ref, dists = self._paths
        report = Report("nr" if ref is None else "fr", redact(argv), {})
        report.results = self._measure(range(len(dists))) if self.settings.cache is None else self._kept(self.settings.cache)
        if self.settings.worst is not None:
            self._export_worst(report, self.settings.worst)
        seconds = time.perf_counter() - started
        report.environment = environment(self.threads)
        for result in report.results:
            result.timing = _timing(seconds, len(result.columns["n"]))
        return report

    def _kept(self, folder: str) -> list[Result]:
        """Results as they were kept, and those of the other files measured and kept."""
        from vqmeter.cache import Cache

        ref, dists = self._paths
        cache = Cache(folder, self.settings, self._chosen, self._devices)
        keys = [cache.key(ref, path) for path in dists]
        found = [cache.find(key, ref, path, self._label(n)) for n, (key, path) in enumerate(zip(keys, dists, strict=True))]
        left = [n for n, result in enumerate(found) if result is None]
        measured = dict(zip(left, self._measure(left) if left else (), strict=True))
        for n, result in measured.items():
            cache.keep(keys[n], result)
        return [measured[n] if result is None else result for n, result in enumerate(found)]

    def _label(self, n: int) -> str:
        """What pictures of distorted file `n` are called."""
        names = [os.path.basename(name_of(path)) for path in self._paths[1]]
        earlier = names[:n].count(names[n])
        return f"{earlier + 1}_{names[n]}" if earlier else names[n]

    def _measure(self, which: Iterable[int]) -> list[Result]:
        """Results of the distorted files of these numbers."""
        ref, dists = self._paths
        with self._closing:
            reference = None if ref is None else self._open_ref()
            results, runs = list[Result](), list[Run]()
            for n, dist in [(n, self._open_dist(dists[n], reference)) for n in which]:
                inputs = {} if reference is None else {"reference": _inspect(reference, ref)}
                results.append(Result(inputs | {"distorted": _inspect(dist, dists[n])}, label=self._label(n)))
                runs += self._begin(results[-1], reference, dist)
            if runs:
                self._drive(None if reference is None else opened(reference), runs)
        return results

    def _open_ref(self) -> Source | VqmeterError:
        return open_input(str(self._paths[0]), self.settings.ref_input, self.settings, self._closing)

    def _open_dist(self, path: str, ref: Source | VqmeterError | None) -> Source | VqmeterError:
        known = None if ref is None or isinstance(ref, VqmeterError) else ref.info
        return open_input(path, self.settings.dist_input, self.settings, self._closing, known)

    def _export_worst(self, report: Report, worst: Worst) -> None:
        """Read the files again and write their worst frames."""
        for result in report.results:
            if not any(series.values for series in result.series.values()):
                continue
            wanted = replace(worst, key=worst.key or next(iter(result.series)))
            with ExitStack() as self._closing:
                first = None if self._paths[0] is None else opened(self._open_ref())
                second = opened(self._open_dist(result.name, first))
                selection = replace(self.settings.selection, offset=result.validity.get("offset", 0))
                export(first, second, selection, result, wanted)

    def _begin(self, result: Result, ref: Source | VqmeterError | None, dist: Source | VqmeterError) -> list[Run]:
        """A run for `result`, where the file can be measured."""
        try:
            return [self._open_run(result, None if ref is None else opened(ref), opened(dist))]
        except VqmeterError as error:
            result.error = error
            result.validity = {"frames_compared": 0, "warnings": []}
            return []

    def _open_run(self, result: Result, ref: Source | None, dist: Source) -> Run:
        selection, watch = self.settings.selection, None
        result.validity = {"frames_compared": 0, "unmatched": [], "identical_frames": 0, "offset": 0,
                           "compare_format": "", "warnings": []}  # fmt: skip
        if ref is None:
            fitted = Fit(common_format(dist.info.pix_fmt, dist.info.pix_fmt.bit_depth))
        else:
            fitted = fit(ref.info, dist.info, self.settings.selection.pair)
            selection = self._in_step(result, ref, dist)
            check_lengths(ref, dist, selection)
            watch = Watch(ref.info, dist.info, selection)
        compare = fitted.compare_format
        alone = [w for role, s in (("reference", ref), ("distorted", dist)) if s for w in of_input(role, s.info, self._chosen)]
        result.validity["warnings"] = [*fitted.warnings, *alone, *result.validity["warnings"]]
        result.validity["compare_format"] = compare.name
        exact, certain = selection.count(dist.info, dist.count), None
        if ref is not None and (self.settings.limits or selection.shortest):
            certain = common_length(ref, dist, selection)
        exact = exact if certain is None else certain
        if exact is None and any(c.metric.needs_length for c in self._chosen):
            exact = self._exact_length(dist)
        stream = Stream(dist.info, None if ref is None else ref.info, compare, exact, dist.info.rate, self.settings.planes)
        result.settings = self.settings.to_json(compare.name)
        assemblers = [self._open_meter(c, d, stream, result) for c, d in zip(self._chosen, self._devices, strict=True)]
        small = min(64, _CHUNK_BYTES // max(1, compare.frame_bytes(dist.info.width, dist.info.height)))
        lazy = all(source is None or source.count is not None for source in (ref, dist))
        self._chunk = max(1, small, min(_CHUNK_LAZY, (exact or 0) // 64) if lazy else 0)
        run = Run(self._start(dist, selection), result, compare.bit_depth, self._chosen, assemblers, self.settings, watch)
        run.length = certain if self.settings.limits and run.by_frame else None
        return run

    def _in_step(self, result: Result, ref: Source, dist: Source) -> Selection:
        """The selection with the offset that `--sync` asks for, said in the result; unequal ends are its doing."""
        sync, settings = self.settings.sync, self.settings
        for info in (ref.info, dist.info):
            if settings.selection.pair == "pts" and not info.rate_stated:
                raise UsageError(f"{name_of(info.path)}: --pair pts goes by times, and raw video has none; give -r FPS")
        if sync == "off":
            return settings.selection
        if sync == "auto":
            if self._ref_signatures is None:
                self._ref_signatures = first_signatures(ref.info.path, settings.ref_input, settings)
            found, said = lag(self._ref_signatures, first_signatures(dist.info.path, settings.dist_input, settings, ref.info))
            result.validity |= {"offset": found.frames, "offset_confidence": round(found.confidence, 4), "warnings": [*said]}
        else:
            result.validity["offset"] = int(sync)
        offset = result.validity["offset"]
        return replace(settings.selection, offset=offset, shortest=settings.selection.shortest or offset != 0)

    def _start(self, source: Source, selection: Selection) -> Lane:
        lane = Lane.start(source, selection)
        self._closing.callback(lane.close)
        return lane

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

    def _drive(self, reference: Source | None, runs: list[Run]) -> None:
        """Walk the inputs in step, prepare in the pool, score in order."""
        earliest = min(run.lane.selection.offset for run in runs)
        shortest = any(run.lane.selection.shortest for run in runs)
        selection = replace(self.settings.selection, offset=earliest, shortest=shortest)
        ref = None if reference is None else self._start(reference, selection)
        total = self._expected(ref, runs)
        groups = walk(ref, [run.lane for run in runs], selection)
        pending: deque[Future[list[list[Prepared | VqmeterError | None]]]] = deque()
        done = 0
        with ThreadPoolExecutor(self.threads, "vqmeter-prepare") as pool:
            try:
                while chunk := list(islice(groups, self._chunk)):
                    wishes = [[wish(run, frame) for run, frame in zip(runs, group.dists, strict=True)] for group in chunk]
                    pending.append(pool.submit(prepare, chunk, wishes, runs))
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
        for run in runs:
            run.stop_if_decided()
        if self._progress is not None:
            self._progress(done, total)
        return done


def _check_paths(ref: str | None, dists: list[str], settings: Settings) -> None:
    if not dists:
        raise UsageError("no distorted file named")
    paths = [*([ref] if ref is not None else []), *dists]
    if paths.count("-") > 1:
        raise UsageError("stdin can be read once; only one input may be '-'")
    if settings.worst is not None and "-" in paths:
        raise UsageError("the worst frames are read again, and stdin cannot be; write it to a file first")
    if settings.sync == "auto" and "-" in paths:
        raise UsageError("--sync auto reads the first frames twice, and stdin cannot be; give --sync N, or write it to a file")


def _with_weights(model: Chosen, weights: str) -> Chosen:
    """`model` with the weights named for all, unless it names its own or has none."""
    if "weights" in model.options or not hasattr(model.metric, "weights"):
        return model
    return replace(model, metric=replace(model.metric, weights=weights))  # type: ignore[type-var]


def _inspect(source: Source | VqmeterError, path: str | None) -> dict[str, Any]:
    return {"path": path} if isinstance(source, VqmeterError) else source.info.to_json()


def _timing(seconds: float, frames: int) -> dict[str, Any]:
    return {"seconds": round(seconds, 4), "frames_per_second": round(frames / seconds, 2) if seconds > 0 else None,
            "peak_rss_mib": peak_rss_mib()}  # fmt: skip
