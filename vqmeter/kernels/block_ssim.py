"""SSIM in 8x8 blocks, one every four samples each way, with the integers of FFmpeg's ssim filter.

With sums over the N = 64 samples of a block,

    SSIM = (2 Sx Sy + C1) (2 (N Sxy - Sx Sy) + C2) / ((Sx^2 + Sy^2 + C1) (N (Sxx + Syy) - Sx^2 - Sy^2 + C2))

with C1 = (0.01 peak)^2 N and C2 = (0.03 peak)^2 N (N - 1), rounded to integers; the four factors are integers, and
become float32 for the quotient. C1 is N times smaller than Wang's would be in these units: that is how FFmpeg, and x264
before it, have it.

Order of work. The sums of 4x4 squares are made once, four rows at a time, in strips of constant pitch (LLVM gives up on
more alias checks), then any two rows of two squares make a block. 8-bit samples fit in 32-bit integers, up to 16 bits in
64. x and y share an integer, one in each half.

Quotients are summed as FFmpeg does, or its last digit would differ in one value of a hundred: in float64 for 8 bits,
above that in float32 along a row, from the left. (Found by comparing both with its logs.)
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

SQUARE = 4
BLOCK = 2 * SQUARE
SAMPLES = BLOCK * BLOCK
PITCH = 1024  # columns in a strip

_SQUARES, _PRODUCT = np.uint64(PITCH), np.uint64(2 * PITCH)


def block_ssim(ref: np.ndarray, dist: np.ndarray, width: int, depth: int) -> float:
    """Mean of two `(h, pitch)` uint8 or uint16 planes of `depth` bits, in [-1, 1]; 1 for equal planes, exactly.

    Only the first `width` columns count; what is left over of them and of the rows by 4 does not. `h` and `width` must
    be 8 at least: unchecked.
    """
    c1, c2 = constants(depth)
    integer, across = np.int32 if ref.itemsize == 1 else np.int64, width // SQUARE
    squares = np.empty((2, 3, across), integer)
    return float(_mean(ref, dist, width, c1, c2, np.empty(3 * PITCH, integer), *squares, np.empty(across - 1, np.float32)))


def constants(depth: int) -> tuple[int, int]:
    """C1 and C2 of samples of `depth` bits."""
    peak = (1 << depth) - 1
    return int(0.01 * 0.01 * peak * peak * SAMPLES + 0.5), int(0.03 * 0.03 * peak * peak * SAMPLES * (SAMPLES - 1) + 0.5)


@compiled
def _mean(ref, dist, width, c1, c2, columns, above, below, row):
    across, down = width // SQUARE, ref.shape[0] // SQUARE
    c1, c2 = columns.dtype.type(c1), columns.dtype.type(c2)
    total = 0.0
    for i in range(down):
        above, below = below, above
        for left in range(0, across, PITCH // SQUARE):
            right = min(left + PITCH // SQUARE, across)
            _columns(ref[i * SQUARE :], dist[i * SQUARE :], left * SQUARE, right * SQUARE, columns)
            for k in range(3):
                _fours(columns[k * PITCH :], below[k, left:right])
        if i:
            _similarities(above, below, c1, c2, row)
            total += _sum64(row) if ref.itemsize == 1 else _sum32(row)
    return total / ((across - 1) * (down - 1))


@compiled
def _columns(ref, dist, start, stop, sums):
    """Sums down the first four rows. Eight rows and one array of sums: as many alias checks as LLVM makes."""
    integer, shift = sums.dtype.type, sums.itemsize * 4
    row0, row1, row2, row3 = ref[0, start:stop], ref[1, start:stop], ref[2, start:stop], ref[3, start:stop]
    other0, other1, other2, other3 = dist[0, start:stop], dist[1, start:stop], dist[2, start:stop], dist[3, start:stop]
    for x in range(row0.size):
        i = np.uint64(x)
        a, b, c, d = integer(row0[x]), integer(row1[x]), integer(row2[x]), integer(row3[x])
        e, f, g, h = integer(other0[x]), integer(other1[x]), integer(other2[x]), integer(other3[x])
        sums[i] = (a + b + c + d) + ((e + f + g + h) << shift)
        sums[i + _SQUARES] = a * a + b * b + c * c + d * d + e * e + f * f + g * g + h * h
        sums[i + _PRODUCT] = a * e + b * f + c * g + d * h


@compiled
def _fours(columns, out):
    for j in range(out.size):
        out[j] = columns[4 * j] + columns[4 * j + 1] + columns[4 * j + 2] + columns[4 * j + 3]


@compiled(error_model="numpy")
def _similarities(above, below, c1, c2, out):
    """SSIM of the blocks of two rows of squares."""
    integer, shift = above.dtype.type, above.itemsize * 4
    for j in range(out.size):
        packed = integer(above[0, j] + above[0, j + 1] + below[0, j] + below[0, j + 1])
        squares = integer(above[1, j] + above[1, j + 1] + below[1, j] + below[1, j + 1])
        product = integer(above[2, j] + above[2, j + 1] + below[2, j] + below[2, j + 1])
        b = integer(packed >> shift)
        a = integer(packed - (b << shift))
        ab, aabb = integer(a * b), integer(a * a + b * b)
        covariance, variance = integer(SAMPLES * product - ab), integer(SAMPLES * squares - aabb)
        over = np.float32(integer(2 * ab + c1)) * np.float32(integer(2 * covariance + c2))
        under = np.float32(integer(aabb + c1)) * np.float32(integer(variance + c2))
        out[j] = over / under


@compiled(fastmath={"reassoc"})
def _sum64(values):
    total = 0.0
    for value in values:
        total += value
    return total


@compiled
def _sum32(values):
    total = np.float32(0)
    for value in values:
        total += value
    return float(total)
