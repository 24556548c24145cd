"""Sizes, depths, inputs and threads against ffmpeg's psnr and ssim filters, and libvmaf where it is not too slow.

The reference is raw, the distorted raw or coded. Both programs are pinned to the first N cores and choose their threads for
so many themselves, but for libvmaf, which is told `n_threads=N`.

Steady state, the cheap way: of ffmpeg a whole process less one of a single frame; of vqmeter `measure()` in a warm
process, with opening and closing the files, which the difference does not hold against ffmpeg.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clips
import commands
import roofline
from clips import CODECS, PIX_FMT, Shape
from processes import Bench
from rows import Bound, Row
from timing import Job, Process, Spread, Task, Worker, in_turn, rate, steady, warm

MATRIX = "matrix, steady state"
THREADS = (1, 2)
METRICS = ("psnr", "ssim_ffmpeg", "ssim")
RAW = "raw"
SCORES = {"psnr": "psnr.mse_pooled", "ssim_ffmpeg": "ssim_ffmpeg_y", "ssim": "ssim_y"}
FILTERS = {"psnr": "psnr", "ssim_ffmpeg": "ssim", "ssim": "ssim"}
_READ = {"psnr": commands.ffmpeg_psnr, "ssim": commands.ffmpeg_ssim}
ROUNDS, SETTLE = 3, 0.05  # nothing here has threads that spin
_AGREE = 1e-5  # of the value, with which two answers are the same number: filters print six digits or seven
#: Metric -> libvmaf's feature, its score and ours, and which part of the clip's frames it is given: it takes its time.
_FEATURES = {
    "psnr": ("psnr", "psnr_y", "psnr_y", 1.0),
    "ssim": ("float_ssim", "float_ssim", "ssim_y", 0.25),
    "ms_ssim": ("float_ms_ssim", "float_ms_ssim", "ms_ssim_y", 0.04),
}


@dataclass(frozen=True)
class Cell:
    """One clip of the matrix with so many threads."""

    shape: Shape
    depth: int
    codec: str
    threads: int
    ref: Path
    dist: Path

    @property
    def name(self) -> str:
        return f"{self.shape.name} {self.depth} bit {self.codec} {self.threads}"

    @property
    def work(self) -> str:
        return f"{self.shape.name}, {self.depth} bit, {self.codec}, threads: {self.threads}"

    def ours(self, worker: Worker, metric: str, frames: int | None = None, score: str | None = None) -> Task:
        return Task(worker, "measure", self._files | {
            "metrics": metric, "score": score or SCORES.get(metric), "frames": frames or self.shape.frames,
            "size": self.shape.size, "pix_fmt": PIX_FMT[self.depth],
        })  # fmt: skip

    def theirs(self, graph: str, frames: int | None = None) -> Process:
        return Process(commands.ffmpeg_filter(self.ref, self.dist, graph, frames=frames or self.shape.frames,
                                              pix_fmt=PIX_FMT[self.depth], size=self.shape.size), self.threads)  # fmt: skip

    def bare(self, worker: Worker) -> Task:
        """What bounds it: reading both files by position, or decoding the coded one."""
        if self.codec == RAW:
            options = {"block": self._bytes, "frames": self.shape.frames, "threads": self.threads}
            return Task(worker, "read_file", self._files | options)
        return Task(worker, "decode", {"path": str(self.dist), "frames": self.shape.frames})

    def bound(self, ours: Spread | None, bare: Spread, metric: str) -> tuple[Bound | None, str]:
        """Its bound and, of raw files, a word on reading them."""
        if self.codec != RAW:
            return roofline.by_decoding(ours, bare), ""
        said = f"; {ours.median / bare.median * 100:.0f} % of only reading both files" if ours else ""
        return roofline.by_memory(ours, metric, self._bytes, self.threads), said

    @property
    def _bytes(self) -> int:
        return self.shape.samples * (1 if self.depth == 8 else 2)

    @property
    def _files(self) -> dict[str, Any]:
        return {"ref": str(self.ref), "dist": str(self.dist)}


def cells(bench: Bench, shape: Shape) -> Iterator[Cell]:
    """Of one size."""
    for depth in PIX_FMT:
        ref = bench.clips.shaped(shape, "ref", depth)
        for codec in (RAW, *CODECS):
            raw = codec == RAW
            dist = bench.clips.shaped(shape, "dist", depth) if raw else bench.clips.coded(shape, codec, depth)
            for threads in THREADS:
                yield Cell(shape, depth, codec, threads, ref, dist)


def matrix_540p(bench: Bench) -> Iterator[Row]:
    """The matrix at 960x540."""
    yield from _of(bench, "540p")


def matrix_1080p(bench: Bench) -> Iterator[Row]:
    """The matrix at 1920x1080."""
    yield from _of(bench, "1080p")


def matrix_2160p(bench: Bench) -> Iterator[Row]:
    """The matrix at 3840x2160."""
    yield from _of(bench, "2160p")


def _of(bench: Bench, name: str) -> Iterator[Row]:
    shape, rounds = clips.SHAPES[name], min(ROUNDS, bench.rounds)
    bench.make(shape)
    first = {"ref": str(bench.clips.shaped(shape, "ref", 8)), "dist": str(bench.clips.shaped(shape, "dist", 8))}
    options = first | {"size": shape.size, "metrics": "psnr", "frames": 2}
    for threads in THREADS:
        with Worker("measure", options, threads) as worker:
            for cell in cells(bench, shape):
                if cell.threads == threads:
                    warm(cell.ref, cell.dist)
                    yield from _against_ffmpeg(cell, worker, rounds)
                    if cell.codec == RAW and cell.depth == 8 and threads == max(THREADS):
                        yield from _against_libvmaf(cell, worker, rounds)


def against_ffmpeg(cell: Cell, worker: Worker, metrics: Sequence[str]) -> dict[str, Job]:
    """Our metrics, the filters of ffmpeg's that stand beside them, and ffmpeg's start: a single frame."""
    for metric in metrics:
        cell.ours(worker, metric, 2)()  # compiled now, if never before
    ours: dict[str, Job] = {metric: cell.ours(worker, metric) for metric in metrics}
    return ours | {f"ffmpeg {graph}": cell.theirs(graph) for graph in FILTERS.values()} | {"start": cell.theirs("psnr", 1)}


def _against_ffmpeg(cell: Cell, worker: Worker, rounds: int) -> Iterator[Row]:
    jobs = against_ffmpeg(cell, worker, METRICS) | {"bare": cell.bare(worker)}
    times = in_turn(jobs, rounds, SETTLE)
    bare = rate(times["bare"], cell.shape.frames)
    for metric in METRICS:
        ours, peer = rate(times[metric], cell.shape.frames), f"ffmpeg {FILTERS[metric]}"
        theirs = steady(times[peer], times["start"], cell.shape.frames - 1)
        bound, reading = cell.bound(ours, bare, metric)
        yield Row(MATRIX, f"matrix {cell.name} {metric}", f"{metric}, {cell.work}", ours, peer, theirs, bound=bound,
                  note=_answers(jobs, metric, peer) + reading, aside=True)  # fmt: skip


def _answers(jobs: Mapping[str, Job], metric: str, peer: str) -> str:
    """Both answers; they are the same number but for ssim, whose windows the filter does not have."""
    ours, theirs = jobs[metric], jobs[peer]
    assert isinstance(ours, Task) and isinstance(theirs, Process) and theirs.last
    return _both(ours.last["value"], _READ[FILTERS[metric]](theirs.last.err), metric != "ssim")


def _both(ours: float, theirs: float | None, same: bool) -> str:
    if not same:
        return f"answers of two definitions: {ours:.6f} and {theirs}"
    agree = theirs is not None and abs(ours - theirs) <= _AGREE * abs(theirs)
    return f"answers{'' if agree else ' DIFFER'}: {ours:.6f} and {theirs}"


def _against_libvmaf(cell: Cell, worker: Worker, rounds: int) -> Iterator[Row]:
    """The features of libvmaf nearest to ours; of float_ssim and float_ms_ssim few frames, as long as they take.

    psnr alone is the same number: float_ssim first scales down by 4 or so, float_ms_ssim has another low-pass filter.
    """
    jobs: dict[str, Job] = {"start": cell.theirs(commands.libvmaf("psnr", cell.threads), 1), "bare": cell.bare(worker)}
    few: dict[str, int] = {}
    same: dict[str, Task] = {}
    for metric, (feature, _, score, part) in _FEATURES.items():
        few[metric] = max(5, round(part * cell.shape.frames))
        same[metric] = cell.ours(worker, metric, few[metric], score)
        same[metric]()  # what libvmaf's few frames come to; and compiled now, if never before
        jobs[metric] = cell.ours(worker, metric)
        jobs[feature] = cell.theirs(commands.libvmaf(feature, cell.threads, log=True), few[metric])
    times = in_turn(jobs, rounds, SETTLE)
    for metric, (feature, name, _, _) in _FEATURES.items():
        ours, frames, peer = rate(times[metric], cell.shape.frames), few[metric], jobs[feature]
        theirs = steady(times[feature], times["start"], frames - 1)
        bound, reading = cell.bound(ours, rate(times["bare"], cell.shape.frames), metric)
        assert isinstance(peer, Process) and peer.last
        answers = _both(same[metric].last["value"], commands.libvmaf_mean(peer.last.out, name), metric == "psnr")
        yield Row(MATRIX, f"matrix {cell.name} {metric} libvmaf", f"{metric}, {cell.work}", ours, f"libvmaf {feature}", theirs,
                  bound=bound, note=f"{answers} of {frames} frames{reading}", aside=True)  # fmt: skip


SECTIONS: tuple[Callable[[Bench], Iterator[Row]], ...] = (matrix_540p, matrix_1080p, matrix_2160p)
