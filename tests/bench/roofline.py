"""What bounds the rows on this machine, measured in the same run: memory bandwidth, bare decoding, a matrix product's FLOP/s.

A metric over raw files must at least bring every byte of them through memory once; one over coded files must at least
decode them; a network must at least do its multiplications. The best of five rounds is the bound. Reading the files by
position, which copies each frame out of the page cache, lies below memory bandwidth and is told beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from clips import FRAME_BYTES, SHORT
from rows import Bound, Row
from timing import Spread, Worker, cores, in_turn, warm

if TYPE_CHECKING:
    from processes import Bench

MACHINE = "the machine itself"
_ROUNDS = 5
_MIB = 1024  # of the array that is read
_SIDE = 2048  # of the matrices
_LUMA_ALONE = ("ssim", "ms_ssim")
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def roofline(bench: Bench) -> Iterator[Row]:
    """The bounds by themselves, with one thread and with all."""
    pair = {role: str(bench.clips.raw(role)) for role in ("ref", "dist")}
    warm(bench.clips.raw("ref"), bench.clips.raw("dist"))
    for threads in sorted({1, cores()}):
        reading = {**pair, "block": FRAME_BYTES, "frames": SHORT, "threads": threads}
        found = {
            "reading an array": (bandwidth(threads), "GB/s"),
            "reading two files by position": (_measured("read_file", reading, 2 * FRAME_BYTES * SHORT), "GB/s"),
            **{f"matrices of torch, {name}": (peak(name, threads), "GFLOP/s") for name in DTYPES},
        }
        for what, (value, unit) in found.items():
            yield Row(MACHINE, f"roofline {what} {threads}", f"threads: {threads}", None, what, value, unit=unit)


@cache
def bandwidth(threads: int) -> Spread:
    """GB/s of adding up a large array."""
    return _measured("read_memory", {"mib": _MIB, "threads": threads}, _MIB << 20)


@cache
def peak(precision: str, threads: int) -> Spread:
    """GFLOP/s of multiplying large matrices."""
    options = {"side": _SIDE, "dtype": DTYPES[precision], "threads": threads}
    return _measured("matmul", options, 2 * _SIDE**3)


def _measured(task: str, options: Mapping[str, Any], amount: int) -> Spread:
    with Worker(task, options, options["threads"]) as worker:
        return Spread.of(amount / seconds / 1e9 for seconds in in_turn({task: worker}, _ROUNDS)[task])


def by_memory(ours: Spread | None, metric: str, frame_bytes: int, threads: int) -> Bound | None:
    """Of a metric over two raw files of so many bytes a 4:2:0 frame; some need two thirds of them."""
    best, needed = bandwidth(threads).high, 2 * frame_bytes * (2 / 3 if metric in _LUMA_ALONE else 1)
    return Bound("memory", best, ours.median * needed / 1e9 / best) if ours else None


def by_decoding(ours: Spread | None, bare: Spread) -> Bound | None:
    """Of a metric over a coded file, `bare` the frames/s of decoding it with the same threads."""
    return Bound("decoding", bare.median, ours.median / bare.median) if ours else None


def by_flops(ours: Spread | None, frame_flops: float, precision: str, threads: int) -> Bound | None:
    """Of a network that takes so many operations a frame, two a multiplication."""
    best = peak(precision, threads).high
    return Bound("flops", best, ours.median * frame_flops / 1e9 / best) if ours else None
