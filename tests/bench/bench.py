"""Side by side: vqmeter and its peers, same files, same run, in turn; one table, kept as JSON.

    python tests/bench/bench.py [--quick] [--only PATTERN] [--rounds N] [--keep] [--readme] [--plots]

It never fails on slowness, only where something could not run. It shows targets beside ratios, and what moved since
the table that is kept.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

import clips
import commands
import footprint
import inprocess
import matrix
import plots
import processes
import roofline
import scaling
import table
from rows import Row
from timing import HERE, cores


def models(bench: processes.Bench) -> Iterator[Row]:
    """VSFA. Imported here, and measured last: it brings torch, which would count as the peak memory of children."""
    import vsfa

    yield from vsfa.models(bench)


SECTIONS: tuple[processes.Section, ...] = (
    processes.psnr, processes.ssim, processes.both, processes.ten_bit, processes.ssim_ffmpeg, processes.xpsnr,
    processes.libvmaf, inprocess.python_peers, inprocess.classic, inprocess.together, inprocess.h264,
    footprint.startup, footprint.memory, roofline.roofline, *matrix.SECTIONS, *scaling.SECTIONS, models,
)  # fmt: skip
_LEFT_OUT = ("both", "ten_bit", "ssim_ffmpeg", "xpsnr", "libvmaf", "together", "models", "roofline", "matrix*", "scaling*")
_GROUPS = (
    processes.WHOLE,
    processes.STEADY,
    processes.WARM,
    footprint.STARTUP,
    footprint.MEMORY,
    matrix.MATRIX,
    scaling.SCALING,
    roofline.MACHINE,
    "not measured",
    processes.FAILED,
)


def main() -> None:
    options = _parse()
    cpu = _cpu()
    path = table.path_for(cpu, cores())
    document, kept = table.load(path)
    if options.readme or options.plots:
        if not document:
            sys.exit(f"nothing is kept for {cpu} yet; run the whole bench first")
        drawn = plots.write(path, kept) if options.plots else sorted(path.parent.glob(f"{path.stem}-*.svg"))
        print(table.readme(document, kept, map(_shown, drawn)) if options.readme else "\n".join(map(_shown, drawn)))
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    bench = processes.Bench(clips.locate(options.cache), options.rounds or (3 if options.quick else 5), options.quick)
    bench.make()
    started = time.perf_counter()
    rows = _measure(bench, options.only)
    about = _about(cpu, bench) | {"load_before": round(load, 2)}
    rows.sort(key=lambda row: _GROUPS.index(row.group))
    seconds = time.perf_counter() - started
    table.show(rows, f"vqmeter at 1080p on {cores()} cores of {cpu}, medians of {bench.rounds}, {seconds:.0f} s in all")
    if load > 0.5:
        print(f"the machine was not idle (load {load:.1f} before the run): mind the spread")
    for line in table.moved(kept, rows):
        print(f"moved: {line}")
    if any(row.group == processes.FAILED for row in rows):
        sys.exit("not kept: not everything could be measured")
    if options.keep or not (options.quick or options.only):
        table.keep(path, about, rows if not options.only else table.merge(kept, rows))
        for written in (path, *plots.write(path, table.load(path)[1])):
            print(f"kept in {_shown(written)}")


def _shown(path: Path) -> str:
    """A path as seen from the checkout."""
    return path.relative_to(HERE.parents[1]).as_posix()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 rounds, fewer sections, no long clip; not kept")
    parser.add_argument("--only", metavar="PATTERN", help="sections of this name (shell pattern); not kept. There are "
                        + ", ".join(section.__name__ for section in SECTIONS))  # fmt: skip
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds a job; 5, or 3 with --quick")
    parser.add_argument("--keep", action="store_true", help="keep the rows even of --quick or --only")
    parser.add_argument("--readme", action="store_true", help="print README's table from what is kept; measure nothing")
    parser.add_argument("--plots", action="store_true", help="draw the plots from what is kept; measure nothing")
    parser.add_argument("--cache", type=Path, default=HERE.parents[1] / ".bench", metavar="DIR",
                        help="where the clips lie, about 14 GB; default .bench in the checkout")  # fmt: skip
    return parser.parse_args()


def _measure(bench: processes.Bench, pattern: str | None) -> list[Row]:
    rows: list[Row] = []
    for section in SECTIONS:
        name = section.__name__
        if fnmatch(name, pattern) if pattern else not (bench.quick and any(fnmatch(name, left) for left in _LEFT_OUT)):
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


def _about(cpu: str, bench: processes.Bench) -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in ("vqmeter", "numpy", "numba", "av", "torch", "scikit-image")}
    return {
        "date": datetime.date.today().isoformat(), "rounds": bench.rounds, "quick": bench.quick,
        "matrix_rounds": min(matrix.ROUNDS, bench.rounds),
        "machine": {"cpu": cpu, "cores": cores(), "system": platform.system(), "arch": platform.machine()},
        "versions": {"python": platform.python_version(), "ffmpeg": commands.ffmpeg_version(), **versions},
    }  # fmt: skip


if __name__ == "__main__":
    main()
