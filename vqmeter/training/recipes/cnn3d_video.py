"""The second stage of the 3D-CNN + LSTM: one score of a video from what the frozen clip network said of its blocks.

Also here: both at once for `fcn`, on cuts of whole groups.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vqmeter.errors import InputError
from vqmeter.metric import Stream
from vqmeter.metrics.nr.cnn3d_grid import FRAMES, Layout
from vqmeter.metrics.nr.cnn3d_lstm import BlockMeter, overall, placed
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.networks.svr import Svr
from vqmeter.training import regression
from vqmeter.training.datasets import Item
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.reading import scores
from vqmeter.training.recipes.cnn3d_clips import LOSSES, agreement
from vqmeter.training.run import Run, fingerprint, stamp
from vqmeter.training.store import Store
from vqmeter.weights import State

Floats = NDArray[np.float64]


class Seen:
    """What a clip network says of every block of an item, by the metric's own meter, in fp32; kept in the run's cache."""

    def __init__(self, network: Cnn3d, layout: Layout, run: Run) -> None:
        self.layout, self._run = layout, run
        self._made_by = [fingerprint(network.state_dict()), repr(layout), run.context.device]
        # Items are spread over threads, each with one thread of its own.
        self._context = replace(run.context, precision="fp32", threads=1, batch=None)
        self._network = placed(copy.deepcopy(network), self._context)

    def __call__(self, items: Sequence[Item]) -> list[tuple[Tensor, Tensor]]:
        """Of each item block scores (groups, blocks) and mean features (groups, 512), float64."""
        made: list[Floats] = self._run.each("blocks seen", items, self._of)
        found = [torch.from_numpy(np.array(one)) for one in made]
        blocks = self.layout.columns * self.layout.rows
        return [(one[:, :blocks], one[:, blocks:]) for one in found]

    def _of(self, item: Item) -> Floats:
        return self._run.array("seen", [self._made_by, stamp([item.path]), item.size, item.rate], lambda: self._see(item))

    def _see(self, item: Item) -> Floats:
        """(groups, blocks + 512) float64."""
        meters: list[BlockMeter] = []

        def opened(stream: Stream) -> BlockMeter:
            meters.append(BlockMeter(self._network, self.layout, stream, self._context))
            return meters[0]

        scores(item, opened, counted=True)
        seen = meters[0].seen
        if seen is None:
            raise InputError(f"{item.path}: no frames")
        made: Floats = torch.cat(seen, 1).numpy()
        return made


class Video(Task):
    """The LSTM over what was seen of videos; `standard` brings inputs and labels to mean 0 and deviation 1 for it, and
    `folded` gives it as it is kept."""

    def __init__(self, module: GroupLstm, run: Run, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor] | None, *,
                 batch: int, loss: str, standard: bool) -> None:  # fmt: skip
        x, y = train
        self.inputs = spread(x.flatten(0, 1), standard)
        self.labels = spread(y[:, None], standard)
        self.module, self._run, self._batch, self._loss = module, run, batch, LOSSES[loss]
        unfold(module, self.inputs, self.labels)
        self._train, self._val = self._ready(x, y), None if val is None else self._ready(*val)

    def _ready(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        (mean, std), (middle, deviation), to = self.inputs, self.labels, self._run.context.device
        return ((x - mean) / std).float().to(to), ((y - middle) / deviation).float().to(to)

    def batches(self, epoch: int, rng: np.random.Generator) -> list[list[int]]:
        return shuffled(len(self._train[0]), self._batch, rng)

    def loss(self, batch: Any, rng: np.random.Generator) -> Tensor:
        x, y = self._train
        return self._loss(self.module(x[batch]).float(), y[batch])

    def validate(self) -> dict[str, float]:
        if self._val is None:
            return {}
        x, y = self._val
        return agreement(self.module(x).double().cpu().numpy(), y.double().cpu().numpy())

    def folded(self) -> GroupLstm:
        """The LSTM from what was seen, as it is, to labels as they are."""
        module: GroupLstm = copy.deepcopy(self.module)
        module.cpu().eval().requires_grad_(False)
        unfold(module, *((-mean / std, 1 / std) for mean, std in (self.inputs, self.labels)))
        return module


Spread = tuple[Tensor, Tensor]


def spread(values: Tensor, standard: bool) -> Spread:
    """Mean and deviation over rows, (K,) float64; 0 and 1 where they are not wanted, 1 where nothing deviates."""
    mean, std = values.double().mean(0), values.double().std(0, correction=0)
    if not standard:
        return torch.zeros_like(mean), torch.ones_like(std)
    return mean, torch.where(std > 1e-6, std, torch.ones_like(std))


def unfold(module: GroupLstm, inputs: Spread, labels: Spread) -> None:
    """Change an LSTM that makes y of x into one that makes (y - mean) / std of (x - mean) / std."""
    (mean, std), (middle, deviation) = inputs, labels
    with torch.no_grad():
        weight = module.lstm.weight_ih_l0.double()
        module.lstm.bias_ih_l0.add_((weight @ mean).float())
        module.lstm.weight_ih_l0.copy_((weight * std).float())
        module.out.bias.copy_(((module.out.bias.double() - middle) / deviation).float())
        module.out.weight.copy_((module.out.weight.double() / deviation).float())


def stacked(seen: Sequence[tuple[Tensor, Tensor]], whole: bool) -> Tensor:
    """(N, groups, inputs) of what the LSTM takes."""
    return torch.stack([features if whole else blocks for blocks, features in seen])


def without_lstm(over: str, seen: Sequence[tuple[Tensor, Tensor]], labels: Floats, groups: Sequence[str], seed: int) -> State:
    """`svr.*` of a baseline: the mean of block scores, or a regression on the mean features."""
    if over == "mean":
        return regression.linear([1.0], 0.0)
    features = torch.stack([features.mean(0) for _, features in seen]).numpy()
    fit = regression.ridge if over == "ridge" else regression.support_vectors
    return fit(features, labels, groups, seed)


def predicted(over: GroupLstm | Svr, seen: Sequence[tuple[Tensor, Tensor]], layout: Layout) -> Floats:
    """(N,) raw scores of videos, as the metric makes them."""
    with torch.inference_mode():
        return np.array([overall(over, blocks, features, layout.whole) for blocks, features in seen])


class Joint(Task):
    """Clip network and LSTM of `fcn` at once: of every video `groups` groups, cut at one place to `side`."""

    def __init__(self, clips: Cnn3d, video: GroupLstm, run: Run, items: Sequence[Item], labels: NDArray[np.float32], *,
                 layout: Layout, side: int, batch: int, loss: str) -> None:  # fmt: skip
        self.module: nn.ModuleDict = nn.ModuleDict({"clip": clips, "video": video})
        clips.to(memory_format=torch.channels_last_3d)
        self._store, self._run = Store(items, run, layout.groups, FRAMES), run
        self._labels = torch.from_numpy(labels)
        self._groups, self._side, self._batch, self._loss = layout.groups, side, batch, LOSSES[loss]
        self._fit = [n for n, one in enumerate(self._store.stored)
                     if min(one.size) >= side and one.windows[0][1] - one.windows[0][0] == FRAMES]  # fmt: skip
        if not self._fit:
            raise InputError(f"no item has {FRAMES} frames of {side}x{side} or more to take crops from")

    def batches(self, epoch: int, rng: np.random.Generator) -> list[list[int]]:
        return [[self._fit[k] for k in batch] for batch in shuffled(len(self._fit), self._batch, rng)]

    def loss(self, batch: Any, rng: np.random.Generator) -> Tensor:
        pixels = torch.from_numpy(np.concatenate([self._cut(n, rng) for n in batch])).to(self._run.context.device)
        pixels = pixels.mul_(255).add_(0.5).floor_().div_(255).contiguous(memory_format=torch.channels_last_3d)
        features = self.module["clip"].features(pixels).float()
        said = self.module["video"](features.unflatten(0, (len(batch), -1))).float()
        return self._loss(said, self._labels[batch].to(said.device))

    def _cut(self, item: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(groups, 3, 16, side, side) of one video; short ones give a group more than once, as in scoring."""
        stored, side = self._store.stored[item], self._side
        top, left = (int(rng.integers(room + 1)) for room in np.subtract(stored.size, side))
        mirror = rng.random() < 0.5
        used = np.linspace(0, len(stored.windows) - 1, self._groups).round().astype(int).tolist()
        cut = {n: self._store.rgb(item, range(*stored.windows[n]), top, left, side, side) for n in sorted(set(used))}
        out = np.stack([cut[n] for n in used])
        return np.ascontiguousarray(out[..., ::-1] if mirror else out)
