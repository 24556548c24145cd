"""The first stage of the 3D-CNN + LSTM: the 3-D network learns scores of blocks of 16 frames.

`Crops` are native cuts at random places, several copies of a source at one place, with labels of places where there are any.
`GridBlocks` are the metric's own blocks, each with its video's score, as the source trains. Both draw `dense.Batch`.

Batch norms may follow the convolutions (`normed`); they are folded away after training. A running average of weights has seen
none of what their moments were taken of, so these are taken anew (`Clips.settle`) before it is validated or kept.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from vqmeter import tensors
from vqmeter.evaluation.correlation import pearson, srocc
from vqmeter.metric import Sample, Stream
from vqmeter.metrics.nr.cnn3d_grid import FRAMES, Grid, Layout, groups
from vqmeter.networks import paired
from vqmeter.networks.cnn3d import Cnn3d
from vqmeter.training.data import Data, Items, targets
from vqmeter.training.datasets import Item
from vqmeter.training.dense import Batch, Labels, Sampler, labels_of, ranking
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.reading import Reader, read
from vqmeter.training.run import Run, stamp
from vqmeter.training.store import Store
from vqmeter.weights import Label

Floats = NDArray[np.float64]
LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss, "l1": F.l1_loss, "huber": lambda x, y: F.huber_loss(x, y, delta=0.1) * 10,
}  # fmt: skip
HELD, HELD_CLIPS = 2, 384  # clips of a video of the validation part, and of all of it, looked at after every epoch
SETTLED = 24  # batches that the moments of batch norms are taken of
CONTRAST = 4.0  # what is left of a picture without its brightness is so much smaller


class Source(Protocol):
    """Where clips come from."""

    def batches(self, rng: np.random.Generator, size: int) -> list[list[int]]:
        """About `size` clips a batch, all of an epoch."""
        ...

    def draw(self, batch: Sequence[int], rng: np.random.Generator) -> Batch: ...


class Crops:
    """Random cuts of `side`, about `clips` an item and epoch, up to `variants` copies of a source at one place."""

    def __init__(self, items: Items, data: Data, label: Label, run: Run, *, windows: int, side: int, clips: int, variants: int,
                 labels: Sequence[Labels]) -> None:  # fmt: skip
        store = Store(items, run, windows, FRAMES)
        self.sampler = Sampler(store, labels, label, side, frames=FRAMES, variants=variants)
        kept = [len(source) for source in self.sampler.sources]
        self._copies = float(np.mean([min(variants, n) for n in kept]))
        self._rounds = max(1, round(clips * float(np.mean(kept)) / self._copies))

    def batches(self, rng: np.random.Generator, size: int) -> list[list[int]]:
        return self.sampler.batches(rng, max(1, round(size / self._copies)), self._rounds)

    def draw(self, batch: Sequence[int], rng: np.random.Generator) -> Batch:
        return self.sampler.draw(batch, rng)


class GridBlocks:
    """`clips` blocks of every video's grid (0: all), chosen once, each with its video's score, once an epoch."""

    def __init__(self, items: Items, label: Label, run: Run, layout: Layout, clips: int) -> None:
        def one(item: Item) -> NDArray[np.uint8]:
            made_by = [stamp([item.path]), item.size, item.rate, repr(layout), clips, run.seed]
            return run.array("blocks", made_by, lambda: _cut(item, layout, clips, run))

        self._blocks = run.each("blocks", items, one)
        self._of = np.concatenate([np.full(len(blocks), n) for n, blocks in enumerate(self._blocks)])
        self._first = np.cumsum([0, *map(len, self._blocks)])
        self._targets = torch.from_numpy(targets(items, label))

    def batches(self, rng: np.random.Generator, size: int) -> list[list[int]]:
        return shuffled(len(self._of), size, rng)

    def draw(self, batch: Sequence[int], rng: np.random.Generator) -> Batch:
        items = self._of[list(batch)]
        cut = np.stack([self._blocks[n][k - self._first[n]] for n, k in zip(items, batch, strict=True)])
        return Batch(torch.from_numpy(cut).float() / 255, self._targets[items], torch.arange(len(items)), tuple(items.tolist()))


def _cut(item: Item, layout: Layout, clips: int, run: Run) -> NDArray[np.uint8]:
    """(K, 3, 16, h, w) blocks of one video, in the order of the grid."""
    grids: list[Grid] = []
    count = layout.groups * layout.columns * layout.rows
    rng = run.rng("blocks", os.path.basename(item.path))
    chosen = np.arange(count) if not 0 < clips < count else np.sort(rng.choice(count, clips, replace=False))
    wanted, corners = np.divmod(chosen, layout.columns * layout.rows)

    def plan(stream: Stream) -> list[tuple[int, ...]]:
        grids.append(layout.grid(stream.dist.width, stream.dist.height))
        every = groups(stream.frames or 1, layout.groups)
        return [every[n] for n in dict.fromkeys(wanted.tolist())]

    def prepare(sample: Sample) -> NDArray[np.uint8]:
        return grids[0].cut(tensors.rgb_array(sample.dist))

    cuts = dict(zip(dict.fromkeys(wanted.tolist()), read(item, Reader(plan, prepare, counted=True)), strict=True))
    out = np.empty((len(chosen), 3, FRAMES, *grids[0].size), np.uint8)
    for n, (group, corner) in enumerate(zip(wanted.tolist(), corners.tolist(), strict=True)):
        blocks = grids[0].blocks(torch.from_numpy(np.stack(cuts[group].items)))
        out[n] = blocks[corner].numpy()
    return out


class Clips(Task):
    """Regression on the labels of clips, and the order of copies of a source at one place (`ranking` is its weight)."""

    def __init__(self, network: Cnn3d, run: Run, train: Source, val: Source | None, *, batch: int, loss: str,
                 weight: float) -> None:  # fmt: skip
        self.module: Cnn3d = network
        network.to(memory_format=torch.channels_last_3d)
        self._run, self._train, self._val, self._batch = run, train, val, batch
        self._regression, self._weight = LOSSES[loss], weight

    def batches(self, epoch: int, rng: np.random.Generator) -> list[list[int]]:
        return self._train.batches(rng, self._batch)

    def loss(self, batch: Any, rng: np.random.Generator) -> Tensor:
        clips = self._train.draw(batch, rng).to(self._run.context.device)
        scores = self._scores(clips.pixels)
        loss = self._regression(scores, clips.targets.float())
        return loss + self._weight * ranking(scores, clips.targets, clips.sources) if self._weight else loss

    def _scores(self, pixels: Tensor) -> Tensor:
        """(N,) float32 of (N, 3, 16, H, W) in 0..1."""
        scores: Tensor = self.module(self._fed(pixels)).float()
        return scores[: len(pixels)]

    def _fed(self, pixels: Tensor) -> Tensor:
        """What the network takes: rounded to 8 bits as in scoring."""
        x = paired(pixels.mul(255).add_(0.5).floor_().div_(255), self.module.conv1.out_channels)
        return x.contiguous(memory_format=torch.channels_last_3d)

    def settle(self) -> None:
        """Take the moments of batch norms from what the weights, as they are now, make of clips that are always the same."""
        if not any(isinstance(module, nn.BatchNorm3d) for module in self.module.modules()):
            return
        device, dtype = self._run.context.device, tensors.dtype_of(self._run.context)

        def clips() -> Iterator[Tensor]:
            batches = self._train.batches(self._run.rng("settled"), self._batch)
            for n, batch in enumerate(itertools.islice(batches, SETTLED)):
                yield self._fed(self._train.draw(batch, self._run.rng("settled", n)).pixels.to(device))

        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            update_bn(clips(), self.module)

    def validate(self) -> dict[str, float]:
        """How scores of clips of the validation part, always the same ones, agree with their labels."""
        self.settle()
        if self._val is None:
            return {}
        said, known = list[float](), list[float]()
        dtype = tensors.dtype_of(self._run.context)
        for n, batch in enumerate(self._val.batches(self._run.rng("held"), self._batch)):
            clips = self._val.draw(batch, self._run.rng("held", n))
            with torch.autocast(self._run.context.device, dtype, enabled=dtype != torch.float32):
                said += self._scores(clips.pixels.to(self._run.context.device)).tolist()
            known += clips.targets.tolist()
            if len(said) >= HELD_CLIPS:
                break
        return agreement(np.array(said), np.array(known))


def agreement(said: Floats, known: Floats) -> dict[str, float]:
    """What is told of a validation part. `r2`, the share of the labels' variance that is explained, chooses the epoch: ranks
    alone are often right long before the numbers are."""
    r2 = 1 - float(np.mean((said - known) ** 2) / max(known.var(), 1e-12))
    return {"srocc": srocc(said, known), "plcc": pearson(said, known), "r2": r2}


def sources(data: Data, items: Items, label: Label, run: Run, layout: Layout, *, grid: bool, side: int, clips: int,
            variants: int) -> Source:  # fmt: skip
    """Where the clips of a part come from."""
    if grid:
        return GridBlocks(items, label, run, layout, clips)
    labels = [labels_of(item, data.dataset) for item in items]
    return Crops(items, data, label, run, windows=layout.groups, side=side, clips=clips, variants=variants, labels=labels)


def made_from(data: Data) -> list[Any]:
    """What the stage hangs on, of the data: files, scores, contents, and labels of places by their sums."""

    def of(item: Item) -> list[Any]:
        labels = labels_of(item, data.dataset)
        sums = [float(values.sum()) for values in (labels.frames, labels.tiles, labels.boxes) if values is not None]
        return [*stamp([item.path]), item.score, item.reference, item.group, sums]

    return [[of(item) for item in items] for items in (data.train, data.val)]


def normed(network: Cnn3d) -> None:
    """Put a batch norm behind every convolution."""
    for name, module in list(network.named_children()):
        if isinstance(module, nn.Conv3d):
            network.add_module(name.replace("conv", "bn"), nn.BatchNorm3d(module.out_channels))


def begin(network: Cnn3d, glorot: bool, mean: float, norms: bool) -> None:
    """First weights: Keras' (uniform by Glorot, no bias), or normal by He with filters that do not see brightness first.

    Where batch norms will bring these to scale, they see nothing of a picture's mean, neither its colour nor its changes: the
    SROCC of validation clips was .71 after 150 steps, and .57 else. `mean` is what the network says before it learned
    anything, 0 with Keras' weights.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv3d, nn.Linear)):
            (nn.init.xavier_uniform_ if glorot else nn.init.kaiming_normal_)(layer.weight)
            nn.init.zeros_(layer.bias)
    if not glorot:
        with torch.no_grad():
            first = network.conv1.weight
            first.sub_(first.mean((3, 4) if norms else (1, 2, 3, 4), keepdim=True)).mul_(CONTRAST)
            network.out.weight.mul_(0.1)
            network.out.bias.fill_(mean)
