"""The blocks of a video that 3D-CNN + LSTM scores: groups of frames over its length, a grid over its pictures.

Source: You and Korhonen, ICIP 2019, doi:10.1109/ICIP.2019.8803395; the grid is inferred from the counts of clips in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.errors import WeightsError
from vqmeter.networks.cnn3d import PRESETS
from vqmeter.weights import Weights

FRAMES, SIDE = 16, 224
VIEWS = ("blocks", "downscaled")
SIZES = {"paper": (32, 8, 4), "lite": (8, 4, 2), "fcn": (8, 1, 1), "stats": (8, 4, 2)}  # groups, columns, rows


def linspace(last: int, count: int) -> list[int]:
    """round(linspace(0, last, count)), halves upwards."""
    steps = max(1, count - 1)
    return [(2 * k * last + steps) // (2 * steps) for k in range(count)]


def groups(frames: int, count: int) -> list[tuple[int, ...]]:
    """`count` groups of 16 successive frames, spread over a video of `frames`."""
    return [tuple(min(first + k, frames - 1) for k in range(FRAMES)) for first in linspace(max(0, frames - FRAMES), count)]


@dataclass(frozen=True)
class Layout:
    """Which blocks of a video are scored: `groups` of 16 frames, in each `columns` x `rows` blocks, or one of whole frames
    (preset `fcn`), or one of frames brought to a block's size (view `downscaled`)."""

    preset: str
    groups: int
    columns: int
    rows: int
    view: str = "blocks"

    @classmethod
    def of(cls, weights: Weights) -> Layout:
        """What a weight file says it was trained with.

        Raises
            WeightsError: a preset or view that is not known.
        """
        said = weights.options
        preset, view = str(said.get("preset", "lite")), str(said.get("view", "blocks"))
        if preset not in PRESETS or view not in VIEWS or (preset, view) == ("fcn", "downscaled"):
            raise WeightsError(f"{weights.name} is of preset {preset}, view {view}, which this version does not know")
        sizes = SIZES[preset] if view == "blocks" else (SIZES[preset][0], 1, 1)
        count, columns, rows = (int(said.get(key, n)) for key, n in zip(("groups", "columns", "rows"), sizes, strict=True))
        return cls(preset, count, columns, rows, view)

    @property
    def whole(self) -> bool:
        """Whether a block is all of a frame and the LSTM sees features."""
        return self.preset == "fcn"

    def inputs(self, features: int) -> int:
        """How many numbers of a group the LSTM sees."""
        return features if self.whole else self.columns * self.rows

    def grid(self, width: int, height: int) -> Grid:
        """Where the blocks of a frame lie."""
        if self.view == "downscaled":
            return Grid(np.arange(height), np.arange(width), ((0, 0),), (SIDE, SIDE), shrink=True)
        return Grid.over(width, height, self.columns, self.rows, self.whole)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the blocks lie. Only rows and columns that some block covers are kept of a frame.

    `rows` and `columns` say which of the picture's these are, mirrored where it is smaller than a block; `corners` are the
    blocks' upper left corners among what is kept, row by row. With `whole` there is one block, all of the frame; with
    `shrink` one of `size`, all of the frame made so small.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    corners: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    shrink: bool = False

    @classmethod
    def over(cls, width: int, height: int, columns: int, rows: int, whole: bool = False) -> Grid:
        if height > width:
            columns, rows = rows, columns
        down, tops = _axis(height, rows, whole)
        across, lefts = _axis(width, columns, whole)
        size = (len(down), len(across)) if whole else (SIDE, SIDE)
        return cls(down, across, tuple((top, left) for top in tops for left in lefts), size)

    def cut(self, rgb: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(3, H, W) in [0, 1] to what is kept of it, in 8 bits."""
        if self.shrink:
            kept = tensors.resize(torch.from_numpy(rgb)[None], self.size)[0].clamp_(0, 1).numpy().copy()
        else:
            kept = rgb[:, self.rows[:, None], self.columns]
        kept *= 255
        kept += 0.5
        cut: NDArray[np.uint8] = kept.astype(np.uint8)
        return cut

    def blocks(self, group: Tensor) -> list[Tensor]:
        """The blocks (3, 16, h, w) of a group (16, 3, H, W) of what was kept."""
        h, w = self.size
        return [group[..., top : top + h, left : left + w].movedim(0, 1) for top, left in self.corners]


def _axis(size: int, count: int, whole: bool) -> tuple[NDArray[np.int64], list[int]]:
    """Which samples of one dimension are kept, and where among them the blocks begin."""
    lack = max(0, SIDE - size)
    places = np.pad(np.arange(size), (lack // 2, lack - lack // 2), mode="reflect") if lack else np.arange(size)
    if whole:
        return places, [0]
    starts = linspace(len(places) - SIDE, count)
    used = np.unique([start + np.arange(SIDE) for start in starts])
    return places[used], np.searchsorted(used, starts).tolist()
