"""Canny's edges as MATLAB's `edge(x, 'canny', [low high], sigma)` finds them, grown by a square.

The picture is filtered by a Gaussian and its derivative (8 ceil(sigma) taps, half a pixel off centre as an even number
makes them, replicated border). A pixel is a
local maximum where its gradient's magnitude is no less than those interpolated one step along and against the
gradient; local maxima above `low` times the largest magnitude are edges if joined, over eight neighbours, to one above
`high` times it.
"""

import math
from functools import lru_cache

import numba
import numpy as np


def edges(picture: np.ndarray, sigma: float, low: float, high: float, side: int) -> np.ndarray:
    """(H, W) uint8, 1 at edges of a (H, W) float64 picture, each grown to `side` x `side` (MATLAB's even centre)."""
    smooth, slope = _kernels(sigma)
    picture = picture - picture[0, 0]  # a flat picture gives exact zeros
    across, down = _filtered(picture, slope, smooth), _filtered(picture, smooth, slope)
    return _traced(across, down, low, high, (side - 1) // 2, side // 2)


@lru_cache(maxsize=4)
def _kernels(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian and derivative, as correlation weights of an even number; each half of the derivative sums to one."""
    half = 4 * math.ceil(sigma)
    smooth = np.exp(-(np.arange(-half + 0.5, half) ** 2) / (2 * sigma**2))
    smooth /= smooth.sum()
    slope = -np.gradient(smooth)
    return smooth, slope / slope[slope > 0].sum()


@numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"})
def _filtered(x, along_rows, along_columns):
    h, w = x.shape
    reach = along_rows.size // 2 - 1  # back; one more ahead
    wide = np.empty(w + along_rows.size - 1)
    middle, out = np.zeros((h, w)), np.zeros((h, w))
    for y in range(h):
        wide[:reach], wide[reach : reach + w], wide[reach + w :] = x[y, 0], x[y], x[y, w - 1]
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
    return out


@numba.njit(nogil=True, cache=True)
def _traced(across, down, low, high, before, after):
    h, w = across.shape
    size = np.sqrt(across * across + down * down)
    peak = size.max()
    found = np.zeros((h, w), np.uint8)
    stack = np.empty(h * w, np.int64)
    top = 0
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            if size[y, x] > low * peak and _is_crest(across, down, size, y, x):
                found[y, x] = 1
                if size[y, x] > high * peak:
                    found[y, x] = 2
                    stack[top] = y * w + x
                    top += 1
    grown = np.zeros((h, w), np.uint8)
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
    return grown


@numba.njit(nogil=True, cache=True)
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
