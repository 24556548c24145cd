"""What VSFA's head is trained on: the backbone to begin with, and the features of every frame, cached.

Features are made by the metric's own code, in float32 whatever training computes in, so that a head sees in training what
it will see in scoring. The cache hangs on the backbone's tensors, the file, the rate and the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vqmeter import tensors, weights
from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import Clip, Sample, Scale, Score, Stream
from vqmeter.metrics.nr.vsfa import IMAGENET, Features, build_backbone, check_size, plan
from vqmeter.networks.resnet import ResNet
from vqmeter.tensors import Kept
from vqmeter.training.datasets import Item
from vqmeter.training.reading import scores
from vqmeter.training.run import Run, digest, fingerprint, seeded, stamp
from vqmeter.training.store import opened
from vqmeter.weights import State


@dataclass(frozen=True)
class Backbone:
    """A ResNet's tensors; `needs` names the file they are of, and is empty where they go into the head's own file."""

    name: str
    state: State
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: dict(IMAGENET))
    levels: str = "last"
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def width(self) -> float:
        return self._like().width

    @property
    def stages(self) -> int:
        return self._like().stages

    def _like(self) -> ResNet:
        with torch.device("meta"):
            return ResNet.like(_depth(self.name), self.state)

    @property
    def digest(self) -> str:
        """A name for the tensors and the pixels."""
        counted = {key: value for key, value in self.state.items() if not key.endswith("num_batches_tracked")}
        return digest([self.preprocessing, self.levels, fingerprint(counted)])

    def network(self) -> ResNet:
        """One to train, with tensors of its own."""
        network = ResNet(_depth(self.name), self.width, self.stages, self.levels == "all")
        network.load_state_dict(self.state)
        return network


def _depth(name: str) -> int:
    return int(name.removeprefix("resnet"))


def begin(name: str, width: float, stages: int, levels: str, scratch: bool, choice: str | None, run: Run) -> Backbone:
    """The backbone to begin with: that of `run.init` where it brings its own, a seeded one from scratch, or ImageNet's.

    Raises
        WeightsError: there are no weights of that name.
        UsageError: a narrow network is to be other than from scratch.
    """
    if run.init is not None:
        state, found = weights.load("vsfa", run.init)
        own = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
        if own:
            has = Backbone(str(found.options.get("backbone")), own, {**IMAGENET, **found.preprocessing}, levels)
            if (has.name, has.width, has.stages) != (name, width, stages):
                raise WeightsError(f"{run.init}: say vsfa:backbone={has.name}:width={has.width:g}:stages={has.stages}, as it "
                                   "was trained")  # fmt: skip
            return has
    if scratch:
        return Backbone(name, _random(name, width, stages, run.seed), levels=levels)
    if width != 1:
        raise UsageError(f"vsfa: there are no weights of a {name} of width {width:g}; scratch=true begins without")
    state, found = weights.load(name, choice)
    if stages < 4:
        state = {key: value for key, value in state.items() if not (key.startswith("layer") and int(key[5]) > stages)}
    kept = build_backbone(name, state).state_dict()
    if stages < 4:
        return Backbone(name, kept, {**IMAGENET, **found.preprocessing}, levels)
    return Backbone(name, kept, {**IMAGENET, **found.preprocessing}, levels, {name: found.source_sha256 or found.sha256})


def _random(name: str, width: float, stages: int, seed: int) -> State:
    """Tensors as He et al. begin: normal, scaled by a layer's outputs."""
    with seeded(seed, name, width, stages):
        network = ResNet(_depth(name), width, stages)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    state: State = network.state_dict()
    return state


class _Collector:
    """A meter that keeps the features of the frames it is shown."""

    scores: Mapping[str, Scale]

    def __init__(self, features: Features, fps: float | None, stream: Stream) -> None:
        check_size(stream)
        self.scores, self.rows = {}, list[NDArray[np.float32]]()
        self._features, self._fps, self._stream = features, fps, stream
        self._batches = features.batches(stream)
        self.batch = self._batches.size

    def plan(self) -> Any:
        return plan(self._fps, self._stream)

    def prepare(self, sample: Sample) -> Kept:
        return tensors.keep(sample.dist)

    def score(self, batch: Sequence[Clip]) -> Sequence[Score]:
        with tensors.computing(self._features.context):
            self.rows += list(self._batches.run(self._features, [clip.items[0] for clip in batch]).numpy())
        return ()

    def finish(self) -> Sequence[Score]:
        return ()


class Cache:
    """Features (T, 2 C) of items, made once; `bits` 16 halves the disk they take."""

    def __init__(self, backbone: Backbone, fps: float | None, bits: int, run: Run) -> None:
        context = replace(run.context, precision="fp32", threads=1 if run.context.device == "cpu" else run.context.threads)
        placed = tensors.place(build_backbone(backbone.name, dict(backbone.state), backbone.levels), context)
        self.features = Features(placed, backbone.name, backbone.preprocessing, context)
        self.size = 2 * placed.described
        self._fps, self._dtype, self._run = fps, np.float16 if bits == 16 else np.float32, run
        self._made_by = [backbone.digest, fps, bits]
        self._paths = dict[str, str]()

    def make(self, items: Sequence[Item]) -> None:
        """Make what is not there yet."""
        new = [item for item in items if item.path not in self._paths]
        paths = self._run.each("features", new, self._one)
        self._paths |= {item.path: path for item, path in zip(new, paths, strict=True)}

    def of(self, item: Item) -> NDArray[np.float32]:
        """(T, 2 C) float32 of an item that was made."""
        return np.asarray(opened(self._paths[item.path]), np.float32)

    def _one(self, item: Item) -> str:
        made_by = [self._made_by, stamp([item.path]), item.size, item.rate]
        return str(self._run.array("features", made_by, lambda: self._collect(item)).filename)  # type: ignore[attr-defined]

    def _collect(self, item: Item) -> NDArray[Any]:
        meters = list[_Collector]()

        def opening(stream: Stream) -> _Collector:
            meters.append(_Collector(self.features, self._fps, stream))
            return meters[-1]

        scores(item, opening)
        return np.array(meters[0].rows, self._dtype)
