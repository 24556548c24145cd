"""The card of a trained weight file: what it learned from, how, and how well it did, in plain words, as Markdown.

It stands in the file's header under `card`, so that it cannot be lost; `vqmeter weights card NAME` prints it.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter import __version__
from vqmeter.evaluation.correlation import agreement
from vqmeter.training.data import Data, Items
from vqmeter.training.recipes import Recipe, Trained
from vqmeter.training.run import Run
from vqmeter.weights import Weights, save

Array = NDArray[np.float64]
FIGURES = ("srocc", "krocc", "plcc", "rmse", "mse")


def figures(raw: Array, items: Items, trained: Trained, data: Data) -> dict[str, float]:
    """SROCC, KROCC, PLCC (positive is good), RMSE and MSE of raw numbers against the items' labels, on the labels' scale."""
    labels = np.array([item.score for item in items])
    label = trained.label or data.label
    values = np.array([label.value(float(x)) for x in raw])
    found = agreement(values, labels, ())
    return {**{name: getattr(found, name) for name in FIGURES[:4]}, "mse": found.rmse**2}


def per_reference(raw: Array, items: Items, trained: Trained, data: Data) -> float:
    """The mean over references of the SROCC within each; NaN where no reference has three items."""
    names = np.array([item.reference or item.group for item in items])
    found = []
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name)
        if len(own) >= 3:
            found.append(figures(raw[own], tuple(items[n] for n in own), trained, data)["srocc"])
    return float(np.nanmean(found)) if found and not np.isnan(found).all() else float("nan")


def judge(trained: Trained, data: Data) -> dict[str, dict[str, float]]:
    """The figures of the validation and the test part, where these have labels and three items or more."""
    found = {}
    for name in ("val", "test"):
        items = data.parts[name]
        if len(items) >= 3 and all(np.isfinite(item.score) for item in items):
            raw = np.asarray(trained.predict(items), np.float64)
            found[name] = figures(raw, items, trained, data) | {"srocc_per_reference": per_reference(raw, items, trained, data)}
    return found


def card(model: str, recipe: Recipe, trained: Trained, data: Data, run: Run, found: Mapping[str, Mapping[str, float]],
         command: Sequence[str], epochs: int) -> str:  # fmt: skip
    """The text."""
    d, pseudo = data.dataset, "pseudo label" in data.dataset.unit
    counts = {name: (len(items), len({i.group or i.path for i in items})) for name, items in data.parts.items()}
    parts = ", ".join(f"{name} {n} items of {groups} contents" for name, (n, groups) in counts.items() if n)
    options = ", ".join(f"{key}={value}" for key, value in dataclasses.asdict(recipe).items())  # type: ignore[call-overload]
    metric = ", a full-reference metric's scores in the place of people's: agreement with it is not agreement with people"
    accuracy = [
        f"{name}: " + ", ".join(f"{key.upper()} {value:.4f}" for key, value in row.items() if np.isfinite(value)) + "."
        for name, row in found.items()
    ]
    limits = "Scores hold for material like the training data's; other contents, sizes, codecs and distortions were not seen."
    paragraphs = [
        f"# {model}: weights trained by `vqmeter train`",
        "## Data and labels",
        f"{d.name}: {parts}. Parts share no content.\n"
        f"Labels: {d.unit}, {'high' if d.higher_is_better else 'low'} is good{metric if pseudo else ''}.",
        "## Recipe",
        f"{recipe.about.title} ({recipe.about.source}).\nOptions: {options}.\nCommand: `{' '.join(command)}`\n"
        f"Seed {run.seed}, {epochs} epochs in all, {run.context.precision} on {run.context.device}; vqmeter {__version__}, "
        f"torch {_torch()}, Python {platform.python_version()}.",
        *trained.notes,
        "## Held-out accuracy",
        "\n".join(accuracy) or "Not measured: no part was held out.",
        "## Limits",
        limits + (" No human scores were seen." if pseudo else ""),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _torch() -> str:
    torch = sys.modules.get("torch")
    return str(getattr(torch, "__version__", "not used"))


def publish(path: Path, model: str, trained: Trained, data: Data, text: str, store: str | None = None) -> Weights:
    """Write the weight file, whole."""
    stem = path.name.removesuffix(path.suffix)
    weights = Weights(
        name=stem, model=model, variant=trained.variant, source="vqmeter train", licence="as its training data allow",
        dataset=data.dataset.name, card=text, preprocessing=trained.preprocessing, label=trained.label, options=trained.options,
        needs=trained.needs,
    )  # fmt: skip
    save(path, trained.state, weights.to_json(), store or trained.store)
    return weights


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Figures as lines for a terminal."""
    return "\n".join(f"{name}: " + "  ".join(f"{key} {value:.4f}" for key, value in row.items() if np.isfinite(value))
                     for name, row in rows.items())  # fmt: skip
