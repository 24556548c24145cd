"""Sizes of pictures: resizing by torch or as MATLAB's matrices, crops, mirrored borders; and their normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std, one of each for every channel of (N, C, ...)."""
    shape = (-1, *[1] * (x.dim() - 2))
    return (x - x.new_tensor(mean).view(shape)).div_(x.new_tensor(std).view(shape))


def resize(x: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """(N, C, H, W) at `size` (h, w), by "bilinear" or "bicubic", antialiased where it shrinks."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return torch.nn.functional.interpolate(x, size, mode=mode, align_corners=False, antialias=True)


def crops(picture: Tensor, corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """(K, C, h, w) out of one picture (C, H, W), from their upper left `corners` (top, left)."""
    h, w = size
    return torch.stack([picture[..., top : top + h, left : left + w] for top, left in corners])


def reflect_pad(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., H, W) mirrored at its borders up to at least `size` (h, w), on both sides alike; the edge is not doubled.

    A picture smaller than the padding is mirrored again and again.
    """
    for dim, wanted in zip((-2, -1), size, strict=True):
        n = x.shape[dim]
        if n < wanted:
            at = (torch.arange(wanted, device=x.device) - (wanted - n) // 2) % max(2 * (n - 1), 1)
            x = x.index_select(dim, torch.minimum(at, 2 * (n - 1) - at))
    return x


@lru_cache(maxsize=64)
def resize_matrix(before: int, after: int, kernel: str, scale: float | None = None) -> NDArray[np.float64]:
    """(after, before) float64: one dimension of MATLAB's imresize with antialiasing, by "bilinear" or "bicubic".

    `scale` is the factor as MATLAB was given it, `after / before` where it was given a size. Bicubic is Keys's with
    a = -1/2. Samples beyond the border are mirrored.
    """
    scale = after / before if scale is None else scale
    shrink = min(scale, 1.0)
    width = (2 if kernel == "bilinear" else 4) / shrink
    centre = (np.arange(after) + 0.5) / scale - 0.5
    index = np.floor(centre - width / 2).astype(int)[:, None] + np.arange(int(np.ceil(width)) + 2)
    weight = (_triangle if kernel == "bilinear" else _cubic)(shrink * (centre[:, None] - index))
    weight /= weight.sum(1, keepdims=True)
    mirrored = index % (2 * before)
    mirrored = np.where(mirrored < before, mirrored, 2 * before - 1 - mirrored)
    out = np.zeros((after, before))
    np.add.at(out, (np.arange(after)[:, None], mirrored), weight)
    return out


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0.0)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.abs(x)
    near, far = 1.5 * a**3 - 2.5 * a**2 + 1, -0.5 * a**3 + 2.5 * a**2 - 4 * a + 2
    return np.where(a <= 1, near, np.where(a <= 2, far, 0.0))


NO_TAPS = (np.zeros(0, np.int64), np.zeros((0, 0), np.float32))


@lru_cache(maxsize=64)
def taps(before: int, after: int, by_tap: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The bilinear `resize_matrix` as its first column and weights a row, (after, taps) or (taps, after)."""
    dense = resize_matrix(before, after, "bilinear")
    used = dense != 0
    start = used.argmax(1)
    taps = int((before - used[:, ::-1].argmax(1) - start).max())
    start = np.minimum(start, before - taps)
    weight = np.take_along_axis(dense, start[:, None] + np.arange(taps), 1).astype(np.float32)
    return start, np.ascontiguousarray(weight.T if by_tap else weight)
