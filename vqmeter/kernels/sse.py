"""Sum of squared errors between two planes, exact in integers.

    SSE = sum over y, x of (ref[y, x] - dist[y, x])^2

Blocks of samples are summed in 32 bits, which vectorises, and folded into 64. An 8-bit square is below 2^16, so a
block's sum stays below 2^31. A 16-bit square fills 32 bits: its halves are summed apart.
"""

from collections.abc import Sequence

import numpy as np

from vqmeter.kernels.compiled import compiled

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


@compiled
def _plane(ref, dist, width):
    total = np.int64(0)
    for y in range(ref.shape[0]):
        for start in range(0, width, BLOCK):
            stop = min(start + BLOCK, width)
            if ref.itemsize == 1:  # decided at compilation
                total += _block8(ref[y, start:stop], dist[y, start:stop])
            else:
                total += _block16(ref[y, start:stop], dist[y, start:stop])
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
