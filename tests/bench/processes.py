"""Whole processes and the steady state between two lengths: vqmeter against ffmpeg's filters and libvmaf, on raw files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import commands
import roofline
from clips import DEEP, FRAME_BYTES, LONG, SHORT, Clips, Shape
from rows import Row, Target
from timing import HERE, Job, PeerError, Process, Worker, cores, in_turn, rate, run, steady, warm

STEADY = "steady state"
WHOLE = "whole process"
WARM = "measure() in a warm process"
FAILED = "failed"


@dataclass(frozen=True)
class Bench:
    """What every section is given."""

    clips: Clips
    rounds: int
    quick: bool

    def make(self, shape: Shape | None = None) -> None:
        """Make the clips that are not there yet, of 1080p or of one size of the matrix, in a process of its own."""
        argv = [sys.executable, str(HERE / "clips.py"), str(self.clips.folder)]
        subprocess.run(argv if shape is None else [*argv, shape.name], check=True)

    def pair(self, frames: int = SHORT, depth: int = 8) -> dict[str, str]:
        """Options of a worker for a raw pair."""
        paths = {role: str(self.clips.raw(role, frames, depth)) for role in ("ref", "dist")}
        return paths if depth == 8 else paths | {"pix_fmt": f"yuv420p{depth}le"}


Section = Callable[[Bench], Iterator[Row]]


def psnr(bench: Bench) -> Iterator[Row]:
    """PSNR of three planes at 300 and 1,000 frames."""
    ratios = {SHORT: Target(">=", 0.6, 0.8), LONG: Target(">=", 1.0, 1.5)}
    peers = {"ffmpeg psnr": "psnr", "libvmaf psnr": commands.libvmaf("psnr")}
    aims = {"ffmpeg psnr": Target(">=", 2.5, 4.0), "libvmaf psnr": Target(">=", 1.5, 2.5)}
    yield from _lengths(bench, "psnr", "psnr.mse_pooled", "PSNR, 3 planes", peers, ratios, aims)


def ssim(bench: Bench) -> Iterator[Row]:
    """SSIM of luma, full resolution and Gaussian, against ffmpeg's blockwise filter over three planes."""
    aims = {"ffmpeg ssim (8x8 blocks)": Target(">=", 0.25, 0.6)}
    yield from _lengths(bench, "ssim", "ssim_y", "SSIM, luma, Gaussian", {"ffmpeg ssim (8x8 blocks)": "ssim"}, {}, aims)


def ssim_ffmpeg(bench: Bench) -> Iterator[Row]:
    """ffmpeg's own SSIM, once vqmeter has it."""
    if "ssim_ffmpeg" in commands.metrics():
        aims = {"ffmpeg ssim": Target(">=", 1.2)}
        work = "SSIM as ffmpeg has it"
        yield from _lengths(bench, "ssim_ffmpeg", "ssim_ffmpeg_y", work, {"ffmpeg ssim": "ssim"}, {}, aims)


def _lengths(bench: Bench, metric: str, score: str, work: str, peers: dict[str, str], whole: dict[int, Target],
             aims: dict[str, Target]) -> Iterator[Row]:  # fmt: skip
    """One metric at both lengths: whole processes, the steady state between them, and the API in a warm process."""
    clips = bench.clips
    files = {n: (clips.raw("ref", n), clips.raw("dist", n)) for n in (SHORT, LONG)}
    warm(*files[SHORT], *files[LONG])
    run(commands.fr(*files[SHORT], metric, score, frames=2))  # compiled now, if never before
    jobs: dict[str, Job] = {}
    for n in (SHORT, LONG):
        jobs[f"vqmeter {n}"] = Process(commands.fr(*files[n], metric, score))
        for peer, graph in peers.items():
            jobs[f"{peer} {n}"] = Process(commands.ffmpeg_filter(*files[n], graph))
    frames = SHORT if metric == "psnr" else SHORT // 2
    with Worker("measure", bench.pair() | {"metrics": metric, "frames": frames}) as worker:
        times = in_turn({**jobs, "inside": worker}, bench.rounds)
    first = next(iter(peers))
    answers = _answers(jobs, first, metric)
    for n in (SHORT, LONG):
        for peer in peers:
            yield Row(WHOLE, f"{metric} {n} {peer}", f"{work}, {n:,} frames", rate(times[f"vqmeter {n}"], n), peer,
                      rate(times[f"{peer} {n}"], n), whole.get(n) if peer == first else None,
                      note=answers if peer == first else "")  # fmt: skip
    ours = steady(times[f"vqmeter {LONG}"], times[f"vqmeter {SHORT}"], LONG - SHORT)
    for peer in peers:
        theirs = steady(times[f"{peer} {LONG}"], times[f"{peer} {SHORT}"], LONG - SHORT)
        inside, bounded = rate(times["inside"], frames), (metric, FRAME_BYTES, cores())
        yield Row(STEADY, f"{metric} steady {peer}", f"{work}, frames {SHORT:,} to {LONG:,}", ours, peer, theirs, aims[peer],
                  bound=roofline.by_memory(ours, *bounded))  # fmt: skip
        yield Row(WARM, f"{metric} inside {peer}", work, inside, f"{peer}, steady", theirs, aims[peer], aside=True,
                  bound=roofline.by_memory(inside, *bounded))  # fmt: skip


def _answers(jobs: dict[str, Job], peer: str, metric: str) -> str:
    """What vqmeter and the filter printed, side by side."""
    ours, theirs = jobs[f"vqmeter {SHORT}"], jobs[f"{peer} {SHORT}"]
    assert isinstance(ours, Process) and isinstance(theirs, Process) and ours.last and theirs.last
    read = commands.ffmpeg_psnr if metric == "psnr" else commands.ffmpeg_ssim
    return f"answers: {ours.last.out.strip()} and {read(theirs.last.err)}"


def both(bench: Bench) -> Iterator[Row]:
    """PSNR and SSIM in one go."""
    files = bench.clips.raw("ref"), bench.clips.raw("dist")
    warm(*files)
    graph = "[0:v]split[a][b];[1:v]split[c][d];[a][c]psnr;[b][d]ssim"
    times = in_turn({
        "vqmeter": Process(commands.fr(*files, "psnr,ssim", "ssim_y")),
        "ffmpeg": Process(commands.ffmpeg_filter(*files, graph)),
    }, bench.rounds)  # fmt: skip
    yield Row(WHOLE, "psnr,ssim 300", f"PSNR and SSIM together, {SHORT} frames", rate(times["vqmeter"], SHORT),
              "ffmpeg psnr and ssim, split", rate(times["ffmpeg"], SHORT))  # fmt: skip


def ten_bit(bench: Bench) -> Iterator[Row]:
    """PSNR at 10 bit, steady between a quarter of the clip and all of it."""
    clips, few, pix_fmt = bench.clips, DEEP // 4, "yuv420p10le"
    files = clips.raw("ref", DEEP, 10), clips.raw("dist", DEEP, 10)
    warm(*files)
    jobs: dict[str, Job] = {}
    for n in (few, DEEP):
        jobs[f"vqmeter {n}"] = Process(commands.fr(*files, "psnr", "psnr", frames=n, pix_fmt=pix_fmt))
        jobs[f"ffmpeg {n}"] = Process(commands.ffmpeg_filter(*files, "psnr", frames=n, pix_fmt=pix_fmt))
    run(jobs[f"vqmeter {few}"].argv)  # type: ignore[attr-defined]
    with Worker("measure", bench.pair(DEEP, 10) | {"metrics": "psnr"}) as worker:
        times = in_turn({**jobs, "inside": worker}, bench.rounds)
    inside, theirs = rate(times["inside"], DEEP), steady(times[f"ffmpeg {DEEP}"], times[f"ffmpeg {few}"], DEEP - few)
    yield Row(WHOLE, "psnr 10 bit", f"PSNR, 10 bit, {DEEP} frames", rate(times[f"vqmeter {DEEP}"], DEEP), "ffmpeg psnr",
              rate(times[f"ffmpeg {DEEP}"], DEEP))  # fmt: skip
    yield Row(WARM, "psnr 10 bit inside", "PSNR, 10 bit", inside, "ffmpeg psnr, steady", theirs,
              bound=roofline.by_memory(inside, "psnr", 2 * FRAME_BYTES, cores()))  # fmt: skip


def xpsnr(bench: Bench) -> Iterator[Row]:
    """XPSNR; ffmpeg's filter alone until vqmeter has it."""
    files, frames = (bench.clips.raw("ref"), bench.clips.raw("dist")), 60 if bench.quick else 100
    warm(*files)
    jobs: dict[str, Job] = {"ffmpeg": Process(commands.ffmpeg_filter(*files, "xpsnr", frames=frames))}
    if "xpsnr" in commands.metrics():
        jobs["vqmeter"] = Process(commands.fr(*files, "xpsnr", "xpsnr_y", frames=frames))
    times = in_turn(jobs, bench.rounds)
    ours = rate(times["vqmeter"], frames) if "vqmeter" in times else None
    yield Row(WHOLE, "xpsnr", f"XPSNR, {frames} frames", ours, "ffmpeg xpsnr", rate(times["ffmpeg"], frames))


def libvmaf(bench: Bench) -> Iterator[Row]:
    """libvmaf's SSIM and MS-SSIM beside the nearest of ours, in warm processes."""
    files, quick = (bench.clips.raw("ref"), bench.clips.raw("dist")), bench.quick
    warm(*files)
    listed = commands.metrics()
    cases = [
        ("ssim", "SSIM, luma", "libvmaf float_ssim (scaled down by 4)", "float_ssim", 25 if quick else 100, Target(">=", 4.0)),
        ("ms_ssim", "MS-SSIM, luma", "libvmaf float_ms_ssim", "float_ms_ssim", 4 if quick else 16, Target(">=", 15.0, 25.0)),
    ]  # fmt: skip
    for metric, work, peer, feature, frames, target in cases:
        if quick and metric not in listed:
            continue
        with ExitStack() as stack:
            jobs: dict[str, Job] = {"peer": Process(commands.ffmpeg_filter(*files, commands.libvmaf(feature), frames=frames))}
            if metric in listed:
                options = bench.pair() | {"metrics": metric, "frames": SHORT // 2}
                jobs["vqmeter"] = stack.enter_context(Worker("measure", options))
            times = in_turn(jobs, bench.rounds)
        ours = rate(times["vqmeter"], SHORT // 2) if "vqmeter" in times else None
        yield Row(WARM, f"{metric} libvmaf", work, ours, peer,
                  rate(times["peer"], frames), target, note=f"peer: whole process, {frames} frames")  # fmt: skip


def optional(section: Section) -> Section:
    """A section that tells what failed in it and lets the others go on."""

    def rows(bench: Bench) -> Iterator[Row]:
        try:
            yield from section(bench)
        except PeerError as error:
            yield Row(FAILED, f"{section.__name__} failed", section.__name__, None, note=str(error))

    rows.__name__, rows.__doc__ = section.__name__, section.__doc__
    return rows
