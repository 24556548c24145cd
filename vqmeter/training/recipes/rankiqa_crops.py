"""RankIQA's stages on crops: crops at random places as the metric would see them, fine-tuning to scores, and both at once.

Sources: Liu, van de Weijer, Bagdanov, ICCV 2017, doi:10.1109/ICCV.2017.118 (fine-tuning by a Euclidean loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqmeter.evaluation.correlation import pearson, srocc
from vqmeter.metrics.crops import Recipe
from vqmeter.tensors import reflect_pad
from vqmeter.training.dense import Sampler, ranking
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.store import Store

CHUNK = 16  # crops that go through a network at once where nothing is learned
FIXED = 4  # crops of a frame that validation looks at

#: Groups of parameters for an optimiser of this rate.
Groups = Callable[[nn.Module, float], list[dict[str, Any]]]


@dataclass(frozen=True)
class Cropper:
    """Crops of stored items, prepared as `recipe` says."""

    store: Store
    recipe: Recipe
    size: int
    device: str
    flip: bool = True

    def __call__(self, items: Sequence[int], places: NDArray[np.float64]) -> Tensor:
        """(N, 3, size, size) float32 on the device; `places` are (N, 4) in [0, 1): frame, top, left, and mirrored if < 0.5."""
        crops = [self._one(n, *map(float, place)) for n, place in zip(items, places, strict=True)]
        return self.recipe.of_rgb(torch.stack(crops).to(self.device))

    def _one(self, item: int, frame: float, top: float, left: float, mirrored: float) -> Tensor:
        height, width = self.store.stored[item].size
        h, w = min(height, self.size), min(width, self.size)
        at = int(frame * len(self.store.frames(item)))
        rgb = self.store.rgb(item, at, int(top * (height - h + 1)), int(left * (width - w + 1)), h, w)
        crop = reflect_pad(torch.from_numpy(np.ascontiguousarray(rgb)), (self.size, self.size))
        return crop.flip(-1) if self.flip and mirrored < 0.5 else crop


class CropTask(Task):
    """A network of one number a crop."""

    def __init__(self, module: nn.Module, cropper: Cropper, groups: Groups | None = None) -> None:
        self.module, self.cropper = module.to(memory_format=torch.channels_last), cropper
        self._groups = groups

    def parameters(self, rate: float) -> list[dict[str, Any]]:
        return super().parameters(rate) if self._groups is None else self._groups(self.module, rate)

    def say(self, crops: Tensor) -> Tensor:
        """(N,) float32."""
        x = crops.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.module(x)[:, 0].float()
        return out

    def scores(self, items: Sequence[int], rng: np.random.Generator, count: int = FIXED) -> NDArray[np.float64]:
        """(N,) the mean over `count` crops of every frame of each item, in eval mode."""
        self.module.eval()
        whose = [n for n in items for _ in range(count * len(self.cropper.store.frames(n)))]
        places, out = rng.random((len(whose), 4)), []
        at = np.concatenate([np.arange(len(self.cropper.store.frames(n))).repeat(count) for n in items])
        places[:, 0] = (at + 0.5) / [len(self.cropper.store.frames(n)) for n in whose]
        with torch.no_grad():
            for begin in range(0, len(whose), CHUNK):
                part = slice(begin, begin + CHUNK)
                out.append(self.say(self.cropper(whose[part], places[part])).cpu())
        values = torch.cat(out).double().numpy()
        ends = np.cumsum([count * len(self.cropper.store.frames(n)) for n in items])[:-1]
        return np.array([part.mean() for part in np.split(values, ends)])


class ScoredTask(CropTask):
    """What fine-tuning and joint training share: a validation on items with scores."""

    def __init__(self, module: nn.Module, cropper: Cropper, val: Sequence[int], targets: NDArray[np.float32],
                 rng: Callable[[], np.random.Generator], groups: Groups | None = None) -> None:  # fmt: skip
        """`targets` (N,) of all stored items, NaN where there is none; `val` are numbers of items; `rng` begins anew."""
        super().__init__(module, cropper, groups)
        self.targets, self._rng = targets, rng
        self.val = [n for n in val if np.isfinite(targets[n])]

    def validate(self) -> Mapping[str, float]:
        if len(self.val) < 3:
            return {}
        found, wanted = self.scores(self.val, self._rng()), self.targets[self.val].astype(np.float64)
        return {"srocc": srocc(found, wanted), "plcc": pearson(found, wanted)}


class TuneTask(ScoredTask):
    """Fine-tuning: half the mean squared difference, a crop of each item a visit."""

    def __init__(self, *given: Any, items: Sequence[int], batch: int, steps: int | None = None, visits: int = 1,
                 **named: Any) -> None:  # fmt: skip
        """`items` are learned from, `visits` times an epoch, or `steps` batches an epoch."""
        super().__init__(*given, **named)
        self.items, self.batch, self.steps, self.visits = list(items), batch, steps, visits

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[Sequence[int]]:
        out: list[list[int]] = []
        rounds = 0
        while len(out) < self.steps if self.steps else rounds < self.visits:
            out += [[self.items[n] for n in part] for part in shuffled(len(self.items), self.batch, rng)]
            rounds += 1
        return out[: self.steps]

    def loss(self, batch: Sequence[int], rng: np.random.Generator) -> Tensor:
        found = self.say(self.cropper(batch, rng.random((len(batch), 4))))
        wanted = torch.from_numpy(self.targets[list(batch)]).to(found.device)
        return 0.5 * F.mse_loss(found, wanted)


class JointTask(ScoredTask):
    """Labels and rankings at once: copies of a source at one place, told their labels and which of two is the better.

    loss = Huber(f, label) + mean over pairs of a source of max(0, label difference - score difference)

    With `rank`, a task of ladders that have no labels, each batch brings one of its own and its loss is added by `weight`.
    """

    def __init__(self, *given: Any, sampler: Sampler, batch: int, rounds: int = 1, rank: Task | None = None,
                 weight: float = 1.0, **named: Any) -> None:  # fmt: skip
        """`batch` counts crops, `rounds` how often an epoch sees each source."""
        super().__init__(*given, **named)
        self.sampler, self.rounds, self.rank, self.weight = sampler, rounds, rank, weight
        self.sources = max(1, batch // sampler.variants)

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[tuple[Sequence[int], Any]]:
        own = self.sampler.batches(rng, self.sources, self.rounds)
        if self.rank is None:
            return [(batch, None) for batch in own]
        beside = [batch for _ in own for batch in self.rank.batches(epoch, rng)[:1]]
        return list(zip(own, beside, strict=True))

    def loss(self, batch: tuple[Sequence[int], Any], rng: np.random.Generator) -> Tensor:
        loss = self._labelled(batch[0], rng)
        return loss if self.rank is None else loss + self.weight * self.rank.loss(batch[1], rng)

    def _labelled(self, batch: Sequence[int], rng: np.random.Generator) -> Tensor:
        drawn = self.sampler.draw(batch, rng).to(self.cropper.device)
        found = self.say(self.cropper.recipe.of_rgb(drawn.pixels))
        known = drawn.targets.isfinite()
        found, wanted, sources = found[known], drawn.targets[known].float(), drawn.sources[known]
        return F.smooth_l1_loss(found, wanted, beta=0.1) + ranking(found, wanted, sources)
