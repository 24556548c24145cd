"""Sum of squared errors between two planes, exact in integers.

    SSE = sum over y, x of (ref[y, x] - dist[y, x])^2

Blocks of samples are summed in 32 bits, which vectorises, and folded into 64. An 8-bit square is below 2^16, so a
block's sum stays below 2^31. A 16-bit square fills 32 bits: its halves are summed apart.
"""

import numba
import numpy as np

BLOCK = 4096  # samples: BLOCK * 65535 < 2^31 bounds both the 8-bit squares and the 16-bit halves


@numba.njit(nogil=True, cache=True)
def sse(refs: tuple[np.ndarray, ...], dists: tuple[np.ndarray, ...], widths: tuple[int, ...]) -> np.ndarray:
    """Exact sums (planes,) int64 of squared errors over the first columns of `(h, pitch)` uint8 or uint16 planes.

    All planes of a frame in one call: each call that lets go of the interpreter has to wait for it again.
    """
    totals = np.zeros(len(refs), np.int64)
    for plane in range(len(refs)):
        totals[plane] = _plane(refs[plane], dists[plane], widths[plane])
    return totals


@numba.njit(nogil=True, cache=True)
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


@numba.njit(nogil=True, cache=True)
def _block8(ref, dist):
    total = np.int32(0)
    for i in range(ref.size):
        error = np.int32(ref[i]) - np.int32(dist[i])
        total = np.int32(total + np.int32(error * error))
    return np.int64(total)


@numba.njit(nogil=True, cache=True)
def _block16(ref, dist):
    low, high = np.uint32(0), np.uint32(0)
    for i in range(ref.size):
        error = np.int32(ref[i]) - np.int32(dist[i])
        square = np.uint32(error * error)
        low = np.uint32(low + (square & np.uint32(0xFFFF)))
        high = np.uint32(high + (square >> np.uint32(16)))
    return (np.int64(high) << 16) + np.int64(low)
