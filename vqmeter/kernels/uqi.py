"""Universal quality index of two planes, exact in integers up to the last quotient.

With sums over a window of N = 64 samples, Q = 4 (N Sxy - Sx Sy) Sx Sy / ((N (Sxx + Syy) - Sx^2 - Sy^2) (Sx^2 + Sy^2)).

Where both pictures are flat in a window, its first factor is 0 / 0 and counts as 1; where both are black, so does the
second. Both are told by integers, so no rounding can make a small number of a zero and explode.

Order of work. A strip of columns keeps three running sums a column, of the last eight rows: x and y packed into the
halves of one integer, x^2 + y^2, and xy. Windows add eight neighbours. 8-bit samples fit in 32-bit integers throughout,
up to 16 bits in 64. The sums lie in one array a constant distance apart, else LLVM gives up on alias checks.
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

WINDOW = 8
MARGIN = WINDOW - 1
SAMPLES = WINDOW * WINDOW
PITCH = 1024  # columns in a strip

_SQUARES, _PRODUCT = np.uint64(PITCH), np.uint64(2 * PITCH)


def uqi(ref: np.ndarray, dist: np.ndarray, width: int) -> float:
    """Mean index of two `(h, pitch)` uint8 or uint16 planes, in [-1, 1]; 1 for equal planes, exactly.

    Only the first `width` columns count. `h` and `width` must be 8 at least: unchecked.
    """
    return float(_mean(ref, dist, width, np.empty(3 * PITCH, np.int32 if ref.itemsize == 1 else np.int64)))


@compiled
def _mean(ref, dist, width, sums):
    loss = 0.0
    for left in range(0, width - MARGIN, PITCH - MARGIN):
        right = min(left + PITCH, width)
        sums[:] = 0
        for y in range(ref.shape[0]):
            a, b = ref[y, left:right], dist[y, left:right]
            if y < WINDOW:
                _enter(a, b, sums)
            else:
                _move(a, b, ref[y - WINDOW, left:right], dist[y - WINDOW, left:right], sums)
            if y >= MARGIN:
                loss += _losses(sums, right - left - MARGIN)
    return 1 - loss / ((ref.shape[0] - MARGIN) * (width - MARGIN))


@compiled
def _enter(ref, dist, sums):
    integer, shift = sums.dtype.type, sums.itemsize * 4
    for x in range(ref.size):
        i, a, b = np.uint64(x), integer(ref[x]), integer(dist[x])
        sums[i] += a + (b << shift)
        sums[i + _SQUARES] += a * a + b * b
        sums[i + _PRODUCT] += a * b


@compiled
def _move(ref, dist, old_ref, old_dist, sums):
    """Enter a row and drop that of eight rows before."""
    integer, shift = sums.dtype.type, sums.itemsize * 4
    for x in range(ref.size):
        i, a, b, c, d = np.uint64(x), integer(ref[x]), integer(dist[x]), integer(old_ref[x]), integer(old_dist[x])
        sums[i] += (a - c) + ((b - d) << shift)
        sums[i + _SQUARES] += (a * a + b * b) - (c * c + d * d)
        sums[i + _PRODUCT] += a * b - c * d


@compiled(error_model="numpy", fastmath={"reassoc"})
def _losses(sums, n):
    """The sum of 1 - Q over the `n` windows of a row."""
    integer, shift = sums.dtype.type, sums.itemsize * 4
    loss = np.float32(0)
    for x in range(n):
        i = np.uint64(x)
        packed, squares, product = _eight(sums, i), _eight(sums, i + _SQUARES), _eight(sums, i + _PRODUCT)
        b = integer(packed >> shift)
        a = integer(packed - (b << shift))
        ab, aabb = integer(a * b), integer(a * a + b * b)
        covariance, variance = integer(SAMPLES * product - ab), integer(SAMPLES * squares - aabb)
        flat, black = integer(variance == 0), integer(aabb == 0)
        above = np.float32(integer(2 * covariance + flat)) * np.float32(integer(2 * ab + black))
        below = np.float32(integer(variance + flat)) * np.float32(integer(aabb + black))
        loss += np.float32(1) - above / below
    return loss


@compiled
def _eight(v, i):
    u = np.uint64
    total = v[i] + v[i + u(1)] + v[i + u(2)] + v[i + u(3)] + v[i + u(4)] + v[i + u(5)] + v[i + u(6)] + v[i + u(7)]
    return v.dtype.type(total)
