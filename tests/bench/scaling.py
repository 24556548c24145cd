"""What cost grows with: length, size, the number of metrics and threads. Each row is a point of a plot, see plots.py.

Length: whole processes, seconds. Size and metrics: milliseconds a frame, ours in a warm process. Threads: frames/s, both
pinned to as many cores. ffmpeg's steady cost is that of a process less one of a single frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import clips
import commands
from clips import LONG, SHAPES, SHORT
from inprocess import TOGETHER
from matrix import FILTERS, RAW, SCORES, SETTLE, Cell, against_ffmpeg
from processes import Bench
from rows import Point, Row
from timing import Job, Process, Spread, Worker, cores, in_turn, rate, steady, warm

SCALING = "scaling"
LENGTHS = (30, 100, SHORT, LONG)
_FRAMES = 24  # of H.264, for one to six metrics
_PEERS = {metric: FILTERS[metric] for metric in ("psnr", "ssim_ffmpeg")}  # whose arithmetic is the same
_METRICS = (*_PEERS, "ssim", "ms_ssim")


def scaling_length(bench: Bench) -> Iterator[Row]:
    """Whole processes at 1080p, raw, from 30 to 1,000 frames."""
    files = bench.clips.raw("ref", LONG), bench.clips.raw("dist", LONG)
    warm(*files)
    jobs: dict[str, Job] = {}
    for frames in LENGTHS:
        for metric, graph in _PEERS.items():
            jobs[f"{metric} {frames}"] = Process(commands.fr(*files, metric, SCORES[metric], frames=frames))
            jobs[f"ffmpeg {graph} {frames}"] = Process(commands.ffmpeg_filter(*files, graph, frames=frames))
    times = in_turn(jobs, bench.rounds, SETTLE)
    for metric, graph in _PEERS.items():
        for frames in LENGTHS:
            ours, theirs = (Spread.of(times[f"{name} {frames}"]) for name in (metric, f"ffmpeg {graph}"))
            yield Row(SCALING, f"scaling length {metric} {frames}", f"{metric}, 1080p, {frames:,} frames, whole process", ours,
                      f"ffmpeg {graph}", theirs, unit="s", aside=True,
                      point=Point("length", f"vqmeter {metric}", frames))  # fmt: skip


def scaling_size(bench: Bench) -> Iterator[Row]:
    """Raw 8-bit files of three sizes, all threads."""
    with Worker("measure", bench.pair() | {"metrics": "psnr", "frames": 2}) as worker:
        for shape in SHAPES.values():
            bench.make(shape)
            cell = _raw(bench, shape, cores())
            times = _steady_times(cell, worker, bench.rounds)
            megapixels = shape.width * shape.height / 1e6
            for metric in _METRICS:
                ours, theirs = (_milliseconds(spread) for spread in _speeds(times, metric, shape.frames))
                yield Row(SCALING, f"scaling size {metric} {shape.name}", f"{metric}, {shape.name}, raw", ours,
                          _peer(metric), theirs, unit="ms", aside=True,
                          point=Point("size", f"vqmeter {metric}", megapixels))  # fmt: skip


def scaling_threads(bench: Bench) -> Iterator[Row]:
    """Raw 8-bit 1080p with 1, 2, 4 ... threads, as many as there are cores."""
    threads = 1
    while threads <= cores():
        cell = _raw(bench, clips.FULL_HD, threads)
        with Worker("measure", bench.pair() | {"metrics": "psnr", "frames": 2}, threads) as worker:
            times = _steady_times(cell, worker, bench.rounds)
        for metric in _METRICS:
            ours, theirs = _speeds(times, metric, cell.shape.frames)
            yield Row(SCALING, f"scaling threads {metric} {threads}", f"{metric}, 1080p, raw, threads: {threads}", ours,
                      _peer(metric), theirs, aside=True, point=Point("threads", f"vqmeter {metric}", threads))  # fmt: skip
        threads *= 2


def scaling_metrics(bench: Bench) -> Iterator[Row]:
    """One to six metrics over H.264 at 1080p: in one pass, and one after another."""
    pair = {"ref": str(bench.clips.raw("ref")), "dist": str(bench.clips.mp4), "frames": _FRAMES}
    warm(bench.clips.raw("ref"), bench.clips.mp4)
    counts = range(1, len(TOGETHER) + 1)
    with ExitStack() as stack:
        jobs: dict[str, Job] = {}
        for metrics in dict.fromkeys([*TOGETHER, *(",".join(TOGETHER[:n]) for n in counts)]):
            jobs[metrics] = stack.enter_context(Worker("measure", pair | {"metrics": metrics}))
        times = in_turn(jobs, bench.rounds)
    for n in counts:
        apart = [sum(seconds) for seconds in zip(*(times[metric] for metric in TOGETHER[:n]), strict=True)]
        together, one_by_one = (rate(seconds, _FRAMES) for seconds in (times[",".join(TOGETHER[:n])], apart))
        yield Row(SCALING, f"scaling metrics {n}", f"the first {n} of {', '.join(TOGETHER)}, H.264, 1080p",
                  _milliseconds(together), "one after another", _milliseconds(one_by_one), unit="ms", aside=True,
                  point=Point("metrics", "vqmeter, one pass", n))  # fmt: skip


def _raw(bench: Bench, shape: clips.Shape, threads: int) -> Cell:
    return Cell(shape, 8, RAW, threads, bench.clips.shaped(shape, "ref", 8), bench.clips.shaped(shape, "dist", 8))


def _steady_times(cell: Cell, worker: Worker, rounds: int) -> dict[str, list[float]]:
    """Seconds of every metric, of ffmpeg's filters and of its start."""
    warm(cell.ref, cell.dist)
    return in_turn(against_ffmpeg(cell, worker, _METRICS), rounds, SETTLE)


def _speeds(times: dict[str, list[float]], metric: str, frames: int) -> tuple[Spread | None, Spread | None]:
    """Frames/s of ours, and of the filter that is the same."""
    peer = _peer(metric)
    return rate(times[metric], frames), steady(times[peer], times["start"], frames - 1) if peer else None


def _peer(metric: str) -> str:
    return f"ffmpeg {_PEERS[metric]}" if metric in _PEERS else ""


def _milliseconds(speed: Spread | None) -> Spread | None:
    return Spread(1e3 / speed.median, 1e3 / speed.high, 1e3 / speed.low) if speed else None


SECTIONS = (scaling_length, scaling_size, scaling_metrics, scaling_threads)
