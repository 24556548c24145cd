"""Sum of squared errors between two planes, exact in integers.

    SSE = sum over y, x of (ref[y, x] - dist[y, x])^2

Blocks of samples are summed in 32 bits, which vectorises, and folded into 64. An 8-bit square is below 2^16, so a
block's sum stays below 2^31. A 16-bit square fills 32 bits: its halves are summed apart.
"""

from collections.abc import Sequence

import numpy as np

from vqmeter.frames import Part
from vqmeter.kernels.compiled import Library, compiled

_pread = Library("pread", "int64(int32, uintp, uintp, int64)")
_AT_ONCE = 1 << 20  # bytes: a call to the system takes a microsecond, and what was read is still in the caches
BLOCK = 4096  # samples: BLOCK * 65535 < 2^31 bounds both the 8-bit squares and the 16-bit halves


def sse(refs: Sequence[np.ndarray], dists: Sequence[np.ndarray], widths: Sequence[int]) -> np.ndarray:
    """Exact sums (planes,) int64 of squared errors over the first columns of `(h, pitch)` uint8 or uint16 planes.

    All planes of a frame, three at most, in one call: each call that lets go of the interpreter has to wait for it again.
    """
    totals = np.empty(3, np.int64)
    planes = [*zip(refs, dists, widths, strict=True), *[(refs[0][:0], dists[0][:0], 0)] * (3 - len(refs))]
    _planes(*planes[0], *planes[1], *planes[2], totals)
    return totals[: len(refs)]


@compiled
def _planes(ref0, dist0, width0, ref1, dist1, width1, ref2, dist2, width2, totals):
    totals[0] = _plane(ref0, dist0, width0)
    totals[1] = _plane(ref1, dist1, width1)
    totals[2] = _plane(ref2, dist2, width2)


def sse_reading(ref: Part, dist: Part, sizes: Sequence[int]) -> np.ndarray | None:
    """The same of two parts of files, which are read into their buffers on the way; None where they end too early.

    `sizes` are the samples of each plane, one after another in both. No call of Python's comes between: two threads that read
    and sum by turns wait for the interpreter more often than they work.
    """
    totals = np.zeros(len(sizes), np.int64)
    words = [word for part in (ref, dist) for word in (part.file, part.at, part.samples.ctypes.data, part.samples)]
    return totals if _read_planes(*words, np.array(sizes, np.int64), totals) else None


@compiled
def _read_planes(ref_file, ref_at, ref_address, ref, dist_file, dist_at, dist_address, dist, sizes, totals):
    """1, or 0 where a file has less than was asked for."""
    start = 0
    for plane in range(sizes.size):
        end = start + sizes[plane]
        while start < end:
            stop = min(end, start + _AT_ONCE // ref.itemsize)
            at, size = start * ref.itemsize, (stop - start) * ref.itemsize
            if _pread(np.int32(ref_file), np.uintp(ref_address + at), np.uintp(size), ref_at + at) != size:
                return 0
            if _pread(np.int32(dist_file), np.uintp(dist_address + at), np.uintp(size), dist_at + at) != size:
                return 0
            totals[plane] += _run(ref[start:stop], dist[start:stop])
            start = stop
    return 1


@compiled
def _plane(ref, dist, width):
    total = np.int64(0)
    for y in range(ref.shape[0]):
        total += _run(ref[y, :width], dist[y, :width])
    return total


@compiled
def _run(ref, dist):
    total = np.int64(0)
    for start in range(0, ref.size, BLOCK):
        stop = min(start + BLOCK, ref.size)
        if ref.itemsize == 1:  # decided at compilation
            total += _block8(ref[start:stop], dist[start:stop])
        else:
            total += _block16(ref[start:stop], dist[start:stop])
    return total


@compiled
def _block8(ref, dist):
    total = np.int32(0)
    for i in range(ref.size):
        error = np.int32(ref[i]) - np.int32(dist[i])
        total = np.int32(total + np.int32(error * error))
    return np.int64(total)


@compiled
def _block16(ref, dist):
    low, high = np.uint32(0), np.uint32(0)
    for i in range(ref.size):
        error = np.int32(ref[i]) - np.int32(dist[i])
        square = np.uint32(error * error)
        low = np.uint32(low + (square & np.uint32(0xFFFF)))
        high = np.uint32(high + (square >> np.uint32(16)))
    return (np.int64(high) << 16) + np.int64(low)
