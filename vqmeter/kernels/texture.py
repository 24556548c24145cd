"""Texture in blocks and change in time: sums over squares of a luma plane, from which features of quality are made.

With differences to the right and below, dx = x[i, j+1] - x[i, j] and dy = x[i+1, j] - x[i, j], and their mixed one
d = x[i+1, j+1] - x[i+1, j] - x[i, j+1] + x[i, j], a block has

    edges = sum dx^2 + dy^2,    mixed = sum d^2,    still = how many samples have dx^2 + dy^2 below a limit

Between two planes a and b, with gx and gy the central differences of their mean, a block has

    change = sum (b - a)^2,    left = min over (u, v) of sum (b - a + u gx + v gy)^2

`left` is what remains when the block may shift as one, to first order (Lucas and Kanade's residual).
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

_FAST = {"contract", "nsz", "reassoc"}
_DAMPING = 1e-3  # keeps a block without gradient from dividing by zero


def texture(plane: np.ndarray, width: int, side: int, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over whole blocks of `side` x `side` in the first `width` columns of a `(h, pitch)` plane of any dtype.

    The last column and the last row have no neighbour and add nothing. `h` and `width` are 2 at least.

    Returns
        `(3, h // side, width // side)` float32 of edges, mixed and still; sums of |dx| over each column,
        `(width - 1,)`, and of |dy| over each row, `(h - 1,)`, float64.
    """
    h = plane.shape[0]
    out = np.zeros((3, h // side, width // side), np.float32)
    across, down = np.zeros(width - 1), np.zeros(h - 1)
    lines, sums = np.empty((2, width), np.float32), np.zeros((4, width - 1), np.float32)
    _texture(plane, side, np.float32(limit), *lines, sums, out, across, down)
    return out, across, down


@compiled
def _texture(plane, side, below, upper, lower, sums, out, across, down):
    h = plane.shape[0]
    _copy(plane[0], lower)
    for y in range(h - 1):
        upper, lower = lower, upper
        _copy(plane[y + 1], lower)
        down[y] = _row(upper, lower, below, sums[0], sums[1], sums[2], sums[3])
        if y % side == side - 1 or y == h - 2:
            if y // side < out.shape[1]:
                _fold(sums, side, out[:, y // side])
            across += sums[3]
            sums[:] = 0


@compiled
def _copy(row, out):
    for x in range(out.size):
        out[x] = row[x]


@compiled(fastmath=_FAST)
def _row(upper, lower, limit, edges, mixed, still, steps):
    total = np.float32(0)
    for x in range(edges.size):
        dx = upper[x + 1] - upper[x]
        dy = lower[x] - upper[x]
        d = lower[x + 1] - lower[x] - dx
        e = dx * dx + dy * dy
        edges[x] += e
        mixed[x] += d * d
        still[x] += np.float32(1) if e < limit else np.float32(0)
        steps[x] += abs(dx)
        total += abs(dy)
    return total


@compiled
def _fold(sums, side, out):
    for kind in range(out.shape[0]):
        for j in range(out.shape[1]):
            for x in range(j * side, min((j + 1) * side, sums.shape[1])):
                out[kind, j] += sums[kind, x]


def motion(before: np.ndarray, after: np.ndarray, side: int) -> np.ndarray:
    """Change and left of the whole blocks of two `(h, w)` float32 planes: `(2, h // side, w // side)` float32.

    The first and the last column add nothing; above the first row and below the last these are repeated.
    """
    h, w = before.shape
    out = np.zeros((2, h // side, w // side), np.float32)
    _motion(before, after, side, np.zeros((6, w), np.float32), out)
    return out


@compiled
def _motion(before, after, side, sums, out):
    h = before.shape[0]
    for i in range(out.shape[1]):
        sums[:] = 0
        for y in range(i * side, (i + 1) * side):
            up, below = max(y - 1, 0), min(y + 1, h - 1)
            _products(before[up], before[y], before[below], after[up], after[y], after[below], sums)
        for j in range(out.shape[2]):
            tt, xx, yy, xy, xt, yt = _totals(sums[:, j * side : (j + 1) * side])
            xx, yy = xx + _DAMPING, yy + _DAMPING
            explained = (yy * xt * xt - 2 * xy * xt * yt + xx * yt * yt) / (xx * yy - xy * xy)
            out[0, i, j] = tt
            out[1, i, j] = max(0.0, tt - explained)


@compiled(fastmath=_FAST)
def _products(a_up, a, a_down, b_up, b, b_down, sums):
    tt, xx, yy, xy, xt, yt = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    quarter = np.float32(0.25)
    for x in range(1, a.size - 1):
        t = b[x] - a[x]
        gx = quarter * (a[x + 1] - a[x - 1] + b[x + 1] - b[x - 1])
        gy = quarter * (a_down[x] - a_up[x] + b_down[x] - b_up[x])
        tt[x] += t * t
        xx[x] += gx * gx
        yy[x] += gy * gy
        xy[x] += gx * gy
        xt[x] += gx * t
        yt[x] += gy * t


@compiled
def _totals(block):
    tt, xx, yy, xy, xt, yt = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(block.shape[1]):
        tt += block[0, x]
        xx += block[1, x]
        yy += block[2, x]
        xy += block[3, x]
        xt += block[4, x]
        yt += block[5, x]
    return tt, xx, yy, xy, xt, yt
