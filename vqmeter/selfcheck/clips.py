"""Clips made of whole numbers alone, so that every machine makes the same ones: a reference, and the same made worse.

Encoders give other bytes from version to version, so the coded clip is a file, `clip.mp4`: the reference by x264 at a
quantiser of 34. Decoders must give the same samples of it everywhere.

Value noise: random numbers by a hash on lattices of several sizes, with straight lines between them, each lattice moving
by itself. The distorted clip is blurred, rounded to steps of 6 and grainy. 192x176, large enough for every metric.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqmeter.distortions.codecs import X264, write, write_raw
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.sources import open_video

WIDTH, HEIGHT, FRAMES = 192, 176, 16
_LATTICES = ((64, 96, 1), (24, 64, 3), (8, 48, 2), (3, 32, 5))  # cell, amplitude, pixels a frame
Plane = NDArray[np.uint8]


CODED = Path(__file__).with_name("clip.mp4")
_INFO = VideoInfo("clip", WIDTH, HEIGHT, PixelFormat.parse("yuv420p"), Fraction(25), range="limited")


def make(folder: str) -> tuple[str, str]:
    """Paths of the reference and the distorted clip, as Y4M in `folder`."""
    ref, dist = (os.path.join(folder, name) for name in ("ref.y4m", "dist.y4m"))
    write_raw(frames(False), _INFO, ref, y4m=True)
    write_raw(frames(True), _INFO, dist, y4m=True)
    return ref, dist


def encode() -> None:
    """Make `CODED`, where it is not there."""
    if not CODED.exists():
        write(frames(False), _INFO, str(CODED), X264, 34)


def samples_of(path: str) -> str:
    """SHA-256 of every sample that the decoder gives.

    Raises
        InputError: it gives none, or fails.
    """
    source, digest = open_video(path), hashlib.sha256()
    try:
        for frame in source.frames():
            for plane in frame.planes:
                digest.update(plane.tobytes())
    finally:
        source.close()
    return digest.hexdigest()


def frames(worse: bool) -> Iterator[tuple[Plane, ...]]:
    """Luma (176, 192) and chroma (88, 96) of every frame, uint8 in limited range."""
    for n in range(FRAMES):
        noise = [_noise(WIDTH, HEIGHT, cell, n * speed, high) for cell, high, speed in _LATTICES]
        luma = 16 + np.sum(noise, axis=0) * 219 // 240
        chroma = [96 + _noise(WIDTH // 2, HEIGHT // 2, 32 + k, n + 7 * k, 64) for k in (0, 1)]
        planes = [luma, *chroma]
        if worse:
            planes = [_worse(plane, n) for plane in planes]
        yield tuple(np.clip(plane, 16, 235).astype(np.uint8) for plane in planes)


def _noise(width: int, height: int, cell: int, shift: int, high: int) -> NDArray[np.int64]:
    """(height, width) of 0 to `high`, `shift` pixels further to the left."""
    x, y = np.arange(width) + shift, np.arange(height)[:, None]
    cx, fx, cy, fy = x // cell, x % cell, y // cell, y % cell
    upper, lower = (_hash(cx, cy + k, cell) * (cell - fx) + _hash(cx + 1, cy + k, cell) * fx for k in (0, 1))
    between: NDArray[np.int64] = (upper * (cell - fy) + lower * fy).astype(np.int64)
    return between * high // (255 * cell * cell)


def _hash(x: NDArray[np.int64], y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A number of 0 to 255 for every place; 64-bit arithmetic that never overflows."""
    mixed = (x * 7919 + y * 104729 + seed * 1299709) & 0xFFFFFF
    for factor in (0x9E3779, 0x85EBCB):
        mixed = ((mixed ^ (mixed >> 11)) * factor) & 0xFFFFFF
    return (mixed >> 13) & 0xFF


def _worse(plane: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    padded = np.pad(plane, 1, "edge")
    rows, columns = plane.shape
    blurred: NDArray[np.int64] = (
        np.sum([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0) // 9
    )
    grain = _hash(np.arange(columns), np.arange(rows)[:, None], n + 1) // 32 - 4
    return (blurred + 3) // 6 * 6 + grain
