"""Training on pairs of patches, what DIPQA and DIQaM share: drawing them, their losses, and validation.

Patches are drawn anew in every step, in one of two ways:

- `variants` 1: every picture (frame) once an epoch, `patches` of it at random places. A patch's target is its picture's
  score, or what is known of its place (`vqmeter.training.dense`); weighted networks are judged by the picture.
- `variants` of 2 or more: copies of one source at one place, as many places a source as make `patches` of every picture an
  epoch. Their features of the reference are computed once, and beside the loss copies that are out of order count, by
  `rank` times max(0, difference of targets - difference of qualities).

Pixels are those of scoring: `Store` decodes as it does, and the metric's own `Recipe` normalises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.errors import InputError, UsageError, WeightsError
from vqmeter.evaluation.correlation import srocc
from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.networks.bosse import Bosse, pool_patches
from vqmeter.networks.dipqa import Dipqa
from vqmeter.tensors import normalise, reflect_pad
from vqmeter.training.data import Data, Items, need_scores
from vqmeter.training.dense import Sampler, labels_of, ranking
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.run import Run
from vqmeter.training.store import Store
from vqmeter.weights import Label, State, load

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss}
VALIDATED = 16  # patches of a picture that validation looks at
_TOGETHER = 128  # pairs that validation runs at once

Network = Dipqa | Bosse


@dataclass(frozen=True)
class Drawing:
    """How patches are drawn and judged; `batch` is pictures, or pairs where `variants` are drawn together."""

    size: int
    batch: int
    patches: int = 1
    frames: int = 1
    variants: int = 1
    rank: float = 0.0
    loss: str = "mse"
    flip: bool = True
    frozen: bool = False  # the convolutions keep their weights and their statistics


@dataclass(frozen=True)
class Pairs:
    """Patches (N, 3, size, size), those of references (M, ...), M <= N, which of them is whose (N,) int64, targets (N,)."""

    dist: Tensor
    ref: Tensor
    of: Tensor
    targets: Tensor


class Part:
    """The items of one part of the data, stored and labelled.

    Raises
        InputError: a file cannot be read, or a video and its reference differ in length.
    """

    def __init__(self, items: Items, data: Data, label: Label, run: Run, how: Drawing) -> None:
        self.items, self.label, self.how = items, label, how
        self.store = Store(items, run, windows=how.frames, paired=True)
        self.labels = [labels_of(item, data.dataset) for item in items]
        for n, item in enumerate(items):
            if self.store.frames(n) != self.store.frames(self.store.reference(n)):
                raise InputError(f"{item.path}: its reference has another number of frames")

    def draw(self, n: int, count: int, rng: np.random.Generator, flip: bool) -> list[tuple[Tensor, Tensor, float]]:
        """`count` patches of item `n` beside its reference's, (3, size, size) both, with their targets."""
        room = [max(0, length - self.how.size) + 1 for length in self.store.stored[n].size]
        out = []
        for _ in range(count):
            at, top, left = (int(rng.integers(m)) for m in (len(self.store.frames(n)), *room))
            sides = [self._cut(k, at, top, left) for k in (n, self.store.reference(n))]
            if flip and rng.random() < 0.5:
                sides = [side.flip(2) for side in sides]
            value = self.labels[n].at([self.store.frames(n)[at]], top, left, self.how.size, self.how.size)
            out.append((sides[0], sides[1], (value - self.label.offset) / self.label.scale))
        return out

    def _cut(self, n: int, at: int, top: int, left: int) -> Tensor:
        """A patch; of a smaller picture all of it, mirrored at its borders."""
        height, width = (min(length, self.how.size) for length in self.store.stored[n].size)
        whole = torch.from_numpy(np.ascontiguousarray(self.store.rgb(n, at, top, left, height, width)))
        return reflect_pad(whole, (self.how.size, self.how.size))

    def pairs(self, items: Sequence[int], rng: np.random.Generator) -> Pairs:
        """`how.patches` of every item, one item after another."""
        return _stacked([pair for n in items for pair in self.draw(n, self.how.patches, rng, self.how.flip)])


def _stacked(drawn: Sequence[tuple[Tensor, Tensor, float]]) -> Pairs:
    dist, ref, targets = zip(*drawn, strict=True)
    return Pairs(torch.stack(dist), torch.stack(ref), torch.arange(len(drawn)), torch.tensor(targets))


class PatchTask(Task):
    """Trains a network of pairs.

    Raises
        UsageError: an item has no score or no reference.
    """

    def __init__(self, module: Network, pixels: Pixels, data: Data, label: Label, run: Run, how: Drawing) -> None:
        need_scores(data, type(module).__name__.lower())
        lacking = [item.path for item in data.items if not item.reference]
        if lacking:
            raise UsageError(f"{lacking[0]} has no reference; patches are compared with a reference's")
        self.module, self._pixels, self._how, self._run = module, pixels, how, run
        self._train = Part(data.train, data, label, run, how)
        self._val = Part(data.val, data, label, run, how) if data.val else None
        self._sampler: Sampler | None = None
        if how.variants > 1:
            part = self._train
            self._sampler = Sampler(part.store, part.labels, label, how.size, variants=how.variants, paired=True, flip=how.flip)

    def begin(self) -> None:
        self.module.train()
        if self._how.frozen:
            self.module.features.eval()

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[list[int]]:
        count, how = len(self._train.items), self._how
        if self._sampler is None:
            return shuffled(count, how.batch, rng)
        sources = self._sampler.sources
        at_once = sum(min(how.variants, len(items)) for items in sources)
        rounds = max(1, round(how.patches * count / at_once))
        return self._sampler.batches(rng, max(1, how.batch // how.variants), rounds)

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        pairs = self._train.pairs(batch, rng) if self._sampler is None else self._of_sources(batch, rng)
        quality, weight = self._judge(pairs)
        targets, how = pairs.targets.to(quality.device), self._how
        if weight is not None:
            of_picture = (-1, how.patches)
            quality = pool_patches(quality.view(of_picture), weight.view(of_picture))
            targets = targets.view(of_picture).mean(1)
        loss = LOSSES[how.loss](quality, targets)
        if self._sampler is not None and how.rank:
            loss = loss + how.rank * ranking(quality, targets, pairs.of.to(quality.device))
        return loss

    def _of_sources(self, sources: list[int], rng: np.random.Generator) -> Pairs:
        """Copies of sources, each source at a place of its own, beside one patch of the reference."""
        assert self._sampler is not None
        drawn = self._sampler.draw(sources, rng)
        assert drawn.reference is not None
        first = torch.searchsorted(drawn.sources, torch.arange(len(sources)))
        return Pairs(drawn.pixels, drawn.reference[first], drawn.sources, drawn.targets.float())

    def _judge(self, pairs: Pairs) -> tuple[Tensor, Tensor | None]:
        """Qualities (N,) float32, and weights of a weighted network."""
        device = self._run.context.device
        dist, ref = (self._fed(side.to(device, non_blocking=True)) for side in (pairs.dist, pairs.ref))
        of = pairs.of.to(device) if len(ref) < len(dist) else None
        if isinstance(self.module, Bosse):
            quality, weight = self.module(dist, ref, of)
            return quality.float(), weight.float() if self.module.fc_w is not None else None
        return self.module(dist, ref, of).float(), None

    def _fed(self, x: Tensor) -> Tensor:
        """What the network takes of R, G, B in [0, 1]."""
        x = x if self._pixels.divide == 255 else x * (255 / self._pixels.divide)
        x = normalise(x, self._pixels.mean, self._pixels.std)
        return x.contiguous(memory_format=torch.channels_last)

    def validate(self) -> Mapping[str, float]:
        """SROCC of pictures by the mean over fixed patches, and of the patches themselves where their places have labels."""
        part = self._val
        if part is None:
            return {}
        found, targets = [], list[float]()
        for pairs in self._to_validate(part):
            found.append(torch.stack([one.double().cpu() for one in self._judge(pairs) if one is not None]))
            targets += pairs.targets.tolist()
        table = torch.cat(found, 1).view(len(found[0]), -1, VALIDATED)
        quality, weight = table[0], table[1] if len(table) > 1 else torch.ones_like(table[0])
        scores = np.array([(item.score - part.label.offset) / part.label.scale for item in part.items])
        figures = {"srocc": srocc(pool_patches(quality, weight).numpy(), scores)}
        if any(one.tiles is not None for one in part.labels):
            figures["srocc_patches"] = srocc(quality.numpy().ravel(), np.array(targets))
        return figures

    def _to_validate(self, part: Part) -> Iterator[Pairs]:
        """The same patches every time; copies of one source are cut at the same places."""
        at_once = max(1, _TOGETHER // VALIDATED)
        for at in range(0, len(part.items), at_once):
            drawn = []
            for n, item in enumerate(part.items[at : at + at_once], at):
                drawn += part.draw(n, VALIDATED, self._run.rng("validation", item.reference), False)
            yield _stacked(drawn)


# --- where a network begins ------------------------------------------------------------------------------------------


def begin(module: Network, model: str, run: Run, label: Label, data: Data) -> None:
    """Weights at random from the run's seed (He et al.: deviation (2 / inputs)**0.5, biases 0), the last bias at the mean
    target; or those of the run's `init`.

    Raises
        WeightsError: `init` is of another network.
    """
    if run.init is not None:
        fill(module, load(model, run.init)[0], run.init)
        return
    generator = torch.Generator().manual_seed(int(run.rng(model, "begin").integers(1 << 62)))
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_(0.0, math.sqrt(2 / layer.weight[0].numel()), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        heads = [module.fc2] if isinstance(module, Dipqa) else [h[3] for h in (module.fc_q, module.fc_w) if h is not None]
        for head in heads:
            head.weight.mul_(0.1)
        heads[0].bias.fill_(float(np.mean([(item.score - label.offset) / label.scale for item in data.train])))
        for head in heads[1:]:
            head.bias.fill_(1.0)


def fill(module: nn.Module, state: State, name: str) -> None:
    """Copy tensors into a module; those it has no use for are passed over.

    Raises
        WeightsError: one is missing or of another shape.
    """
    own = module.state_dict()
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise WeightsError(f"{name}: no {wrong[0]} of shape {list(own[wrong[0]].shape)} in it")
    module.load_state_dict({key: state[key].clone() for key in own})


def copied(module: nn.Module) -> State:
    """The tensors of a module, on the CPU and its own no more."""
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
