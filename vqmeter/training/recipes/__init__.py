"""The training recipes: one file a model, and the contract between a recipe and the command that runs it.

A `Recipe` is its options, a frozen dataclass as a metric is; `train` takes data in parts and a run and gives `Trained`:
tensors and what a weight file must say of itself. Comparisons that a source makes between variants of its own model are
part of the recipe: named sets of options with the published figures beside them.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from vqmeter.errors import UsageError
from vqmeter.metric import convert_options, nearest, split_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vqmeter.training.data import Data
    from vqmeter.training.datasets import Item
    from vqmeter.training.run import Run
    from vqmeter.weights import Label, State

#: Model -> where its recipe lives. Read without importing any of them.
NAMES = {
    "brisque": "natural:Brisque",
    "c3d": "c3d:C3d",
    "c3d_fr": "c3d:C3dFr",
    "cnn3d_lstm": "cnn3d_lstm:Cnn3dLstm",
    "dipqa": "dipqa:Dipqa",
    "diqam": "dipqa:Diqam",
    "hybrid": "hybrid:Hybrid",
    "ipm_fsim": "ipm:IpmFsim",
    "ipm_srsim": "ipm:IpmSrsim",
    "ipm_ssim": "ipm:IpmSsim",
    "niqe": "natural:Niqe",
    "rankiqa": "rankiqa:Rankiqa",
    "vsfa": "vsfa:Vsfa",
}


@dataclass(frozen=True)
class Trained:
    """What a recipe made. `state` is under the model's own names; `predict` gives raw numbers of items, as scoring would.

    `options`, `preprocessing`, `needs`, `variant` and `label` are fields of `Weights`; `figures` are numbers of the training
    itself that a comparison may ask for; `notes` are sentences for the card.
    """

    state: State
    label: Label | None
    predict: Callable[[Sequence[Item]], NDArray[np.float64]]
    options: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    variant: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    store: str = "fp32"


@dataclass(frozen=True)
class Comparison:
    """A table of a source: rows are variants (options of the recipe), columns are figures.

    `published` holds the source's figures by (row, column); a column is a figure of the test part (`srocc`, `krocc`,
    `plcc`, `rmse`, `mse`) or one of `Trained.figures`. `real` says what it takes on the real data set.
    """

    title: str
    source: str
    rows: Mapping[str, Mapping[str, Any]]
    published: Mapping[tuple[str, str], float]
    real: str
    columns: tuple[str, ...] = ("srocc", "plcc")
    splits: str = "60/20/20"
    repeats: int = 5


@dataclass(frozen=True)
class About:
    """What `vqmeter train --list` says of a recipe."""

    title: str
    source: str
    data: str


class Recipe(Protocol):
    """A frozen dataclass whose fields are the recipe's options."""

    about: ClassVar[About]
    comparisons: ClassVar[Mapping[str, Comparison]]

    def train(self, data: Data, run: Run) -> Trained:
        """Train on `data.train`, stop by `data.val`; `data.test` is not looked at.

        Raises
            UsageError: the data lack what the recipe needs.
            WeightsError: a backbone is missing.
        """
        ...


def recipe_class(name: str) -> Any:
    """The class of the recipe called `name`.

    Raises
        UsageError: there is none, with the nearest ones.
    """
    if name not in NAMES:
        raise UsageError(f"no recipe '{name}'{nearest(name, NAMES)}; 'vqmeter train --list' shows all")
    module, _, attribute = NAMES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def find(spec: str) -> tuple[str, Recipe]:
    """The recipe that `NAME[:OPTION=VALUE]...` names, with its name.

    Raises
        UsageError: an unknown name, option or value.
    """
    name, *pairs = (part.strip() for part in split_spec(spec, ":"))
    cls = recipe_class(name)
    options, _ = convert_options(name, cls, pairs)
    return name, cls(**options)


def with_options(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """The recipe with other options."""
    return dataclasses.replace(recipe, **options)  # type: ignore[type-var]
