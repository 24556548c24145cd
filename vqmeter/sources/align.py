"""Which frames of two videos show the same: signatures of luma, and the offset at which they agree best.

A signature is the mean of luma in each cell of a 16 x 16 grid, from a few samples of a cell.

    E[i, j] = mean over cells of (ref[i] - m(dist[j]))^2        e(k) = mean over i of E[i, i + k]

m leaves luma as it is, or takes it from one range to the other, whichever fits better. The offset is the k of the least
e. What speaks for it is how much better the same frames of the reference agree at k than at 0; the confidence is
1 - e(k) / (the next least e), which says how sure k is against k - 1 and k + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vqmeter.frames import Frame
from vqmeter.sources import Source

GRID = 16
#: How far an offset is looked for, and in how many frames.
REACH, WINDOW = 30, 90
_SAMPLES = (2, 4)  # of a cell, down and across
_NOISE = 1e-3  # of E, in squared 255ths: whatever is smaller shows nothing
_FEWEST = 8  # frames that two videos must have in common
_AGREE = 0.8  # of what speaks for or against an offset, frame by frame
_UNLIKE = 4.0  # an E from which on another range may fit better
_NEAR = 3  # frames either way in which one that is out of step finds what it shows
_STEP, _CLEAR = 0.3, 0.25  # of E, and of E to the own frame
_TELLING, _ALIKE = 8.0, 0.97  # the deviation and the correlation that a change of range shows in
#: Full to limited range is x 219 / 255 + 16.
TO_LIMITED = (219 / 255, 16.0)
TO_FULL = (255 / 219, -16 * 255 / 219)

Signatures = NDArray[np.float32]  # (frames, 256)


@dataclass(frozen=True)
class Offset:
    """The distorted lags the reference by `frames`.

    `confidence`, 0 to 1, is how much worse the next best fits; `gain`, 0 to 1, how much worse no offset does, 0 where
    some frames speak against it.
    """

    frames: int = 0
    confidence: float = 0.0
    gain: float = 0.0


def signature(frame: Frame) -> NDArray[np.float32]:
    """(256,) means of luma, or of green, in a 16 x 16 grid, row by row, in 0..255."""
    fmt = frame.info.pix_fmt
    plane = frame.planes[1 if fmt.family == "rgb" else 0]
    samples = plane[_places(*plane.shape)].reshape(GRID, _SAMPLES[0], GRID, _SAMPLES[1])
    cells: NDArray[np.float32] = samples.sum(axis=(1, 3), dtype=np.float32).reshape(-1)
    return cells / np.float32(_SAMPLES[0] * _SAMPLES[1] << (fmt.bit_depth - 8))


@lru_cache(maxsize=16)
def _places(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the samples, evenly spread."""
    down, across = ((2 * np.arange(GRID * n) + 1) * size // (2 * GRID * n)
                    for n, size in zip(_SAMPLES, (height, width), strict=True))  # fmt: skip
    return down[:, None], across


def signatures(source: Source, start: float = 0.0, count: int = WINDOW) -> Signatures:
    """Signatures of the first frames from `start` seconds on."""
    found = []
    for frame in islice(source.frames(start), count):
        found.append(signature(frame))
        frame.release()
    return np.array(found, np.float32).reshape(-1, GRID * GRID)


def find_offset(ref: Signatures, dist: Signatures, reach: int = REACH) -> Offset:
    """By how many frames the distorted lags, up to `reach` either way; 0 without confidence where nothing tells."""
    reach = min(reach, min(len(ref), len(dist)) - _FEWEST)
    if reach < 1:
        return Offset()
    costs = _costs(ref, dist.astype(np.float64))
    errors = _errors(costs, reach)
    for gain, bias in (TO_LIMITED, TO_FULL) if errors.min() > _UNLIKE else ():
        mapped = _costs(ref, gain * dist.astype(np.float64) + bias)
        if (others := _errors(mapped, reach)).min() < errors.min():
            costs, errors = mapped, others
    best = int(np.argmin(errors))
    confidence = 1 - float(errors[best] / np.delete(errors, best).min())
    k = best - reach
    there, here = _rows(costs, k)
    votes = here - there
    agree = float(votes.clip(0).sum()) >= _AGREE * float(np.abs(votes).sum()) > 0
    return Offset(k, confidence, 1 - float((there.mean() + _NOISE) / (here.mean() + _NOISE)) if agree else 0.0)


def _costs(ref: Signatures, dist: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames of ref, frames of dist) E."""
    centre = ref.mean(dtype=np.float64)
    a, b = ref - centre, dist - centre
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * np.einsum("ik,jk->ij", a, b)  # BLAS would start threads
    out: NDArray[np.float64] = np.maximum(squares, 0) / a.shape[1]
    return out


def _errors(costs: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """e(k) from -reach to reach, and the floor under it."""
    return np.array([np.diagonal(costs, k).mean() for k in range(-reach, reach + 1)]) + _NOISE


def _rows(costs: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """E at offset k and at 0, of the reference's frames that have both."""
    rows = np.arange(max(0, -k), min(len(costs), costs.shape[1] - max(0, k)))
    return costs[rows, rows + k], costs[rows, rows]


def out_of_step(ref: Signatures, dist: Signatures, offset: int = 0) -> list[tuple[int, int]]:
    """Frames of `dist` that clearly show another frame of `ref` than their own, and by how many they lag.

    `offset` is the lag of all of `dist`. A doubled frame lags by 1; behind one that was put in, every frame does.
    """
    costs = _costs(ref, dist.astype(np.float64))
    at = np.arange(max(0, offset), min(len(dist), len(ref) + offset))
    lags = np.arange(-_NEAR, _NEAR + 1)
    rows = at - offset - lags[:, None]
    near = np.where((rows >= 0) & (rows < len(ref)), costs[np.clip(rows, 0, len(ref) - 1), at], np.inf)
    own, best = near[_NEAR], near.min(axis=0)
    wrong = best + _STEP < _CLEAR * own
    return [(int(n), int(lag)) for n, lag in zip(at[wrong], lags[near.argmin(axis=0)][wrong], strict=True)]


def range_step(ref: Signatures, dist: Signatures) -> str | None:
    """ "squeezed" where `dist`, frame by frame beside `ref`, is its luma taken to limited range, "stretched" to full."""
    deviations = ref.std(dtype=np.float64), dist.std(dtype=np.float64)
    if min(deviations) < _TELLING or np.corrcoef(ref.ravel(), dist.ravel())[0, 1] < _ALIKE:
        return None
    gain = float(deviations[1] / deviations[0])
    bias = float(dist.mean(dtype=np.float64) - gain * ref.mean(dtype=np.float64))
    for name, (wanted, shift) in (("squeezed", TO_LIMITED), ("stretched", TO_FULL)):
        if abs(gain - wanted) < 0.02 * wanted and abs(bias - shift) < 3:
            return name
    return None


def detail(frame: Frame) -> float:
    """How much luma bends from sample to sample: the root mean square of x[i - 1] - 2 x[i] + x[i + 1], in 255 steps.

    Squares count edges and texture, which coding takes away, rather than the faint noise that it adds; bends across the
    edges of 4 x 4 blocks, where coding leaves steps, are not looked at. Of all rows some are.
    """
    fmt = frame.info.pix_fmt
    plane = frame.planes[1 if fmt.family == "rgb" else 0]
    a, b, c, d = plane[:: max(1, len(plane) // 16), : plane.shape[1] // 4 * 4].astype(np.float32).reshape(-1, 4).T
    bends = np.concatenate([a - 2 * b + c, b - 2 * c + d])
    return float(np.sqrt(np.square(bends, out=bends).mean())) / (1 << (fmt.bit_depth - 8)) if bends.size else 0.0
