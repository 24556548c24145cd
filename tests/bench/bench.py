"""Side by side: vqmeter and its peers, same files, same run, in turn; one table, kept as JSON.

    python tests/bench/bench.py [--quick] [--only PATTERN] [--rounds N] [--keep] [--readme]

It never fails on slowness, only where something could not run. It shows targets beside ratios, and what moved since
the table that is kept.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import clips
import commands
import footprint
import inprocess
import processes
import table
import vsfa
from rows import Row
from timing import HERE

SECTIONS = (
    processes.psnr, processes.ssim, processes.both, processes.ten_bit, processes.ssim_ffmpeg, processes.xpsnr,
    processes.libvmaf, inprocess.python_peers, inprocess.classic, inprocess.together, inprocess.h264,
    vsfa.models, footprint.startup, footprint.memory,
)  # fmt: skip
_LEFT_OUT = ("both", "ten_bit", "ssim_ffmpeg", "xpsnr", "libvmaf", "together", "models")  # by --quick, unless named
_GROUPS = (
    processes.WHOLE,
    processes.STEADY,
    processes.WARM,
    footprint.STARTUP,
    footprint.MEMORY,
    "not measured",
    processes.FAILED,
)


def main() -> None:
    options = _parse()
    cpu, cores = _cpu(), _cores()
    path = table.path_for(cpu, cores)
    document, kept = table.load(path)
    if options.readme:
        if not document:
            sys.exit(f"nothing is kept for {cpu} yet; run the whole bench first")
        print(table.readme(document, kept))
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    made = clips.locate(options.cache)
    subprocess.run([sys.executable, str(HERE / "clips.py"), str(made.folder)], check=True)
    started = time.perf_counter()
    bench = processes.Bench(made, options.rounds or (3 if options.quick else 5), options.quick)
    rows = _measure(bench, options.only)
    about = _about(cpu, cores, bench) | {"load_before": round(load, 2)}
    rows.sort(key=lambda row: _GROUPS.index(row.group))
    seconds = time.perf_counter() - started
    table.show(rows, f"vqmeter at 1080p on {cores} cores of {cpu}, medians of {bench.rounds}, {seconds:.0f} s in all")
    if load > 0.5:
        print(f"the machine was not idle (load {load:.1f} before the run): mind the spread")
    for line in table.moved(kept, rows):
        print(f"moved: {line}")
    if any(row.group == processes.FAILED for row in rows):
        sys.exit("not kept: not everything could be measured")
    if options.keep or not (options.quick or options.only):
        table.keep(path, about, rows if not options.only else table.merge(kept, rows))
        print(f"kept in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 rounds, fewer sections, no long clip; not kept")
    parser.add_argument("--only", metavar="PATTERN", help="sections of this name (shell pattern); not kept. There are "
                        + ", ".join(section.__name__ for section in SECTIONS))  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds a job; 5, or 3 with --quick")
    parser.add_argument("--keep", action="store_true", help="keep the rows even of --quick or --only")
    parser.add_argument("--readme", action="store_true", help="print README's table from what is kept; measure nothing")
    parser.add_argument("--cache", type=Path, default=HERE.parents[1] / ".bench", metavar="DIR",
                        help="where the clips lie, about 11 GB; default .bench in the checkout")  # fmt: skip
    return parser.parse_args()


def _measure(bench: processes.Bench, pattern: str | None) -> list[Row]:
    rows: list[Row] = []
    for section in SECTIONS:
        name = section.__name__
        if fnmatch(name, pattern) if pattern else not (bench.quick and name in _LEFT_OUT):
            started = time.perf_counter()
            rows += processes.optional(section)(bench)
            print(f"{section.__name__}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return rows


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _about(cpu: str, cores: int, bench: processes.Bench) -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in ("vqmeter", "numpy", "numba", "av", "torch", "scikit-image")}
    return {
        "date": datetime.date.today().isoformat(), "rounds": bench.rounds, "quick": bench.quick,
        "machine": {"cpu": cpu, "cores": cores, "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version(), "ffmpeg": commands.ffmpeg_version(), **versions},
    }  # fmt: skip


if __name__ == "__main__":
    main()
