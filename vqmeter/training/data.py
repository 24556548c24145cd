"""What a recipe trains on: items in three parts that share no content, and their labels as networks learn them.

Networks learn 0..1, higher is better, whichever way the data set counts: `Label` turns their numbers back. A scale
comes from the data set; where its ends are not known, from the scores of the training part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import InputError, UsageError
from vqmeter.evaluation.splits import split
from vqmeter.training.datasets import Dataset, Item
from vqmeter.weights import Label

Items = tuple[Item, ...]
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Data:
    """A data set in parts; any but `train` may be empty."""

    dataset: Dataset
    train: Items
    val: Items = ()
    test: Items = ()

    @property
    def parts(self) -> dict[str, Items]:
        return {name: getattr(self, name) for name in PARTS}

    @property
    def items(self) -> Items:
        return (*self.train, *self.val, *self.test)

    @property
    def label(self) -> Label:
        """How 0..1, higher is better, turns into the data set's own scale."""
        d, scores = self.dataset, [i.score for i in self.train if math.isfinite(i.score)]
        low = min(scores, default=0.0) if d.low is None else d.low
        high = max(scores, default=1.0) if d.high is None else d.high
        if not high > low:
            raise InputError(f"{d.name}: every score is {low:g}, so there is nothing to learn")
        scale, offset = (high - low, low) if d.higher_is_better else (low - high, high)
        return Label(scale, offset, low, high, d.higher_is_better, f"{d.unit}, {d.name}")

    def as_published(self) -> Label:
        """The label that leaves scores as they are."""
        return replace(self.label, scale=1.0, offset=0.0)


def targets(items: Sequence[Item], label: Label) -> NDArray[np.float32]:
    """(N,) float32: what a network should say of each item."""
    return np.array([(item.score - label.offset) / label.scale for item in items], np.float32)


def need_scores(data: Data, model: str) -> None:
    """Hold that every item has a score.

    Raises
        UsageError: some have none; the message says where scores may come from.
    """
    lacking = sum(not math.isfinite(item.score) for item in data.items)
    if lacking:
        raise UsageError(f"{data.dataset.name}: {lacking} of {len(data.items)} items have no score to train {model} on; "
                         "--labels vmaf (or another full-reference metric) makes them")  # fmt: skip


def divide(dataset: Dataset, how: str, repeats: int = 1, seed: int = 0) -> Iterator[Data]:
    """The data set in parts, once for each repeat (and fold).

    `how` is 80/20 (train, test), 60/20/20 (train, validation, test), 10-fold, `none` (all of it to train), or
    `column:NAME`, a column of the label file whose values are train, val and test.

    Raises
        UsageError: contents are too few, or there is no such column.
    """
    items = dataset.items
    if how == "none":
        yield Data(dataset, items)
    elif how.startswith("column:"):
        name = how.partition(":")[2]
        values = [(item.column(name) or "").lower() for item in items]
        train, val, test = (tuple(i for i, v in zip(items, values, strict=True) if v in words)
                            for words in (("train",), ("val", "validation"), ("test",)))  # fmt: skip
        if not train:
            raise UsageError(f"{dataset.name}: no item has 'train' in column '{name}'")
        yield Data(dataset, train, val, test)
    else:
        for part in split([item.group or item.path for item in items], how, repeats, seed):
            train, *between, test = (tuple(items[n] for n in indices) for indices in part)
            yield Data(dataset, train, between[0] if between else (), test)
