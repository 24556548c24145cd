"""What vqmeter costs before the first frame, and in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import commands
from clips import FRAME_BYTES, HUGE, SHORT, make_huge
from processes import Bench
from rows import Row, Target
from timing import Process, Spread, in_turn, run

STARTUP = "start-up"
MEMORY = "memory"
_WATCHED = ("numpy", "av", "numba", "scipy", "skimage", "rich", "tqdm", "torch")


def startup(bench: Bench) -> Iterator[Row]:
    """Help, and a comparison of two 64x64 frames with everything compiled before."""
    clips = bench.clips
    tiny = commands.fr(clips.tiny("ref"), clips.tiny("dist"), "psnr,ssim", "ssim_y", size="64x64")
    table = tiny[: tiny.index("--score")]
    run(tiny)
    jobs = {
        "help": Process(commands.vqmeter("--help")), "tiny": Process(tiny), "table": Process(table),
        "python": Process([sys.executable, "-c", "pass"]),
        "floor": Process([sys.executable, "-c", "import click, numpy, av, numba"]),
    }  # fmt: skip
    times = {name: Spread.of(seconds) for name, seconds in in_turn(jobs, max(5, bench.rounds)).items()}
    under = {"help": Target("<=", 0.2, on="value"), "tiny": Target("<=", 0.9, 0.6, on="value"), "table": None}
    works = {
        "help": "vqmeter --help",
        "tiny": "vqmeter fr, two frames of 64x64, one number",
        "table": "the same, its table",
    }
    bare = {"help": ("python -c pass", "python"), "tiny": ("import click, numpy, av, numba", "floor")}
    bare["table"] = bare["tiny"]
    argvs = {"help": commands.vqmeter("--help"), "tiny": tiny, "table": table}
    for name, target in under.items():
        seen = " ".join(commands.imports(argvs[name], _WATCHED)) or "none of the large packages"
        yield Row(STARTUP, name, works[name], times[name], bare[name][0], times[bare[name][1]], target, unit="s",
                  note=f"imports {seen}")  # fmt: skip


def memory(bench: Bench) -> Iterator[Row]:
    """Peak memory of psnr,ssim at 1080p, and how much ten times the length adds."""
    clips = bench.clips
    short = run(commands.fr(clips.raw("ref"), clips.raw("dist"), "psnr,ssim", "ssim_y")).peak_mib
    yield Row(MEMORY, "peak 300", f"psnr,ssim at 1080p, {SHORT} frames", _point(short), target=Target("<=", 400, on="value"),
              unit="MiB")  # fmt: skip
    if bench.quick:
        return
    huge = [make_huge(clips, role) for role in ("ref", "dist")]
    try:
        long = run(commands.fr(huge[0], huge[1], "psnr,ssim", "ssim_y")).peak_mib
    finally:
        for path in huge:
            path.unlink()
    yield Row(MEMORY, "peak 3000", f"psnr,ssim at 1080p, {HUGE:,} frames", _point(long), unit="MiB",
              note=f"two files of {HUGE * FRAME_BYTES / 1e9:.0f} GB, mostly holes")  # fmt: skip
    yield Row(MEMORY, "growth", "added by ten times the length", _point((long / short - 1) * 100),
              target=Target("<=", 5, on="value"), unit="%")  # fmt: skip


def _point(value: float) -> Spread:
    return Spread(value, value, value)
