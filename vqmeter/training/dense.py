"""Labels of places within a video, and batches of crops that show several copies of a source at one place.

    store = Store(data.train, run, windows=6)
    sampler = Sampler(store, [labels_of(item, data.dataset) for item in store.items], data.label, size=192, variants=4)
    for sources in sampler.batches(rng, 8):
        batch = sampler.draw(sources, rng)
        loss = F.l1_loss(scores, batch.targets) + ranking(scores, batch.targets, batch.sources)

Labels of places lie in a NumPy file (`.npz`) that the column `dense` of a label file names, or where there is no such column
at `labels/A/B.npz` for a video `clips/A/B.mp4`. NAME being the data set's unit, which of a list is the title of the scores'
column, it holds on the scale of the scores, of T frames and R x C tiles,

    NAME       (T,)         what whole frames have, `vmaf`
    tile_NAME  (T, R, C)    what tiles have, `tile_vmaf`
    boxes      (R, C, 4)    their top, left, height and width in pixels

each of which may be lacking. A crop's label is the mean over its frames of the tiles under it, each by the area that the two
share; that of the frames where there are no tiles, and the item's score where there is neither.
"""

from __future__ import annotations

import os
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter.errors import InputError, UsageError
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.loop import shuffled
from vqmeter.training.store import Store
from vqmeter.weights import Label

COLUMN = "dense"


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of one item, on the data set's own scale: `frames` (T,), `tiles` (T, K) in `boxes` (K, 4)."""

    score: float
    frames: NDArray[np.float64] | None = None
    tiles: NDArray[np.float64] | None = None
    boxes: NDArray[np.int64] | None = None

    def at(self, frames: Sequence[int], top: int, left: int, height: int, width: int) -> float:
        """The label of a part of some frames (their numbers in the video)."""
        if self.tiles is not None and self.boxes is not None:
            begin, size = self.boxes[:, :2], self.boxes[:, 2:]
            shared = np.minimum(begin + size, (top + height, left + width)) - np.maximum(begin, (top, left))
            area = shared.clip(0).prod(1)
            if area.any():
                return float((self.tiles[list(frames)] @ area).mean() / area.sum())
        return self.score if self.frames is None else float(self.frames[list(frames)].mean())

    @property
    def length(self) -> int | None:
        """For how many frames there are labels; None where only the whole has one."""
        counted = self.tiles if self.frames is None else self.frames
        return None if counted is None else len(counted)


def labels_of(item: Item, dataset: Dataset) -> Labels:
    """The labels of an item: those of its file where it has one, else its score alone.

    Raises
        InputError: the file that is named is not there, or does not hold what it should.
    """
    path, name = _file_of(item, dataset), dataset.unit.partition(" ")[0]
    if path is None:
        return Labels(item.score)
    try:
        with np.load(path, allow_pickle=False) as found:
            frames, tiles, boxes = (found[key] if key in found.files else None for key in (name, f"tile_{name}", "boxes"))
    except (OSError, ValueError, zipfile.BadZipFile):
        raise InputError(f"{path}: no file of labels") from None
    if frames is None and tiles is None and item.columns.get(COLUMN):
        raise InputError(f"{path}: neither '{name}' nor 'tile_{name}' is in it")
    if tiles is not None and (boxes is None or tiles.ndim != 3 or boxes.shape != (*tiles.shape[1:], 4)):
        raise InputError(f"{path}: 'tile_{name}' (T, R, C) needs 'boxes' (R, C, 4)")
    return Labels(
        item.score, None if frames is None else frames.astype(np.float64),
        None if tiles is None else tiles.reshape(len(tiles), -1).astype(np.float64),
        None if tiles is None or boxes is None else boxes.reshape(-1, 4).astype(np.int64),
    )  # fmt: skip


def _file_of(item: Item, dataset: Dataset) -> str | None:
    said = item.columns.get(COLUMN)
    if said:
        return os.path.join(dataset.root, said)
    folder, mark, rest = item.path.replace(os.sep, "/").rpartition("/clips/")
    path = f"{folder}/labels/{os.path.splitext(rest)[0]}.npz"
    return path if mark and os.path.isfile(path) else None


@dataclass(frozen=True, eq=False)
class Batch:
    """N crops: `pixels` (N, 3, H, W), or (N, 3, T, H, W) of several frames, float32 R, G, B in [0, 1]; `targets` (N,) in
    0..1, higher is better; `sources` (N,) int64, alike where content and place are; `reference` as `pixels`, of a paired
    store; `items` are numbers in the store."""

    pixels: Tensor
    targets: Tensor
    sources: Tensor
    items: tuple[int, ...]
    reference: Tensor | None = None

    def to(self, device: str | torch.device) -> Batch:
        reference = None if self.reference is None else self.reference.to(device)
        return Batch(self.pixels.to(device), self.targets.to(device), self.sources.to(device), self.items, reference)


class Sampler:
    """Crops of `size` (a side, or height and width) and `frames` one after another, of up to `variants` copies of a source.

    A source is what shares a reference (or else a group), with frames of one size; sources smaller than a crop, or with
    too few frames, are left out. Copies of a source are cut at one place and mirrored alike.

    Targets are NaN where nothing is known.

    Raises
        UsageError: nothing is left.
        InputError: a video has more frames than labels.
    """

    def __init__(self, store: Store, labels: Sequence[Labels], label: Label, size: int | tuple[int, int], *, frames: int = 1,
                 variants: int = 4, paired: bool = False, flip: bool = True) -> None:  # fmt: skip
        self.store, self.labels, self.label = store, tuple(labels), label
        self.size = (size, size) if isinstance(size, int) else size
        self.count, self.variants, self.paired, self.flip = frames, variants, paired, flip
        found: dict[Any, list[int]] = defaultdict(list)
        for n, item in enumerate(store.items):
            one, known = store.stored[n], self.labels[n].length
            if known is not None and one.frames[-1] >= known:
                raise InputError(f"{item.path}: frame {one.frames[-1]} has no label, there are {known}")
            if min(np.subtract(one.size, self.size)) >= 0 and min(b - a for a, b in one.windows) >= frames:
                found[item.reference or item.group or item.path, one.size].append(n)
        self.sources = list(found.values())
        if not self.sources:
            raise UsageError(f"no item has {frames} frames of {self.size[1]}x{self.size[0]} or more to take crops from")

    def batches(self, rng: np.random.Generator, sources: int, rounds: int = 1) -> list[list[int]]:
        """Numbers of sources, `sources` a batch, every source `rounds` times an epoch."""
        return [batch for _ in range(rounds) for batch in shuffled(len(self.sources), sources, rng)]

    def draw(self, sources: Sequence[int], rng: np.random.Generator) -> Batch:
        """Crops of these sources, each at a place of its own."""
        return self.cut([self._choose(self.sources[source], rng) for source in sources], rng)

    def twice(self, sources: Sequence[int], rng: np.random.Generator) -> tuple[Batch, Batch]:
        """As `draw`, and the same items again at other places."""
        chosen = [self._choose(self.sources[source], rng) for source in sources]
        return self.cut(chosen, rng), self.cut(chosen, rng)

    def cut(self, chosen: Sequence[list[int]], rng: np.random.Generator) -> Batch:
        """Crops of items of the store, those of each list at one place that `rng` chooses."""
        pixels, beside, targets, whose = [], [], list[float](), list[int]()
        for k, items in enumerate(chosen):
            at, top, left = self._place(items, rng)
            mirror = self.flip and rng.random() < 0.5

            def part(n: int, at: list[int] = at, top: int = top, left: int = left, mirror: bool = mirror) -> Any:
                rgb = self.store.rgb(n, at if self.count > 1 else at[0], top, left, *self.size)
                return np.ascontiguousarray(rgb[..., ::-1] if mirror else rgb)

            for n in items:
                pixels.append(part(n))
                if self.paired:
                    beside.append(part(self.store.reference(n)))
                value = self.labels[n].at([self.store.frames(n)[a] for a in at], top, left, *self.size)
                targets.append((value - self.label.offset) / self.label.scale)
                whose.append(k)
        every = tuple(n for items in chosen for n in items)
        return Batch(torch.from_numpy(np.stack(pixels)), torch.tensor(targets), torch.tensor(whose), every,
                     torch.from_numpy(np.stack(beside)) if self.paired else None)  # fmt: skip

    def _choose(self, items: list[int], rng: np.random.Generator) -> list[int]:
        count = min(self.variants, len(items))
        return [items[n] for n in rng.choice(len(items), count, replace=False)]

    def _place(self, items: list[int], rng: np.random.Generator) -> tuple[list[int], int, int]:
        """Places among stored frames, top and left: what all `items` have."""
        stored = [self.store.stored[n] for n in items]
        w = int(rng.integers(min(len(one.windows) for one in stored)))
        begin = max(one.windows[w][0] for one in stored)
        at = begin + int(rng.integers(min(one.windows[w][1] for one in stored) - begin - self.count + 1))
        top, left = (int(rng.integers(room + 1)) for room in np.subtract(stored[0].size, self.size))
        return list(range(at, at + self.count)), top, left


def ranking(scores: Tensor, targets: Tensor, sources: Tensor, margin: float = 1.0) -> Tensor:
    """How far pairs of one source are from their order: the mean over pairs of max(0, margin (t_i - t_j) - (s_i - s_j)),
    t_i > t_j; all (N,), 0 where no pair is."""
    better = targets[:, None] - targets
    pairs = (sources[:, None] == sources) & (better > 0)
    short = (margin * better - (scores[:, None] - scores)).clamp_min(0)
    return (short * pairs).sum() / pairs.sum().clamp_min(1)
