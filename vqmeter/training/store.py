"""Frames of many items ready on disk: decoded once by the same steps as in scoring, read back as crops by memory mapping.

    store = Store(items, run, windows=6)                 # six frames an item, evenly spread; None: all of them
    store = Store(items, run, windows=2, length=16)      # two windows of sixteen neighbours
    rgb = store.rgb(item, at, top, left, height, width)  # at: places among `store.frames(item)`

Planes are kept as they were decoded, so that a crop is to the bit what it is of the whole frame. One file an item lies in
the run's cache: a line of JSON, then the planes of one frame after another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter import tensors
from vqmeter.errors import InputError
from vqmeter.frames import PixelFormat
from vqmeter.metric import Sample, Stream
from vqmeter.tensors import Kept
from vqmeter.training.datasets import Item
from vqmeter.training.reading import Reader, as_reference, read
from vqmeter.training.run import Run, stamp

_MARGIN = 4  # luma samples around a crop that its chroma is interpolated from


@dataclass(frozen=True, eq=False)
class Stored:
    """One item's frames on disk. `frames` are their numbers in the video, `windows` where runs of neighbours begin and end."""

    path: str
    start: int
    frames: tuple[int, ...]
    windows: tuple[tuple[int, int], ...]
    shapes: tuple[tuple[int, int], ...]
    pix_fmt: PixelFormat
    matrix: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shapes[0]

    @cached_property
    def offsets(self) -> list[int]:
        """Where each plane of a frame begins, and where the next frame does, in bytes."""
        sizes = [h * w * self.pix_fmt.bytes_per_sample for h, w in self.shapes]
        return [0, *np.cumsum(sizes).tolist()]

    def plane(self, at: int, k: int) -> NDArray[Any]:
        """Plane `k` of the frame at place `at`, (h, w) uint8 or uint16, on disk."""
        begin = self.start + at * self.offsets[-1] + self.offsets[k]
        flat = opened(self.path)[begin : begin + self.offsets[k + 1] - self.offsets[k]]
        return flat.view(self.pix_fmt.dtype).reshape(self.shapes[k])


class Store:
    """The frames of `items`, and of their references where `paired`.

    Parameters
        windows: how many places of each video, evenly spread; None takes every frame of it as one window.
        length: frames one after another at each place.

    Raises
        InputError: an item cannot be read.
    """

    def __init__(self, items: Sequence[Item], run: Run, windows: int | None = None, length: int = 1,
                 paired: bool = False) -> None:  # fmt: skip
        self.items = tuple(items)
        known = {item.path: n for n, item in enumerate(self.items)}
        wanted = list(self.items)
        for item in self.items if paired else ():
            if not item.reference:
                raise InputError(f"{item.path}: has no reference")
            if known.setdefault(item.reference, len(wanted)) == len(wanted):
                wanted.append(as_reference(item))
        self._references = [known.get(item.reference or "") for item in self.items]

        def one(item: Item) -> Stored:
            made_by = [stamp([item.path]), item.size, item.rate, windows, length]
            return _described(run.array("frames", made_by, lambda: _decode(item, windows, length)))

        self.stored: list[Stored] = run.each("frames", wanted, one)

    def reference(self, item: int) -> int:
        """The number under which the reference of an item is asked for; of a store made with `paired`."""
        found = self._references[item]
        if found is None:
            raise InputError(f"{self.items[item].path}: its reference is not stored")
        return found

    def frames(self, item: int) -> tuple[int, ...]:
        """The numbers, in the video, of an item's frames here."""
        return self.stored[item].frames

    def kept(self, item: int, at: int, top: int, left: int, height: int, width: int) -> Kept:
        """The samples of a part of a frame; `top` and `left` on a chroma sample."""
        one = self.stored[item]
        planes = []
        for k, (h, w) in enumerate(one.shapes):
            down = 0 if (h, w) == one.size else one.pix_fmt.sub_y
            across = 0 if (h, w) == one.size else one.pix_fmt.sub_x
            rows = slice(top >> down, -(-(top + height) // (1 << down)))
            columns = slice(left >> across, -(-(left + width) // (1 << across)))
            planes.append(np.array(one.plane(at, k)[rows, columns], order="C"))
        return Kept(tuple(planes), one.pix_fmt, one.matrix)

    def rgb(self, item: int, at: int | Sequence[int], top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """(3, height, width) float32 R, G, B in [0, 1] of a part of a frame; (3, T, height, width) of T frames."""
        if not isinstance(at, int):
            return np.stack([self.rgb(item, n, top, left, height, width) for n in at], 1)
        h, w = self.stored[item].size
        y, x = max(0, (top - _MARGIN) // 4 * 4), max(0, (left - _MARGIN) // 4 * 4)
        below, right = min(h, top + height + _MARGIN), min(w, left + width + _MARGIN)
        picture = tensors.kept_rgb(self.kept(item, at, y, x, below - y, right - x))
        part: NDArray[np.float32] = picture[:, top - y : top - y + height, left - x : left - x + width]
        return part


def _decode(item: Item, windows: int | None, length: int) -> NDArray[np.uint8]:
    """What the file of an item holds."""
    clips = read(item, Reader(_plan(windows, length), _keep, counted=windows is not None))
    if not clips:
        raise InputError(f"{item.path}: no frames")
    found: dict[int, Kept] = {n: kept for clip in clips for n, kept in zip(clip.frames, clip.items, strict=True)}
    frames = sorted(found)
    ends = [(0, len(frames))]
    if windows is not None:
        ends = [(frames.index(clip.frames[0]), frames.index(clip.frames[-1]) + 1) for clip in clips]
    first = found[frames[0]]
    said = {"frames": frames, "windows": ends, "shapes": [plane.shape for plane in first.planes],
            "pix_fmt": first.pix_fmt.name, "matrix": first.matrix.tolist()}  # fmt: skip
    head = np.frombuffer(json.dumps(said).encode() + b"\n", np.uint8)
    head = np.concatenate([head, np.full(-len(head) % 64, ord(" "), np.uint8)])
    return np.concatenate([head, *(plane.view(np.uint8).ravel() for n in frames for plane in found[n].planes)])


def _keep(sample: Sample) -> Kept:
    return tensors.keep(sample.dist)


def _plan(windows: int | None, length: int) -> Callable[[Stream], Iterable[tuple[int, ...]]]:
    """Every frame, or `windows` runs of `length` frames, their middles evenly spread; fewer where a video is short."""

    def plan(stream: Stream) -> Iterable[tuple[int, ...]]:
        if windows is None:
            return zip(range(1 << 62))
        count = stream.frames or 0
        size = min(length, count)
        starts = sorted({(2 * k + 1) * (count - size + 1) // (2 * windows) for k in range(windows)}) if count else []
        return [tuple(range(start, start + size)) for start in starts]

    return plan


def _described(content: NDArray[Any]) -> Stored:
    line = bytes(content[:65536]).partition(b"\n")[0] if len(content) else b""
    if len(line) == min(65536, len(content)):
        line = bytes(content).partition(b"\n")[0]
    said = json.loads(line)
    start = -(-(len(line) + 1) // 64) * 64
    return Stored(str(content.filename), start, tuple(said["frames"]), tuple(map(tuple, said["windows"])),  # type: ignore[attr-defined]
                  tuple(map(tuple, said["shapes"])), PixelFormat.parse(said["pix_fmt"]), np.array(said["matrix"]))  # fmt: skip


@lru_cache(maxsize=256)
def opened(path: str) -> NDArray[Any]:
    """An array on disk, mapped. Few are open at a time, for each holds a descriptor."""
    found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found
