"""In warm processes: vqmeter's API against Python libraries, the later metrics, and H.264 input against bare decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import commands
from clips import RATE, SHORT
from processes import WARM, WHOLE, Bench
from roofline import by_decoding
from rows import Row, Target, known
from timing import Job, PeerError, Process, Spread, Worker, cores, in_turn, rate, warm

#: Metric -> peer, its frames/s on 2 cores of an AMD EPYC (Zen 4), 1080p, measured once elsewhere; frames of ours; target.
KNOWN = {
    "ms_ssim": ("piq 0.8 ms_ssim", 1.8, 60, Target(">=", 40.0)),
    "fsim": ("piq 0.8 fsim", 4.3, 16, Target(">=", 5.0, 8.0)),
    "vsi": ("piq 0.8 vsi", 5.3, 16, Target(">=", 5.0, 8.0)),
    "srsim": ("piq 0.8 srsim", 12.9, 30, Target(">=", 5.0, 8.0)),
}
#: Peer -> its task in worker.py, target.
PYTHON_PEERS: dict[str, tuple[str, Target | None]] = {
    "scikit-image, float64": ("skimage_ssim", Target(">=", 60.0)),
    "torch, 2 threads, as piq does it": ("torch_ssim", None),
    "piq": ("piq_ssim", None),
}
_DECODED = ("psnr", "psnr,ssim")
TOGETHER = ("psnr", "ssim", "ms_ssim", "fsim", "vsi", "srsim")


def python_peers(bench: Bench) -> Iterator[Row]:
    """SSIM of luma against scikit-image, a torch SSIM and piq, frames in memory for them, read from files by us."""
    warm(bench.clips.raw("ref"), bench.clips.raw("dist"))
    files, many, few = bench.pair(), 150, 2
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Worker("measure", files | {"metrics": "ssim", "frames": many}))
        same = stack.enter_context(Worker("measure", files | {"metrics": "ssim", "frames": few}))
        jobs = {"vqmeter": ours}
        for peer, (task, _) in PYTHON_PEERS.items():
            try:
                jobs[peer] = stack.enter_context(Worker(task, files | {"frames": few}))
            except PeerError as error:
                absent[peer] = str(error)
        times = in_turn(jobs, bench.rounds)
        same()
        answers = {peer: f"answers: {same.said['value']:.7f} and {job.said['value']:.7f}" for peer, job in jobs.items()}
    for peer, (_, target) in PYTHON_PEERS.items():
        if peer in absent:
            yield Row("not measured", f"ssim {peer}", "SSIM, luma, Gaussian", None, peer, note=absent[peer])
            continue
        yield Row(WARM, f"ssim inside {peer}", "SSIM, luma, Gaussian", rate(times["vqmeter"], many), peer,
                  rate(times[peer], few), target, note=answers[peer])  # fmt: skip


def classic(bench: Bench) -> Iterator[Row]:
    """Metrics whose Python peer is slow to measure or hard to install: against its known figure."""
    warm(bench.clips.raw("ref"), bench.clips.raw("dist"))
    for metric, (peer, figure, frames, target) in KNOWN.items():
        if metric not in commands.metrics():
            continue
        with Worker("measure", bench.pair() | {"metrics": metric, "frames": frames}) as worker:
            times = in_turn({"vqmeter": worker}, min(3, bench.rounds))
        yield Row(WARM, f"{metric} piq", f"{metric}", rate(times["vqmeter"], frames), peer, known(figure), target,
                  known=True)  # fmt: skip


def together(bench: Bench) -> Iterator[Row]:
    """All classic metrics in one pass over H.264 against one by one: saves the decoding at least."""
    if not commands.metrics().issuperset(TOGETHER):
        return
    frames, every = 24, ",".join(TOGETHER)
    pair = {"ref": str(bench.clips.raw("ref")), "dist": str(bench.clips.mp4), "frames": frames}
    with ExitStack() as stack:
        jobs = {m: stack.enter_context(Worker("measure", pair | {"metrics": m})) for m in (*TOGETHER, every)}
        jobs["decode"] = stack.enter_context(Worker("decode", {"path": str(bench.clips.mp4), "frames": frames}))
        times = in_turn(jobs, 3)
    apart = [sum(seconds) for seconds in zip(*(times[m] for m in TOGETHER), strict=True)]
    saved = Spread.of(a - b for a, b in zip(apart, times[every], strict=True))
    note = f"apart {Spread.of(apart).median:.2f} s, together {Spread.of(times[every]).median:.2f} s"
    yield Row(WARM, "together", f"seconds saved by {len(TOGETHER)} metrics in one pass, H.264, {frames} frames", saved,
              "one bare decoding", Spread.of(times["decode"]), Target(">=", 1.0), unit="s", note=note)  # fmt: skip


def h264(bench: Bench) -> Iterator[Row]:
    """H.264 files of a low and of a high rate against a raw reference, beside decoding that file and nothing else."""
    clips = bench.clips
    ref = clips.raw("ref")
    files = {"": clips.mp4, "high ": clips.high_rate}
    warm(ref, *files.values())
    bare = Process(commands.bare_decoding(clips.mp4))
    with ExitStack() as stack:
        jobs: dict[str, Job] = {"whole vqmeter": Process(commands.fr(ref, clips.mp4, "psnr", "psnr")), "whole bare": bare}
        for kind, path in files.items():
            for name, threads in (("bare", 0), ("bare, more threads", 4 * cores()), ("bare, one thread", 1)):
                jobs[kind + name] = stack.enter_context(Worker("decode", {"path": str(path), "threads": threads}))
            pair = {"ref": str(ref), "dist": str(path)}
            for metrics in _DECODED:
                jobs[kind + metrics] = stack.enter_context(Worker("measure", pair | {"metrics": metrics}))
            jobs[kind + "one thread"] = stack.enter_context(Worker("measure", pair | {"metrics": _DECODED[-1], "threads": 1}))
        times = in_turn(jobs, bench.rounds)
    assert bare.last is not None
    busy = f"bare decoding kept {bare.last.cpu_seconds / bare.last.seconds:.1f} cores busy"
    yield Row(WHOLE, "h264 psnr whole", f"PSNR, H.264 against raw, {SHORT} frames", rate(times["whole vqmeter"], SHORT),
              "bare decoding, PyAV", rate(times["whole bare"], SHORT), note=busy)  # fmt: skip
    for kind, path in files.items():
        alone, most = (rate(times[kind + name], SHORT) for name in ("bare", "bare, more threads"))
        rated = f"H.264 at {path.stat().st_size * 8 * RATE / SHORT / 1e6:.0f} Mb/s"
        for metrics in _DECODED:
            ours = rate(times[kind + metrics], SHORT)
            yield Row(WARM, f"h264 {kind}{metrics}", f"{metrics}, {rated} against raw", ours, "bare decoding, PyAV's threads",
                      alone, Target(">=", 0.9, 0.95), bound=by_decoding(ours, most),
                      note=f"bare decoding with {4 * cores()} threads: {most.median:.0f}")  # fmt: skip
        ours, alone = (rate(times[kind + name], SHORT) for name in ("one thread", "bare, one thread"))
        yield Row(WARM, f"h264 {kind}one thread", f"{_DECODED[-1]}, {rated}, one thread decodes, one measures", ours,
                  "bare decoding, one thread", alone, Target(">=", 0.9, 0.95), bound=by_decoding(ours, alone))  # fmt: skip
