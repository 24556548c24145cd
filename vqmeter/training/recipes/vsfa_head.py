"""The stage `head` of VSFA: fc0, a recurrent network and the pooling after memory, on cached features of whole videos.

Videos of different lengths stand in one batch, zeros behind the shorter ones; the pooling counts none of these. Features may
be standardised for training, which Adam needs at other rates than the published 1e-5: fc0 is linear, so the mean and the
deviation fold into it afterwards, and the weights that are written take features as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.evaluation.correlation import pearson, srocc
from vqmeter.metric import Context
from vqmeter.networks.vsfa import FrameScores, Vsfa, mean_over, pool, valid
from vqmeter.training.datasets import Item
from vqmeter.training.dense import ranking
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.recipes.vsfa_features import Cache
from vqmeter.weights import State, build

_TOGETHER = 4  # copies of a source that stand in one batch where they are ranked


@dataclass(frozen=True)
class Standard:
    """The mean and the deviation of features over the frames trained on, (2 C,) float64."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @staticmethod
    def of(cache: Cache, items: Sequence[Item]) -> Standard:
        """Of items; hardly changing features count as changing by a tenth of the median one."""
        count, total, squares = 0, np.zeros(cache.size), np.zeros(cache.size)
        for item in items:
            rows = cache.of(item).astype(np.float64)
            count, total, squares = count + len(rows), total + rows.sum(0), squares + np.square(rows).sum(0)
        mean = total / count
        deviation = np.sqrt((squares / count - mean**2).clip(0))
        return Standard(mean, deviation.clip(max(0.1 * float(np.median(deviation)), 1e-6)))

    @staticmethod
    def none(size: int) -> Standard:
        return Standard(np.zeros(size), np.ones(size))

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((features - self.mean) / self.deviation).astype(np.float32)

    def fold(self, state: State) -> State:
        """A head's tensors for features as they are, of tensors for standardised ones."""
        weight = state["ann.fc0.weight"].double() / torch.from_numpy(self.deviation)
        bias = state["ann.fc0.bias"].double() - weight @ torch.from_numpy(self.mean)
        return state | {"ann.fc0.weight": weight.float(), "ann.fc0.bias": bias.float()}

    def unfold(self, state: State) -> State:
        """The other way."""
        weight = state["ann.fc0.weight"].double()
        bias = state["ann.fc0.bias"].double() + weight @ torch.from_numpy(self.mean)
        return state | {"ann.fc0.weight": (weight * torch.from_numpy(self.deviation)).float(), "ann.fc0.bias": bias.float()}


def distance(scores: Tensor, targets: Tensor, kind: str) -> Tensor:
    """The mean absolute difference (`l1`), or Huber's that is square below 0.1."""
    out: Tensor = F.l1_loss(scores, targets) if kind == "l1" else F.smooth_l1_loss(scores, targets, beta=0.1)
    return out


class HeadTask(Task):
    """`items` and their targets, `val` and theirs; `weight` is that of the ranking within a source, `averaged` whether the
    plain mean of frames stands in the pooling's place. `noise` is added to standardised features while training, the same to
    all frames of a video: it keeps the head from knowing its sources by heart, as a ridge does for a linear one."""

    module: Vsfa

    def __init__(self, head: Vsfa, cache: Cache, standard: Standard, items: Sequence[Item], targets: NDArray[np.float32],
                 val: Sequence[Item], val_targets: NDArray[np.float32], *, batch: int, averaged: bool, loss: str = "l1",
                 weight: float = 0.0, noise: float = 0.0, device: str = "cpu") -> None:  # fmt: skip
        self.module, self.device = head, device
        self._cache, self._standard, self._averaged = cache, standard, averaged
        self._items, self._targets, self._val, self._val_targets = items, torch.from_numpy(targets), val, val_targets
        self._batch, self._loss, self._weight, self._noise = batch, loss, weight, noise
        names = {item.reference or item.group or item.path: n for n, item in enumerate(items)}
        self._sources = torch.tensor([names[item.reference or item.group or item.path] for item in items])

    def batches(self, epoch: int, rng: np.random.Generator) -> list[list[int]]:
        if not self._weight:
            return shuffled(len(self._items), self._batch, rng)
        parts = defaultdict[int, list[int]](list)
        for n in rng.permutation(len(self._items)).tolist():
            parts[int(self._sources[n])].append(n)
        few = [own[at : at + _TOGETHER] for own in parts.values() for at in range(0, len(own), _TOGETHER)]
        order = [n for k in rng.permutation(len(few)) for n in few[k]]
        return [order[at : at + self._batch] for at in range(0, len(order), self._batch)]

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        scores = self._scores([self._items[n] for n in batch], rng)
        targets = self._targets[batch].to(scores.device)
        loss = distance(scores, targets, self._loss)
        if self._weight:
            loss = loss + self._weight * ranking(scores, targets, self._sources[batch].to(scores.device))
        return loss

    def validate(self) -> Mapping[str, float]:
        if len(self._val) < 3:
            return {}
        parts = [self._scores(self._val[at : at + self._batch]) for at in range(0, len(self._val), self._batch)]
        found, wanted = torch.cat(parts).double().cpu().numpy(), self._val_targets.astype(np.float64)
        return {"srocc": srocc(found, wanted), "plcc": pearson(found, wanted), "l1": float(np.abs(found - wanted).mean())}

    def _scores(self, items: Sequence[Item], rng: np.random.Generator | None = None) -> Tensor:
        """(N,) of whole videos, with gradients where they are wanted, and with noise where `rng` is to draw it."""
        rows = [torch.from_numpy(self._standard.apply(self._cache.of(item))) for item in items]
        if rng is not None and self._noise:
            rows = [row + self._noise * torch.from_numpy(rng.standard_normal(row.shape[1], np.float32)) for row in rows]
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
        frames = self.module(padded)[0].float()
        return mean_over(frames, valid(frames, lengths)) if self._averaged else pool(frames, lengths=lengths)


def score(state: State, sizes: Mapping[str, object], cache: Cache, items: Sequence[Item], averaged: bool,
          context: Context) -> NDArray[np.float64]:  # fmt: skip
    """(N,) raw scores of whole videos by a head's tensors, as the metric scores them."""
    head = build(lambda: Vsfa(**sizes), state)  # type: ignore[arg-type]
    cache.make(items)
    found = []
    for item in items:
        frames = FrameScores(head)
        with tensors.computing(context):
            frames.push(torch.from_numpy(cache.of(item).copy()))
        found.append(frames.mean() if averaged else frames.pooled())
    return np.array(found)
