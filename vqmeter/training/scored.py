"""Scores of items as `vqmeter fr` gives them: by a metric, and by weights that a recipe has just made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqmeter import __version__
from vqmeter.errors import InputError
from vqmeter.evaluation.scoring import score_dataset
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.datasets.items import some
from vqmeter.training.run import Run, stamp
from vqmeter.weights import State, Weights, save


def scores(spec: str, key: str, items: Sequence[Item], run: Run) -> NDArray[np.float64]:
    """(N,) what the full-reference metric `spec` says of items under the name `key`, kept in the run's cache.

    Raises
        InputError: an item cannot be measured.
    """
    lots = [[item for item in items if item.reference == ref] for ref in dict.fromkeys(item.reference for item in items)]

    def one(lot: list[Item]) -> dict[str, float]:
        files = [path for item in lot for path in (item.path, item.reference)]
        made_by = [spec, key, __version__, run.context.device, stamp(files), [(item.size, item.rate) for item in lot]]
        values = run.array("scores", made_by, lambda: _measured(spec, key, lot, run, threads=1))
        return {item.path: float(value) for item, value in zip(lot, values, strict=True)}

    found = {path: value for values in run.each(f"scores by {spec}", lots, one) for path, value in values.items()}
    return np.array([found[item.path] for item in items])


def raw_scores(weights: Weights, state: State, items: Sequence[Item], run: Run, name: str = "") -> NDArray[np.float64]:
    """(N,) the raw numbers of items by tensors, which are written as a weight file for it; `name` is the score's where it is
    not the model's.

    Raises
        InputError: an item cannot be measured.
    """
    path = run.folder / f"{weights.model}.safetensors"
    save(path, state, weights.to_json())
    spec = f"{weights.model}:weights={_escaped(path)}"
    return _measured(spec, f"{name or weights.model}.raw", items, run, threads=run.context.threads)


def _measured(spec: str, key: str, items: Sequence[Item], run: Run, threads: int) -> NDArray[np.float64]:
    options = {"threads": threads, "device": run.context.device}
    [table] = score_dataset(Dataset("items", tuple(items)), metrics=(spec,), keys=(key,), options=options)
    if table.failed:
        raise InputError(f"{key}: {len(table.failed)} items cannot be measured: {some(list(table.failed))}")
    return np.array([table.values[item.path] for item in items])


def _escaped(path: Path) -> str:
    """A path as the value of a metric's option."""
    return str(path).replace(":", r"\:").replace(",", r"\,")
