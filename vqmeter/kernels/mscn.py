"""Mean-subtracted, contrast-normalised (MSCN) samples of a picture, pictures at half size, and sums over MSCN blocks.

    mscn = (x - mu) / (sigma + 1),  mu = G * x,  sigma^2 = G * x^2 - mu^2

G is a 7x7 Gaussian of sigma 7/6, x is 0..255. With weights w of the window, mu = x + sum over k of
w[k] (x[-k] + x[k] - 2 x), one way and then the other: where a window is flat, mu is x and the quotient 0 to the last
bit. Squares are of x less the middle of the scale, for which float32 is enough.

`moments` sums |v|, v^2 and v|v| and counts v > 0 and v < 0, of v = m and of the products of m with its neighbour to the
left, above, upper left and lower left. Neighbours go round the block: the one left of the first column is in the last.

Pictures are C-contiguous (h, w) float32 arrays without padding.

Source: Mittal, Moorthy, Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", IEEE TIP 21(12), 2012,
doi:10.1109/TIP.2012.2214050; that neighbours go round is in the authors' program alone.
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

RADIUS = 3
_gauss = np.exp(-0.5 * (np.arange(RADIUS + 1) / (7 / 6)) ** 2)
WEIGHTS = (_gauss / (2 * _gauss.sum() - 1)).astype(np.float32)  # the middle one is never used
HALF = np.array([111, 29, -9, -3], np.float32) / np.float32(256)  # Keys's cubic, a = -1/2, at (k + 1/2) / 2, of sum 1/2
MIDDLE = np.float32(127.5)
SIGNALS, SUMS = 5, 5


def mscn(picture: np.ndarray, deviation: np.ndarray | None) -> np.ndarray:
    """MSCN samples of a `(h + 6, w + 6)` picture with a margin of 3 samples all round.

    `deviation`, (h, w) float32, is filled with sigma unless it is None.

    Returns
        `(h, w)` float32.
    """
    height, width = picture.shape
    out = np.empty((height - 2 * RADIUS, width - 2 * RADIUS), np.float32)
    none = np.empty((0, 0), np.float32)
    _mscn(picture, *np.empty((2, width), np.float32), none if deviation is None else deviation, out)
    return out


@compiled
def _mscn(picture, mean, square, deviation, out):
    for y in range(out.shape[0]):
        middle = picture[y + RADIUS]
        _begin(middle, mean, square)
        for k in range(1, RADIUS + 1):
            _add_rows(picture[y + RADIUS - k], middle, picture[y + RADIUS + k], WEIGHTS[k], mean, square)
        _normalise(middle[RADIUS:], mean, square, out[y])
        if deviation.size:
            _deviate(mean, square, deviation[y])


@compiled(fastmath={"contract"})
def _begin(row, mean, square):
    for x in range(row.size):
        v = row[x] - MIDDLE
        mean[x] = v
        square[x] = v * v


@compiled(fastmath={"contract"})
def _add_rows(above, middle, below, weight, mean, square):
    for x in range(middle.size):
        a, b, v = above[x] - MIDDLE, below[x] - MIDDLE, middle[x] - MIDDLE
        mean[x] += weight * ((a + b) - (v + v))
        square[x] += weight * ((a * a + b * b) - np.float32(2) * (v * v))


@compiled(fastmath={"contract"})
def _across(v, x):
    """The window along seven samples from `x` on."""
    twice = v[x + 3] + v[x + 3]
    near, far = (v[x + 2] + v[x + 4]) - twice, (v[x + 1] + v[x + 5]) - twice
    return v[x + 3] + (WEIGHTS[3] * ((v[x] + v[x + 6]) - twice) + WEIGHTS[2] * far + WEIGHTS[1] * near)


@compiled(fastmath={"contract"})
def _moments_at(mean, square, x):
    """Mean, less the middle of the scale, and deviation of a window."""
    mu = _across(mean, x)
    return mu, np.sqrt(max(_across(square, x) - mu * mu, np.float32(0)))


@compiled(error_model="numpy", fastmath={"contract"})
def _normalise(row, mean, square, out):
    for x in range(out.size):
        mu, sigma = _moments_at(mean, square, x)
        out[x] = (row[x] - MIDDLE - mu) / (sigma + np.float32(1))


@compiled(fastmath={"contract"})
def _deviate(mean, square, out):
    for x in range(out.size):
        out[x] = _moments_at(mean, square, x)[1]


def half(picture: np.ndarray) -> np.ndarray:
    """A picture at half its size by MATLAB's antialiased bicubic, `imresize(x, 0.5)` without rounding; borders mirrored.

    Sides are 4 samples at least: unchecked.

    Returns
        `(ceil(h / 2), ceil(w / 2))` float32.
    """
    height, width = picture.shape
    out = np.empty((-(-height // 2), -(-width // 2)), np.float32)
    _half(picture, np.empty(2 * out.shape[1] + 6, np.float32), out)
    return out


@compiled
def _half(picture, row, out):
    height, width = picture.shape
    for y in range(out.shape[0]):
        row[:] = 0
        for k in range(4):
            above, below = picture[_mirror(2 * y - k, height)], picture[_mirror(2 * y + 1 + k, height)]
            _add_pair(above, below, HALF[k], row[3 : 3 + width])
        for k in range(3):
            row[2 - k] = row[3 + k]
        for k in range(row.size - 3 - width):
            row[3 + width + k] = row[2 + width - k]
        _halve(row, out[y])


@compiled
def _mirror(y, height):
    """Which row lies at `y`, the border rows doubled."""
    return -1 - y if y < 0 else 2 * height - 1 - y if y >= height else y


@compiled(fastmath={"contract"})
def _add_pair(above, below, weight, row):
    for x in range(row.size):
        row[x] += weight * (above[x] + below[x])


@compiled(fastmath={"contract"})
def _halve(row, out):
    for x in range(out.size):
        at = 2 * x
        far = HALF[3] * (row[at] + row[at + 7]) + HALF[2] * (row[at + 1] + row[at + 6])
        out[x] = far + (HALF[1] * (row[at + 2] + row[at + 5]) + HALF[0] * (row[at + 3] + row[at + 4]))


def moments(samples: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sums over the blocks of `height` x `width` that fit into `(h, w)` MSCN samples, row by row.

    Returns
        `(blocks, 5, 5)` float64: of m and the products with the left, upper, upper left and lower left neighbour,
        the sums of |v|, v^2 and v|v| and the numbers of v > 0 and v < 0.
    """
    out = np.zeros((samples.shape[0] // height * (samples.shape[1] // width), SIGNALS, SUMS))
    _moments(samples, height, width, np.ones(width, np.float32), out)
    return out


@compiled
def _moments(samples, height, width, ones, out):
    across = samples.shape[1] // width
    for block in range(out.shape[0]):
        top, left = block // across * height, block % across * width
        above = samples[top + height - 1, left : left + width]
        for y in range(top, top + height):
            row = samples[y, left : left + width]
            _sum(row, ones, out[block, 0])
            _sum_shifted(row, row, out[block, 1])
            _sum(row, above, out[block, 2])
            _sum_shifted(row, above, out[block, 3])
            _sum_shifted(above, row, out[block, 4])
            above = row


@compiled
def _sum_shifted(row, other, sums):
    """Of the products of `row` with what lies left of it in `other`."""
    _sum(row[1:], other[:-1], sums)
    _sum(row[:1], other[-1:], sums)


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _sum(a, b, sums):
    zero, one = np.float32(0), np.float32(1)
    total = square = signed = positive = negative = zero
    for x in range(a.size):
        v = a[x] * b[x]
        size = abs(v)
        total += size
        square += v * v
        signed += v * size
        positive += one if v > zero else zero
        negative += one if v < zero else zero
    sums[0] += total
    sums[1] += square
    sums[2] += signed
    sums[3] += positive
    sums[4] += negative
