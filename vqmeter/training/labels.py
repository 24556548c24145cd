"""Pseudo labels: scores of a full-reference metric in the place of people's, for copies whose reference is at hand.

What a model learns from them is to agree with that metric without the reference. It is not agreement with people, and the
card of such weights says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from vqmeter.errors import InputError, UsageError
from vqmeter.evaluation.scoring import score_dataset
from vqmeter.metric import choose
from vqmeter.training.datasets import Dataset
from vqmeter.training.datasets.items import some

Progress = Callable[[int, int], None]


def pseudo_labels(dataset: Dataset, metric: str, *, cache: str | None = None, threads: int = 0, jobs: int = 1,
                  progress: Progress | None = None) -> Dataset:  # fmt: skip
    """`dataset` with the scores of `metric`, `NAME[:OPTION=VALUE]...[.SCORE]`, in the place of its own.

    Scores are kept in `cache` (NDJSON, an item a line), `jobs` references are measured at once.
    A pristine item, its own reference, has the metric's best value (of PSNR the ceiling).

    Raises
        UsageError: no such metric, a metric of several scores without one named, or items without a reference.
        InputError: an item could not be measured.
    """
    spec, key = _score_of(metric)
    lacking = [dataset.name_of(item.path) for item in dataset.items if not item.reference]
    if lacking:
        raise UsageError(f"{dataset.name}: --labels {metric} needs references; {len(lacking)} items have none: {some(lacking)}")
    [table] = score_dataset(dataset, metrics=(spec,), keys=(key,), cache=cache, options={"threads": threads}, jobs=jobs,
                            progress=progress)  # fmt: skip
    if table.failed:
        raise InputError(f"{dataset.name}: {len(table.failed)} items could not be labelled: {some(list(table.failed))}")
    [chosen] = choose("fr", (spec,))
    scale = {chosen.rename(name): found for name, found in chosen.metric.scales().items()}[key]
    items = tuple(
        replace(item, score=table.values[item.path]) for item in dataset.items if math.isfinite(table.values[item.path])
    )
    return replace(dataset, items=items, low=scale.low, high=scale.high, higher_is_better=scale.better != "lower",
                   unit=f"{key} (pseudo label)", expected=None)  # fmt: skip


def _score_of(metric: str) -> tuple[str, str]:
    """The metric's spec and the name of the one score that is the label."""
    spec, _, key = metric.partition(".")
    [chosen, *more] = choose("fr", (spec,))
    names = [chosen.rename(name) for name in chosen.metric.scales()]
    if more:
        raise UsageError(f"--labels takes one metric, not {spec}")
    if not key and len(names) > 1:
        key = next((name for name in (chosen.key, f"{chosen.key}_y") if name in names), "")
    key = key or names[0]
    if key not in names:
        raise UsageError(f"--labels {metric}: {spec} gives {', '.join(names)}, not {key}")
    return spec, key
