"""Canny's edges as MATLAB's `edge(x, 'canny', [low high], sigma)` finds them, grown by a square.

The picture is filtered by a Gaussian and its derivative (8 ceil(sigma) taps, half a pixel off centre as an even number
makes them, replicated border). A pixel is a
local maximum where its gradient's magnitude is no less than those interpolated one step along and against the
gradient; local maxima above `low` times the largest magnitude are edges if joined, over eight neighbours, to one above
`high` times it.
"""

import math
from functools import lru_cache

import numpy as np

from vqmeter.kernels.compiled import compiled


def edges(picture: np.ndarray, sigma: float, low: float, high: float, side: int) -> np.ndarray:
    """(H, W) uint8, 1 at edges of a (H, W) float64 picture, each grown to `side` x `side` (MATLAB's even centre)."""
    smooth, slope = _kernels(sigma)
    picture = picture - picture[0, 0]  # a flat picture gives exact zeros
    across, down = _filtered(picture, slope, smooth), _filtered(picture, smooth, slope)
    size = np.sqrt(across * across + down * down)
    found, grown = np.zeros((2, *picture.shape), np.uint8)
    stack = np.empty(picture.size, np.int64)
    _trace(across, down, size, low * size.max(), high * size.max(), (side - 1) // 2, side // 2, found, stack, grown)
    return grown


def _filtered(picture: np.ndarray, along_rows: np.ndarray, along_columns: np.ndarray) -> np.ndarray:
    middle, out = np.zeros((2, *picture.shape))
    _filter(picture, along_rows, along_columns, np.empty(picture.shape[1] + along_rows.size - 1), middle, out)
    return out


@lru_cache(maxsize=4)
def _kernels(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian and derivative, as correlation weights of an even number; each half of the derivative sums to one."""
    half = 4 * math.ceil(sigma)
    smooth = np.exp(-(np.arange(-half + 0.5, half) ** 2) / (2 * sigma**2))
    smooth /= smooth.sum()
    slope = -np.gradient(smooth)
    return smooth, slope / slope[slope > 0].sum()


@compiled(fastmath={"contract", "nsz", "reassoc"})
def _filter(x, along_rows, along_columns, wide, middle, out):
    h, w = x.shape
    reach = along_rows.size // 2 - 1  # back; one more ahead
    for y in range(h):
        wide[:reach], wide[reach + w :] = x[y, 0], x[y, w - 1]
        for i in range(w):
            wide[reach + i] = x[y, i]
        to = middle[y]
        for k in range(along_rows.size):
            weight, shifted = along_rows[k], wide[k : k + w]
            for i in range(w):
                to[i] += weight * shifted[i]
    for y in range(h):
        to = out[y]
        for k in range(along_columns.size):
            weight, row = along_columns[k], middle[min(max(y + k - reach, 0), h - 1)]
            for i in range(w):
                to[i] += weight * row[i]


@compiled
def _trace(across, down, size, low, high, before, after, found, stack, grown):
    h, w = across.shape
    top = 0
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            if size[y, x] > low and _is_crest(across, down, size, y, x):
                found[y, x] = 1
                if size[y, x] > high:
                    found[y, x] = 2
                    stack[top] = y * w + x
                    top += 1
    while top:
        top -= 1
        y, x = stack[top] // w, stack[top] % w
        grown[max(y - before, 0) : y + after + 1, max(x - before, 0) : x + after + 1] = 1
        for i in range(y - 1, y + 2):  # found pixels lie inside: neighbours exist
            for j in range(x - 1, x + 2):
                if found[i, j] == 1:
                    found[i, j] = 2
                    stack[top] = i * w + j
                    top += 1


@compiled
def _is_crest(across, down, size, y, x):
    gx, gy = across[y, x], down[y, x]
    sx, sy = (1 if gx > 0 else -1), (1 if gy > 0 else -1)
    if abs(gx) >= abs(gy):
        t = abs(gy) / abs(gx)
        ahead = size[y, x + sx] * (1 - t) + size[y + sy, x + sx] * t
        behind = size[y, x - sx] * (1 - t) + size[y - sy, x - sx] * t
    else:
        t = abs(gx) / abs(gy)
        ahead = size[y + sy, x] * (1 - t) + size[y + sy, x + sx] * t
        behind = size[y - sy, x] * (1 - t) + size[y - sy, x - sx] * t
    return size[y, x] >= ahead and size[y, x] >= behind
