"""What C3D sees of items, cut as in scoring, and what its frozen part makes of that, kept in the run's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.errors import InputError
from vqmeter.metric import Context, Sample, Stream
from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.metrics.fr import c3d as fr
from vqmeter.metrics.nr import c3d as nr
from vqmeter.training.datasets import Item
from vqmeter.training.reading import Reader, read
from vqmeter.training.run import Run, stamp

Array = NDArray[Any]
AT_ONCE = 4  # windows a batch


@dataclass(frozen=True)
class Sight:
    """Which windows of an item go into the network; `mode` and `fusion` as in `metrics.fr.c3d`, "" without a reference."""

    look: nr.Look
    clips: str
    phases: int
    mode: str = ""
    fusion: str = "abs"

    @property
    def parts(self) -> int:
        """Feature vectors side by side."""
        return len(self.fusion.split(",")) if self.mode == "feature" else 1

    def windows(self, item: Item) -> NDArray[np.float16]:
        """(N, sides, 3, 16, 112, 112), the clips of an item one after another and the views of each.

        Raises
            InputError: the item cannot be read, or has no frames.
        """

        def plan(stream: Stream) -> Iterable[tuple[int, ...]]:
            return nr.planned(self.clips, stream.frames, self.phases)

        def prepare(sample: Sample) -> nr.Cut:
            return fr.cut_pair(sample, self.look, self.mode) if self.mode else nr.cut(sample, self.look)

        clips = read(item, Reader(plan, prepare, counted=self.clips != "every", paired=bool(self.mode)))
        if not clips:
            raise InputError(f"{item.path}: no frames")
        return np.stack(nr.windows(clips))

    def inputs(self, x: Tensor, pixels: Pixels) -> list[Tensor]:
        """What the network takes of (N, sides, 3, 16, 112, 112) float32."""
        return fr.inputs(x, pixels, self.mode) if self.mode else [nr.pixels(x[:, 0], pixels)]

    def joined(self, features: Sequence[Tensor]) -> Tensor:
        """(N, F) of the features of the inputs."""
        return fr.joined(features, self.fusion)


def kept(what: str, items: Sequence[Item], made_by: Any, make: Callable[[Item], Array], run: Run) -> list[str]:
    """The files of what `make` gives of every item, made where they are not there yet; `made_by` says how."""

    def one(item: Item) -> str:
        mark = [stamp([item.path, item.reference]), item.size, item.rate, made_by]
        return str(run.array(what, mark, lambda: make(item)).filename)  # type: ignore[attr-defined]

    return run.each(what, items, one)


def features(items: Sequence[Item], sight: Sight, trunk: nr.Trunk, mark: str, run: Run) -> list[Array]:
    """(N, F) float32 of the windows of every item; `mark` names the network's weights."""

    def make(item: Item) -> Array:
        def run_network(part: Sequence[Array]) -> Tensor:
            sides = sight.inputs(_tensor(part, trunk.context), trunk.recipe)
            return sight.joined([trunk.features(side) for side in sides]).float().cpu()

        return _run(run_network, sight.windows(item), trunk.context)

    made_by = [*_said(sight, trunk, mark), trunk.layer]
    return [np.load(path, allow_pickle=False) for path in kept("c3d_features", items, made_by, make, run)]


def maps(items: Sequence[Item], sight: Sight, trunk: nr.Trunk, mark: str, run: Run, end: int) -> list[str]:
    """Files of what block `end` makes of the windows of every item, (N, sides, C, T, H, W); of windows themselves with 0."""

    def make(item: Item) -> Array:
        def run_network(part: Sequence[Array]) -> Tensor:
            sides = sight.inputs(_tensor(part, trunk.context), trunk.recipe)
            seen = [trunk.network.maps(tensors.feed(side, trunk.context), 0, end) for side in sides]
            return torch.stack(seen, 1).float().cpu()

        return _run(run_network, sight.windows(item), trunk.context) if end else sight.windows(item)

    made_by = [*_said(sight, trunk, mark), end] if end else _seen(sight)
    return kept("c3d_maps" if end else "c3d_windows", items, made_by, make, run)


def _seen(sight: Sight) -> list[Any]:
    look = sight.look
    return [look.view, look.count, look.seed, sight.clips, sight.phases, sight.mode]


def _said(sight: Sight, trunk: nr.Trunk, mark: str) -> list[Any]:
    """What features hang on."""
    return [*_seen(sight), sight.fusion, mark, vars(trunk.recipe), trunk.context.precision]


def _tensor(part: Sequence[Array], context: Context) -> Tensor:
    return torch.from_numpy(np.stack(part)).to(context.device).float()


def _run(fn: Callable[[Sequence[Array]], Tensor], windows: Array, context: Context) -> Array:
    """`fn` over windows by the thread that asks: items go side by side."""
    with tensors.computing(replace(context, threads=1)):
        found: Array = tensors.batched(fn, list(windows), AT_ONCE).numpy()
    return found
