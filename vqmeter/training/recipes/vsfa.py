"""The recipe of VSFA: a head on the features of every frame, over ImageNet's ResNet or one of its own.

The published way (`as_published`) is that of the authors' code: L1, Adam 1e-5, batches of 16, 2000 epochs, the rate times
0.8 every 200, labels divided by the largest of the whole data set, the epoch of the best validation SROCC. The default is
quicker and means the same: standardised features (folded into fc0 afterwards), Adam 5e-4 falling by cosine, 150 epochs, labels
on 0..1. `end_to_end` trains the ResNet first, on native crops (`vsfa_backbone`); a narrower one (`width`) goes into the file.

`self_label` N: items without a score get the head's own predictions, and the head is trained again on all of them, N times
or for as long as the validation SROCC does not fall. `labelled` keeps the scores of that share of the contents only.

Source: Li, Jiang, Jiang, Quality Assessment of In-the-Wild Videos, ACM MM 2019, doi:10.1145/3343031.3351028.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from vqmeter import weights
from vqmeter.errors import UsageError
from vqmeter.evaluation.correlation import srocc
from vqmeter.metrics.nr.vsfa import AVERAGED, CELLS, build_head
from vqmeter.networks.vsfa import Vsfa as Head
from vqmeter.training.data import Data, targets
from vqmeter.training.datasets import Item
from vqmeter.training.loop import Plan, fit
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.recipes.vsfa_backbone import Crops, contrast, regress
from vqmeter.training.recipes.vsfa_features import Backbone, Cache, begin
from vqmeter.training.recipes.vsfa_head import HeadTask, Standard, score
from vqmeter.training.recipes.vsfa_tables import COMPARISONS
from vqmeter.training.run import Run, seeded
from vqmeter.weights import Label, State

PUBLISHED = Plan(2000, 1e-5, every=200, factor=0.8)
HEAD = Plan(150, 5e-4, cosine=True, clip=1.0, average=0.98)
BACKBONE = Plan(40, 1e-3, "adamw", {"weight_decay": 0.02}, cosine=True, warm=20, clip=1.0, average=0.998)
CONTRAST = replace(BACKBONE, epochs=20)
_FINETUNE = 0.1  # of the rate, for a ResNet that has learned something before


@dataclass(frozen=True)
class Vsfa:
    """Options of VSFA's recipe.

    `backbone_weights` names another file of the ResNet; `scratch` begins with random values, `width` times as many channels;
    `stages` keeps the first ones of the ResNet, `levels=all` takes the statistics of all of them and of the stem. `fps` trains
    (and scores) on that rate. `crop`, `frames`, `sources` and `variants` are pixels a side, frames a video, sources a batch and
    copies of each in training a ResNet; `ranking` weighs the order within a source there and in the head, `noise` is what is
    added to standardised features while the head learns, and `features` the bits a cached feature takes.
    """

    backbone: Literal["resnet18", "resnet50", "resnet101"] = "resnet50"
    temporal: Literal["sub-gru", "sub-lstm", "avg-gru", "none"] = "sub-gru"
    fps: float | None = None
    as_published: bool = False
    loss: Literal["l1", "huber"] = "l1"
    ranking: float = 1.0
    noise: float = 0.0
    backbone_weights: str | None = None
    scratch: bool = False
    width: float = 1.0
    stages: Literal[1, 2, 3, 4] = 4
    levels: Literal["last", "all"] = "last"
    end_to_end: bool = False
    pretrain: Literal["contrastive"] | None = None
    crop: int = 192
    frames: int = 6
    sources: int = 8
    variants: int = 4
    self_label: int = 0
    labelled: float = 1.0
    features: Literal["16", "32"] = "32"

    about: ClassVar[About] = About(
        "VSFA, a head on ResNet features of every frame, or all of it",
        "Li, Jiang, Jiang, ACM Multimedia 2019, doi:10.1145/3343031.3351028, and its comparison on LIVE-APV",
        "videos with scores (konvid-1k, live-vqc, cvd2014, live-qualcomm, live-apv, csv); a ResNet of its own wants copies of "
        "sources (vqmeter distort), best with labels of places",
    )
    comparisons: ClassVar[Mapping[str, Comparison]] = COMPARISONS

    def __post_init__(self) -> None:
        if not 0 < self.labelled <= 1:
            raise UsageError(f"vsfa: labelled is a share of the contents, over 0 and up to 1, not {self.labelled:g}")
        if self.width <= 0 or self.self_label < 0:
            raise UsageError("vsfa: width is over 0 and self_label not below it")
        if self.as_published and (self.end_to_end or self.pretrain or self.self_label):
            raise UsageError("vsfa: as_published is a head on ImageNet's features, without end_to_end, pretrain and self_label")

    def train(self, data: Data, run: Run) -> Trained:
        return _Training(self, self._hidden(data, run), run).all()

    def _hidden(self, data: Data, run: Run) -> Data:
        """The data without the scores of contents that are to count as unlabelled."""
        groups = sorted({item.group or item.path for item in data.train})
        count = max(1, round(self.labelled * len(groups)))
        kept = {groups[n] for n in run.rng("labelled").permutation(len(groups))[:count]}
        return replace(data, train=tuple(
            item if (item.group or item.path) in kept else replace(item, score=math.nan) for item in data.train))  # fmt: skip


@dataclass
class _Training:
    """One run of the recipe through its stages."""

    recipe: Vsfa
    data: Data
    run: Run
    label: Label = field(init=False)
    labelled: tuple[Item, ...] = field(init=False)
    sizes: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.labelled = tuple(item for item in self.data.train if math.isfinite(item.score))
        if not self.labelled or not all(math.isfinite(item.score) for item in self.data.val):
            raise UsageError(f"{self.data.dataset.name}: no scores to train vsfa on, or none to validate it by; "
                             "--labels vmaf (or another full-reference metric) makes them")  # fmt: skip
        self.label = self.data.label
        if self.recipe.as_published:
            known = [item.score for item in self.data.items if math.isfinite(item.score)]
            self.label = replace(self.label, scale=max(known), offset=0.0)

    def all(self) -> Trained:
        recipe, run = self.recipe, self.run
        backbone = self._backbone(
            begin(recipe.backbone, recipe.width, recipe.stages, recipe.levels, recipe.scratch, recipe.backbone_weights, run)
        )
        cache = Cache(backbone, recipe.fps, int(recipe.features), run)
        cache.make((*self.data.train, *self.data.val))
        self.sizes = {"inputs": cache.size, "temporal": CELLS[recipe.temporal]}
        state, figures = self._rounds(cache)
        tensors = dict(state)
        if not backbone.needs:
            tensors |= {f"backbone.{key}": value for key, value in backbone.state.items()}
        options: dict[str, Any] = {"backbone": recipe.backbone, "temporal": recipe.temporal}
        options |= {"fps": recipe.fps} if recipe.fps else {}
        options |= {"width": backbone.width} if backbone.width != 1 else {}
        options |= {"stages": backbone.stages} if backbone.stages != 4 else {}
        options |= {"levels": backbone.levels} if backbone.levels != "last" else {}
        return Trained(
            tensors, self.label, lambda items: self._score(state, cache, items), options, backbone.preprocessing,
            backbone.needs, f"{recipe.backbone}, {recipe.temporal}", figures, self._notes(backbone, figures),
        )  # fmt: skip

    def _score(self, state: State, cache: Cache, items: Sequence[Item]) -> NDArray[np.float64]:
        return score(state, self.sizes, cache, items, self.recipe.temporal in AVERAGED, cache.features.context)

    def _backbone(self, backbone: Backbone) -> Backbone:
        """The ResNet after the stages that train it."""
        recipe, run = self.recipe, self.run
        crops = Crops(recipe.crop, recipe.frames, run.batch or recipe.sources, recipe.variants)
        learned = not recipe.scratch
        if recipe.pretrain:
            backbone = contrast(backbone, crops, self.data, self.label, _rated(CONTRAST, learned), run)
            learned = True
        if recipe.end_to_end:
            data = replace(self.data, train=self.labelled)
            backbone = regress(backbone, crops, data, self.label, _rated(BACKBONE, learned), run, recipe.loss, recipe.ranking)
        return backbone

    def _rounds(self, cache: Cache) -> tuple[State, dict[str, float]]:
        """The head, trained once, and again on its own labels as long as validation does not fall."""
        state, best = self._head("head", cache, self.labelled, targets(self.labelled, self.label))
        figures = {"val_srocc": best, "rounds": 0.0}
        unlabelled = tuple(item for item in self.data.train if not math.isfinite(item.score))
        if self.recipe.self_label and not unlabelled:
            raise UsageError("vsfa: self_label needs items without a score; labelled=0.5 hides those of half the contents")
        for n in range(1, self.recipe.self_label + 1):
            own = self._score(state, cache, unlabelled)
            wanted = np.concatenate([targets(self.labelled, self.label), own.astype(np.float32)])
            again, value = self._head(f"head-{n}", cache, (*self.labelled, *unlabelled), wanted)
            figures[f"val_srocc_{n}"] = value
            if value < best:
                break
            state, best = again, value
            figures |= {"val_srocc": best, "rounds": float(n)}
        return state, {key: value for key, value in figures.items() if math.isfinite(value)}

    def _head(self, stage: str, cache: Cache, items: Sequence[Item], wanted: NDArray[np.float32]) -> tuple[State, float]:
        """A head's tensors for features as they are, and its validation SROCC (NaN without a validation part)."""
        recipe, run = self.recipe, self.run
        standard = Standard.none(cache.size) if recipe.as_published else Standard.of(cache, items)
        task = HeadTask(
            self._begin(stage, standard, float(wanted.mean())), cache, standard, items, wanted, self.data.val,
            targets(self.data.val, self.label), batch=run.batch or 16, averaged=recipe.temporal in AVERAGED,
            loss="l1" if recipe.as_published else recipe.loss,
            weight=0.0 if recipe.as_published else recipe.ranking, noise=0.0 if recipe.as_published else recipe.noise,
            device=run.context.device,
        )  # fmt: skip
        fit(stage, task, PUBLISHED if recipe.as_published else HEAD, run)
        state = {key: value.detach().cpu() for key, value in task.module.state_dict().items()}
        folded = state if recipe.as_published else standard.fold(state)
        if not self.data.val:
            return folded, math.nan
        return folded, srocc(self._score(folded, cache, self.data.val), targets(self.data.val, self.label).astype(np.float64))

    def _begin(self, stage: str, standard: Standard, mean: float) -> Head:
        """The head to begin with: seeded, about the `mean` of labels, or that of `run.init` where it is of the same shape."""
        with seeded(self.run.seed, stage):
            head = Head(**self.sizes)
        if not self.recipe.as_published:
            torch.nn.init.constant_(head.q.bias, mean)
        if self.run.init is not None:
            found, _ = weights.load("vsfa", self.run.init)
            own = {key: value for key, value in found.items() if not key.startswith(("backbone.", "nlm.", "lm.", "ann.fc."))}
            given = build_head(own).state_dict()
            if {k: v.shape for k, v in given.items()} == {k: v.shape for k, v in head.state_dict().items()}:
                head.load_state_dict(given if self.recipe.as_published else standard.unfold(given))
        return head

    def _notes(self, backbone: Backbone, figures: Mapping[str, float]) -> tuple[str, ...]:
        recipe, notes = self.recipe, list[str]()
        if recipe.pretrain:
            notes.append("The ResNet was first trained without labels: two crops of one item are to be alike, others not.")
        if recipe.end_to_end:
            shape = f"width {backbone.width:g}, {backbone.stages} stages"
            notes.append(f"The ResNet ({shape}) was trained on native crops of {recipe.crop} pixels, the head then on features "
                         "of whole frames.")  # fmt: skip
        if recipe.self_label:
            notes.append(f"Items without a score took part with predicted ones: {figures['rounds']:g} of {recipe.self_label} "
                         "rounds were kept.")  # fmt: skip
        if recipe.as_published:
            notes.append("Labels were divided by the largest of the whole data set, its test part included, as published.")
        return tuple(notes)


def _rated(plan: Plan, learned: bool) -> Plan:
    """A plan for a ResNet that begins with random values, or with what it learned before."""
    return replace(plan, rate=plan.rate * _FINETUNE, epochs=max(1, plan.epochs // 4)) if learned else plan
