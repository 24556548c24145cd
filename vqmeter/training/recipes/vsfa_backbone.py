"""The stages `contrast` and `backbone` of VSFA: its ResNet trained on native crops, before the head is.

`backbone`: crops of several copies of a source at one place, the means and deviations of the last map or of all stages', two
linear layers; the
loss is the distance to the crop's label and the ranking within the source. `contrast` knows no labels: two crops of an item
at different places are to be alike, and unlike crops of other copies of the same source and of other sources, by InfoNCE on
a projection that is thrown away. It is our reading of a remark, that unlabelled video could teach the features contrastively,
after CONTRIQUE (Madhusudana et al., TIP 2022, doi:10.1109/TIP.2022.3181496).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqmeter import tensors
from vqmeter.evaluation.correlation import pearson, srocc
from vqmeter.networks.vsfa import OfPictures
from vqmeter.training.data import Data, targets
from vqmeter.training.datasets import Item
from vqmeter.training.dense import Batch, Sampler, labels_of, ranking
from vqmeter.training.loop import Plan, Task, fit
from vqmeter.training.recipes.vsfa_features import Backbone
from vqmeter.training.recipes.vsfa_head import distance
from vqmeter.training.run import Run, seeded
from vqmeter.training.store import Store
from vqmeter.weights import Label

_TEMPERATURE = 0.1
_PROJECTED = 64


@dataclass(frozen=True)
class Crops:
    """What crops are taken: `size` pixels a side, of `frames` frames a video, `sources` a batch and `variants` of each."""

    size: int = 192
    frames: int = 6
    sources: int = 8
    variants: int = 4

    def sampler(self, items: Sequence[Item], data: Data, label: Label, run: Run) -> Sampler:
        store = Store(items, run, self.frames)
        return Sampler(store, [labels_of(item, data.dataset) for item in items], label, self.size, variants=self.variants)


def _seeded(backbone: Backbone, outputs: int, run: Run, stage: str) -> OfPictures:
    network = backbone.network()
    with seeded(run.seed, stage):
        return OfPictures(network, outputs)


class _CropTask(Task):
    """Batches of crops of train, and one fixed set of crops of val."""

    module: OfPictures

    def __init__(self, module: OfPictures, backbone: Backbone, crops: Crops, train: Sampler, val: Sampler | None,
                 run: Run) -> None:  # fmt: skip
        self.module, self._how, self._crops, self._train, self._run = module, backbone.preprocessing, crops, train, run
        most = max(len(items) for items in train.sources)
        self._rounds = -(-most // crops.variants)
        self._val = val

    def batches(self, epoch: int, rng: np.random.Generator) -> list[list[int]]:
        return self._train.batches(rng, self._crops.sources, self._rounds)

    def _fixed(self) -> list[tuple[list[int], np.random.Generator]]:
        """The batches of validation, the same in every epoch."""
        if self._val is None:
            return []
        rng = self._run.rng("validation crops")
        batches = self._val.batches(rng, self._crops.sources, self._rounds)
        return [(batch, self._run.rng("validation crops", n)) for n, batch in enumerate(batches)]

    def _numbers(self, batch: Batch) -> Tensor:
        """(N, outputs) float32 of crops, on the run's device."""
        x = batch.pixels.to(self._run.context.device)
        x = (x if self._how["order"] == "RGB" else x.flip(1)) * (255 / self._how["divide"])
        out: Tensor = self.module(tensors.normalise(x, self._how["mean"], self._how["std"])).float()
        return out


class RegressTask(_CropTask):
    """Labels of crops, and their order within a source."""

    def __init__(self, *args: object, loss: str, weight: float) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._loss, self._weight = loss, weight

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        drawn = self._train.draw(batch, rng)
        found = self._numbers(drawn)[:, 0]
        wanted, sources = drawn.targets.to(found.device), drawn.sources.to(found.device)
        return distance(found, wanted, self._loss) + self._weight * ranking(found, wanted, sources)

    def validate(self) -> Mapping[str, float]:
        found, wanted = [], []
        for batch, rng in self._fixed():
            drawn = self._val.draw(batch, rng)  # type: ignore[union-attr]
            found.append(self._numbers(drawn)[:, 0].double().cpu().numpy())
            wanted.append(drawn.targets.double().numpy())
        if not found:
            return {}
        a, b = np.concatenate(found), np.concatenate(wanted)
        return {"srocc": srocc(a, b), "plcc": pearson(a, b), "l1": float(np.abs(a - b).mean())}


class ContrastTask(_CropTask):
    """Which crop shows the same item as this one."""

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        return self._info_nce(*self._train.twice(batch, rng))[0]

    def validate(self) -> Mapping[str, float]:
        fixed = self._fixed()
        if not fixed:
            return {}
        shares = [float(self._info_nce(*self._val.twice(batch, rng))[1]) for batch, rng in fixed]  # type: ignore[union-attr]
        return {"accuracy": float(np.mean(shares))}

    def _info_nce(self, one: Batch, other: Batch) -> tuple[Tensor, Tensor]:
        """The loss, and the share of crops whose nearest is their own."""
        a, b = F.normalize(torch.cat([self._numbers(one), self._numbers(other)]), dim=1).chunk(2)
        likeness = a @ b.T / _TEMPERATURE
        own = torch.arange(len(a), device=a.device)
        loss = (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2
        return loss, (likeness.argmax(1) == own).float().mean()


def contrast(backbone: Backbone, crops: Crops, data: Data, label: Label, plan: Plan, run: Run) -> Backbone:
    """The backbone after contrastive training on all of train, labelled or not."""
    module = _seeded(backbone, _PROJECTED, run, "contrast")
    task = ContrastTask(module, backbone, crops, *_samplers(crops, data, label, run), run)
    fit("contrast", task, replace(plan, watch="accuracy"), run)
    return _after(backbone, module)


def regress(backbone: Backbone, crops: Crops, data: Data, label: Label, plan: Plan, run: Run, loss: str,
            weight: float) -> Backbone:  # fmt: skip
    """The backbone after training on the labels of crops."""
    module = _seeded(backbone, 1, run, "backbone")
    torch.nn.init.constant_(module.head[-1].bias, float(targets(data.train, label).mean()))
    task = RegressTask(module, backbone, crops, *_samplers(crops, data, label, run), run, loss=loss, weight=weight)
    fit("backbone", task, plan, run)
    return _after(backbone, module)


def _samplers(crops: Crops, data: Data, label: Label, run: Run) -> tuple[Sampler, Sampler | None]:
    return crops.sampler(data.train, data, label, run), crops.sampler(data.val, data, label, run) if data.val else None


def _after(backbone: Backbone, module: OfPictures) -> Backbone:
    state = {key: value.detach().cpu().clone().contiguous() for key, value in module.backbone.state_dict().items()}
    return replace(backbone, state=state, needs={})
