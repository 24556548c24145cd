"""YUV, grey or RGB planes to R, G, B in [0, 1] on the CPU, whole or reduced on the fly.

    rgb = clip(M[:, :3] @ (y, cb, cr) + M[:, 3], 0, 1)

Chroma is interpolated bilinearly: horizontally a chroma sample lies on a luma sample (MPEG-2's left siting), vertically
half way between the lines it stands for. Grey and RGB go the same way: grey stands in for its own chroma with zero
coefficients, R, G and B for luma, Cb and Cr with a diagonal. `tensors` gives M and does the same in torch on a GPU.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vqmeter.kernels.box import fold
from vqmeter.kernels.compiled import compiled

_FAST = {"contract", "nsz", "reassoc"}
Taps = tuple[np.ndarray, np.ndarray]  # where the samples of each output begin, and their weights


def rgb(planes: Sequence[np.ndarray], width: int, sub_x: int, sub_y: int, m: np.ndarray) -> NDArray[np.float32]:
    """`(3, h, width)` float32 of three planes; `m` is `(3, 4)` float32."""
    out = np.empty((3, planes[0].shape[0], width), np.float32)
    _rgb(*planes, width, sub_x, sub_y, m, *_scratch(planes[1], width), out)
    return out


@compiled
def _rgb(y, cb, cr, width, sub_x, sub_y, m, work, half, out):
    for line in range(y.shape[0]):
        _rgb_row(y, cb, cr, line, width, sub_x, sub_y, m, work, half, out[0, line], out[1, line], out[2, line])


def _scratch(cb: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A line of luma and of chroma at its size, and one of chroma at its own."""
    return np.empty((3, width), np.float32), np.empty(cb.shape[1] + 1, np.float32)


def rgb_reduced(planes: Sequence[np.ndarray], width: int, sub_x: int, sub_y: int, m: np.ndarray, factor: int,
                rows: Taps, columns: Taps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """R, G and B as D(F) sums and resized, in one pass over the planes.

    Returns
        `(3, ceil(h / F), ceil(width / F))` float32 window sums as `box.box_sum` has them, and
        `(3, len(starts of rows), len(starts of columns))` float32: of `rows`, starts and weights, output row o is the sum
        over p of `weights[o, p]` times row `starts[o] + p`; of `columns`, weights are `(p, o)`. Starts never decrease; empty
        tables skip the resizing.
    """
    boxes = np.zeros((3, -(-planes[0].shape[0] // factor), -(-width // factor)), np.float32)
    sums = np.zeros((3, (boxes.shape[2] + 1) * factor), np.float32)
    tall = np.zeros((rows[0].size, 3, width), np.float32)
    lines = (*_scratch(planes[1], width), np.empty((3, width), np.float32))
    _reduce(*planes, width, sub_x, sub_y, m, factor, *rows, *lines, sums, boxes, tall)
    resized = np.zeros((3, rows[0].size, columns[0].size), np.float32)
    _columns(tall, *columns, resized)
    return boxes, resized


@compiled
def _reduce(y, cb, cr, width, sub_x, sub_y, m, factor, row_start, row_weight, work, half, line_rgb, sums, boxes, tall):
    h, taps = y.shape[0], row_weight.shape[1]
    lead = factor - 1 - factor // 2
    first = 0
    for line in range(h):
        _rgb_row(y, cb, cr, line, width, sub_x, sub_y, m, work, half, line_rgb[0], line_rgb[1], line_rgb[2])
        for c in range(3):
            _add(sums[c, lead : lead + width], line_rgb[c], np.float32(1))
        i = (line + lead) // factor
        if i < boxes.shape[1] and ((line + 1 + lead) // factor > i or line == h - 1):
            for c in range(3):
                fold(sums[c], factor, boxes[c, i])
                sums[c] = 0
        while first < row_start.size and row_start[first] + taps <= line:
            first += 1
        for o in range(first, row_start.size):
            if row_start[o] > line:
                break
            weight = row_weight[o, line - row_start[o]]
            if weight:
                for c in range(3):
                    _add(tall[o, c], line_rgb[c], weight)


@compiled(fastmath=_FAST)
def _add(total, row, weight):
    for x in range(row.size):
        total[x] += weight * row[x]


@compiled(fastmath=_FAST)
def _columns(tall, start, weight, out):
    for o in range(tall.shape[0]):
        for c in range(3):
            to, row = out[c, o], tall[o, c]
            for p in range(weight.shape[0]):
                w = weight[p]
                for x in range(start.size):
                    to[x] += w[x] * row[start[x] + p]


@compiled(fastmath=_FAST)
def _rgb_row(y, cb, cr, line, width, sub_x, sub_y, m, work, half, r, g, b):
    for x in range(width):
        work[0, x] = y[line, x]
    _chroma_row(cb, line, width, sub_x, sub_y, half, work[1])
    _chroma_row(cr, line, width, sub_x, sub_y, half, work[2])
    _mix(work, m[0], r)
    _mix(work, m[1], g)
    _mix(work, m[2], b)


@compiled(fastmath=_FAST)
def _mix(work, m, out):
    a, b, c, d = m[0], m[1], m[2], m[3]
    y, u, v = work[0], work[1], work[2]
    for x in range(out.size):
        out[x] = min(np.float32(1), max(np.float32(0), a * y[x] + b * u[x] + c * v[x] + d))


@compiled(fastmath=_FAST)
def _chroma_row(plane, line, width, sub_x, sub_y, half, out):
    """One line of chroma at the size of luma."""
    size = -(-width >> sub_x)
    if sub_y == 0:
        for x in range(size):
            half[x] = plane[line, x]
    else:
        at = (line + 0.5) / (1 << sub_y) - 0.5
        upper = int(np.floor(at))
        t = np.float32(at - upper)
        above, below = plane[max(upper, 0)], plane[min(upper + 1, plane.shape[0] - 1)]
        for x in range(size):
            half[x] = (np.float32(1) - t) * np.float32(above[x]) + t * np.float32(below[x])
    half[size] = half[size - 1]
    if sub_x == 0:
        for x in range(width):
            out[x] = half[x]
    elif sub_x == 1:
        for x in range(width // 2):
            out[2 * x] = half[x]
            out[2 * x + 1] = np.float32(0.5) * (half[x] + half[x + 1])
        if width & 1:
            out[width - 1] = half[size - 1]
    else:
        for x in range(width):
            left = x >> sub_x
            t = np.float32(x - (left << sub_x)) / np.float32(1 << sub_x)
            out[x] = half[left] + t * (half[left + 1] - half[left])
