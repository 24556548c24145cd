"""C3D: a regressor on features of 16-frame clips, its last blocks trained along, or a small network from scratch.

The report: features of a frozen C3D, 4096-512-1, RMSprop 1e-3, batches of 16, up to 1000 epochs, dropout 0.5, squared error
on raw scores (`as_published`). By default features and labels are standardised and contents kept apart say when to stop.
Further scope: a ridge or SVR, thinner regressors, blocks trained along with batch norms, several crops and phases.

`scratch` trains a whole network, thin with `width` and `fc_rank`. With `view=crops` it sees crops of several copies of a
source at one place, with the labels of places where there are some (`vqmeter.training.dense`), and ranks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from vqmeter.errors import UsageError
from vqmeter.metrics.fr.c3d import joined
from vqmeter.metrics.nr import c3d as nr
from vqmeter.networks.c3d import BLOCKS
from vqmeter.training.data import Data, Items, need_scores
from vqmeter.training.datasets import Item
from vqmeter.training.datasets.items import some
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.recipes import c3d_tables as tables
from vqmeter.training.recipes.c3d_stages import Job, apart, begin
from vqmeter.training.recipes.c3d_windows import Sight
from vqmeter.training.run import Run


@dataclass(frozen=True)
class C3d:
    """Options of C3D's recipe, without a reference.

    `finetune` is how many of the five blocks are trained along, `norms` whether batch norms follow their convolutions; from
    scratch `detail` begins with first filters that do not see brightness, and `layer=blocks` has the means and deviations of
    all blocks in the place of fully connected layers. Of crops: `variants` copies of a source a draw,
    `rank` the weight of their order, `places` the stretches of 20 frames kept of each video (0: all of it), `rounds` the
    draws from a source an epoch, `far` the share whose frames each show another place, as frames far apart do (equal16 of a
    long video). `hold` items at random, whatever their content, are kept from training and judged, as in the report. clips,
    view, crops and phases are as in scoring; dropout is 0.5, from scratch 0.1.
    """

    head: Literal["mlp", "ridge", "svr"] = "mlp"
    hidden: int = 512
    dropout: float | None = None
    outputs: Literal["mos", "mos+std"] = "mos"
    layer: Literal["fc7", "fc6", "blocks"] = "fc7"
    clips: nr.Clips = "equal16"
    view: nr.View = "squeeze"
    crops: int | None = None
    phases: int = 1
    backbone_weights: str | None = None
    finetune: int = 0
    norms: bool = True
    scratch: bool = False
    width: float = 0.25
    fc_rank: int = 64
    detail: bool = False
    variants: int = 4
    rank: float = 1.0
    places: int = 4
    rounds: int = 8
    far: float = 0.25
    hold: int = 0
    as_published: bool = False

    about: ClassVar[About] = About(
        "C3D features of 16-frame clips and a regressor", tables.REPORT,
        "videos with a score each; scores of places where there are some (column 'dense')",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = tables.WITHOUT_REFERENCE
    name: ClassVar[str] = "c3d"

    def __post_init__(self) -> None:
        if not 0 <= self.finetune <= BLOCKS:
            raise UsageError(f"{self.name}: finetune is 0 to {BLOCKS} blocks, not {self.finetune}")
        if self.layer == "blocks" and not self.scratch:
            raise UsageError(f"{self.name}: layer=blocks is for scratch=true; published weights have fc6 and fc7")
        if self.head != "mlp" and (self.scratch or self.finetune or self.outputs != "mos"):
            raise UsageError(f"{self.name}: head={self.head} is fitted to features as they are, to one score; take head=mlp")
        if min(self.hidden, self.phases, self.variants, self.rounds) < 1 or self.width <= 0 or not 0 <= (self.dropout or 0) < 1:
            raise UsageError(f"{self.name}: hidden, phases, variants and rounds are 1 or more, width above 0, dropout 0 to 1")

    def train(self, data: Data, run: Run) -> Trained:
        """A regressor, or the network with it.

        Raises
            UsageError: scores, references or the deviation of ratings are lacking, or scikit-learn for head=svr.
            WeightsError: the backbone is not there.
        """
        need_scores(data, self.name)
        label = data.as_published() if self.as_published else data.label
        train, held = self._hold(data.train, run)
        stop = data.val
        if not stop and not self.as_published:
            train, stop = apart(train, run.seed)
        job = Job(self, label, run, begin(self, run), self.sight(run.seed), self.ready(data), data.dataset, train,
                  () if self.as_published else stop, held, bool(data.val))  # fmt: skip
        return job.network() if self.scratch or self.finetune else job.regressor()

    @property
    def own_pixels(self) -> tuple[float, float]:
        """Mean and deviation of samples, 0..255, that a network from scratch has taken out of them."""
        return 110.0, 60.0

    def sight(self, seed: int) -> Sight:
        """What of an item is seen."""
        return Sight(nr.look(nr.C3d(self.clips, self.view, self.crops, self.phases), None, seed), self.clips, self.phases)

    def ready(self, data: Data) -> Callable[[Sequence[Item]], Items]:
        """Makes of items what can be read."""
        return tuple

    def _hold(self, items: Items, run: Run) -> tuple[Items, Items]:
        if self.hold >= len(items):
            raise UsageError(f"{self.name}: hold={self.hold} of {len(items)} items leaves none to train on")
        out = set(run.rng(self.name, "hold").permutation(len(items))[: self.hold].tolist())
        return tuple(i for n, i in enumerate(items) if n not in out), tuple(items[n] for n in sorted(out))


@dataclass(frozen=True)
class C3dFr(C3d):
    """Options of C3D's recipe with a reference: `mode` and `fusion` as in scoring, the rest as without."""

    mode: Literal["difference", "feature"] = "difference"
    fusion: str = "abs"

    about: ClassVar[About] = About(
        "C3D on the difference of two videos, and a regressor", f"{tables.REPORT}, full-reference variant",
        "videos with a reference and a score each; scores of places where there are some (column 'dense')",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = tables.WITH_REFERENCE
    name: ClassVar[str] = "c3d_fr"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            joined([torch.zeros(1, 1)] * 2, self.fusion)
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from None

    @property
    def own_pixels(self) -> tuple[float, float]:
        return (0.0, 20.0) if self.mode == "difference" else super().own_pixels

    def sight(self, seed: int) -> Sight:
        return replace(super().sight(seed), mode=self.mode, fusion=self.fusion)

    def ready(self, data: Data) -> Callable[[Sequence[Item]], Items]:
        """Items with references; what others have for theirs is its own.

        Raises
            UsageError: items have none.
        """
        references = {item.reference for item in data.items}

        def paired(items: Sequence[Item]) -> Items:
            own = tuple(item if item.reference else replace(item, reference=item.path) for item in items)
            lacking = [item.path for item in items if not item.reference and item.path not in references]
            if lacking:
                raise UsageError(f"{self.name} needs references; {len(lacking)} items have none: {some(lacking)}")
            return own

        return paired
