"""RankIQA's recipe: a network learns the order of distorted copies, then the scores of people.

Stages: `rank` on ladders of distortions (`vqmeter distort` makes them), `tune` on items with scores, `both` one after the
other, and `joint` (ours): labels and the order of copies of a source at once, for labels of a full-reference metric.
`as_published` follows the authors: B, G, R in 0..255, SGD, margin 10, sums over pairs, an output layer that is new in tuning
and learns ten times as fast, scores as they are. Else colours are normalised, Adam's rate falls as a cosine, the network learns
0..1, and tuning begins from the ranking's output brought to the labels' mean and deviation.

A network that has only ranked says 1 where pristine pictures are on the mean and 0 where the strongest levels are.

Source: Liu, van de Weijer, Bagdanov, ICCV 2017, doi:10.1109/ICCV.2017.118; github.com/xialeiliu/RankIQA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import UsageError
from vqmeter.metrics.nr import rankiqa as metric
from vqmeter.training.data import Data, need_scores, targets
from vqmeter.training.datasets import Item, open_dataset
from vqmeter.training.dense import Sampler, labels_of
from vqmeter.training.loop import Plan, fit
from vqmeter.training.reading import scores
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.recipes.ranking import Mix, Ranking, RankTask, draw_levels, ladders, rungs, set_apart, shared
from vqmeter.training.recipes.rankiqa_crops import Cropper, JointTask, ScoredTask, TuneTask
from vqmeter.training.recipes.rankiqa_start import Start, bring_to, caffe_groups, outputs_anew, start
from vqmeter.training.recipes.rankiqa_tables import COMPARISONS
from vqmeter.training.run import Run
from vqmeter.training.store import Store
from vqmeter.weights import Label, Weights

PUBLISHED_STEPS = 500  # that are called an epoch, so that the authors' schedules by iterations can be told
_SGD = {"momentum": 0.9, "weight_decay": 5e-4}
#: What a batch of the authors is made of, for LIVE and for TID2013, and how they tune.
_MIXES = {"live": Mix(4, 2), "tid": Mix(9, 1)}
_TUNING = {
    "live": Plan(40, 1e-6, "sgd", _SGD, every=10, factor=0.5, watch=""),
    "tid": Plan(20, 1e-5, "sgd", _SGD, every=10, factor=0.5, watch=""),
}
_BESIDE = Mix(8, 1)  # what joint training takes of ladders a step
_CALIBRATED = 256  # items whose scores bring the output to the labels' scale


@dataclass(frozen=True)
class Rankiqa:
    """Options: `width` and `batch_norm` of vgg16-pool; `ladders`, a folder of `vqmeter distort` to rank on in place of the
    training part, and in stage `joint` beside it (copies of one picture, by a `margin` of .05, the loss times `beside`);
    `levels`, rungs of a ladder with the pristine one; `share` of the contents that are ranked; `aligned`, crops of a content's
    copies at one place; `output`, how tuning begins: `fitted` to the labels, `new` or a new `head`; `variants`, copies of a
    source in a joint batch; `frames` of a video to learn from; `crops` of a frame in predicting."""

    network: Literal["shallow", "alexnet", "caffe-alexnet", "vgg16", "vgg16-pool"] = "shallow"
    width: float = 0.25
    batch_norm: bool = True
    relu4: bool = False
    scratch: bool = False
    stage: Literal["both", "rank", "tune", "joint"] = "both"
    ladders: str | None = None
    beside: float = 1.0
    pairs: Literal["all", "standard", "hard"] = "all"
    preset: Literal["live", "tid"] = "live"
    margin: float | None = None
    levels: int | None = None
    share: float = 1.0
    aligned: bool = False
    output: Literal["fitted", "new", "head"] | None = None
    variants: int = 6
    frames: int = 4
    crop: int | None = None
    crops: int = 30
    as_published: bool = False

    about: ClassVar[About] = About(
        "RankIQA: ranking distorted copies, then scores", "Liu, van de Weijer, Bagdanov, ICCV 2017, doi:10.1109/ICCV.2017.118",
        "pictures or videos with type and level (as of vqmeter distort) to rank, with scores to tune on, or both",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = COMPARISONS

    def __post_init__(self) -> None:
        least = {"levels": 2, "variants": 2, "frames": 1, "crops": 1, "crop": metric.NETWORKS[self.network]}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise UsageError(f"rankiqa: {name} is {lowest} or more, not {value}")
        if not 0 < self.share <= 1:
            raise UsageError(f"rankiqa: share is more than 0 and at most 1, not {self.share:g}")

    def train(self, data: Data, run: Run) -> Trained:
        """The stages that were asked for, as far as the data have what they need."""
        work = _Work(self, data, run, start(self, run))
        if self.stage in ("both", "rank"):
            work.rank()
        if self.stage in ("tune", "joint"):
            need_scores(replace(data, val=(), test=()), "RankIQA")
        if self.stage != "rank" and any(math.isfinite(item.score) for item in data.train):
            work.tune()
        elif self.stage == "both":
            work.notes.append("No item has a score, so the network ranks and was not tuned.")
        return work.trained()


@dataclass
class _Work:
    """One training on its way."""

    recipe: Rankiqa
    data: Data
    run: Run
    start: Start
    notes: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module, self.learned = self.start.module.to(self.run.context.device), self.start.learned
        self.large = self.recipe.network in ("alexnet", "caffe-alexnet", "vgg16")
        self.groups = caffe_groups if self.recipe.as_published else None
        self.label = self.data.as_published() if self.recipe.as_published else self.data.label
        self.notes.append(self.start.note)

    def _cropper(self, items: Sequence[Item]) -> Cropper:
        store = Store(items, self.run, windows=self.recipe.frames)
        return Cropper(store, self.start.pixels, self.start.size, self.run.context.device, not self.recipe.as_published)

    # --- ranking -----------------------------------------------------------------------------------------------------

    def rank(self) -> None:
        """The ranking stage; afterwards 1 is what the network says of pristine pictures, 0 what of the strongest levels."""
        recipe, run = self.recipe, self.run
        learned, held = self._ranked()
        above, below = ladders(learned, recipe.levels), ladders(held, recipe.levels, len(learned))
        how = Ranking(
            self._mix(_MIXES[recipe.preset], max(len(c) for ladder in above for c in ladder.contents)), recipe.pairs,
            recipe.margin or (10.0 if recipe.as_published else 1.0), recipe.aligned, recipe.as_published,
            PUBLISHED_STEPS if recipe.as_published else None,
        )  # fmt: skip
        task = RankTask(self.module, self._cropper([*learned, *held]), above, below, how, run, self.groups)
        plan = Plan(20, 1e-4 if self.large else 1e-3, cosine=True, warm=50, clip=1.0, watch="")
        if recipe.as_published:
            plan = Plan(100, 1e-4, "sgd", _SGD, every=20, watch="")
        history = fit("rank", task, plan, run)
        self._book(history, how.mix.pictures(above))
        seen = [list(levels.values()) for levels in task.by_level(above, run.rng("calibration")).values()]
        best, worst = (float(np.mean([np.mean(levels[end]) for levels in seen])) for end in (0, -1))
        span = best - worst if best > worst else 1.0
        bring_to(self.module, 1 / span, -worst / span)
        table = task.by_level(below, run.rng("levels"))
        draw_levels(table, run.folder)
        for level in sorted({level for levels in table.values() for level in levels}):
            self.figures[f"level_{level}"] = float(np.mean([np.mean(one[level]) for one in table.values() if level in one]))
        contents = len({item.group for item in learned})
        self.notes.append(f"Ranked copies of {contents} contents by {len(above)} types of distortion, {recipe.pairs} pairs; "
                          f"{self.figures['pair_accuracy']:.1%} of held-out pairs are in order.")  # fmt: skip
        self.learned = True

    def _beside(self) -> RankTask:
        """The ladders that joint training ranks, without labels."""
        learned, held = self._ranked()
        how = Ranking(_BESIDE, margin=self.recipe.margin or 0.05, aligned=True, steps=1, own=True)
        above, below = ladders(learned, self.recipe.levels), ladders(held, self.recipe.levels, len(learned))
        self.notes.append(f"Beside it ranked {len(above)} types of distortion, each within a picture.")
        return RankTask(self.module, self._cropper([*learned, *held]), above, below, how, self.run, self.groups)

    def _ranked(self) -> tuple[list[Item], list[Item]]:
        """The items to rank, and those whose pairs only tell how well it goes."""
        recipe, data, rng = self.recipe, self.data, self.run.rng("held contents")
        source = data.train if recipe.ladders is None else open_dataset("distorted", recipe.ladders).items
        items, held = rungs(source), rungs(data.val) if recipe.ladders is None else []
        if not any(item.level for item in held):
            items, held = set_apart(items, rng)
        return shared(items, recipe.share, self.run.rng("share")), held

    def _mix(self, mix: Mix, rungs: int) -> Mix:
        """The preset's, or as many types as the run's batch has room for."""
        return mix if self.run.batch is None else replace(mix, types=max(1, self.run.batch // (mix.contents * rungs)))

    def _book(self, history: Sequence[Mapping[str, float]], pictures: int) -> None:
        """How the loss fell with the pictures that went through the network."""
        last = history[-1]["step"]
        for share in (10, 25, 50, 100):
            row = next(row for row in history if row["step"] >= last * share / 100)
            self.figures |= {f"pair_loss_{share}": row["pair_loss"], f"pair_accuracy_{share}": row["accuracy"]}
        self.figures |= {"pair_loss": history[-1]["pair_loss"], "pair_accuracy": history[-1]["accuracy"],
                         "pictures": float(last * pictures)}  # fmt: skip

    # --- scores ------------------------------------------------------------------------------------------------------

    def tune(self) -> None:
        """Fine-tuning to scores, or labels and rankings at once."""
        recipe, data, run = self.recipe, self.data, self.run
        items = [item for item in data.train if math.isfinite(item.score)]
        cropper = self._cropper([*items, *data.val])
        wanted, own = targets([*items, *data.val], self.label), list(range(len(items)))
        known: dict[str, Any] = {"val": range(len(items), len(wanted)), "targets": wanted, "rng": lambda: run.rng("validation"),
                                 "groups": self.groups}  # fmt: skip
        self._begin(ScoredTask(self.module, cropper, **known), wanted[: len(items)])
        task: ScoredTask
        if recipe.stage == "joint":
            store = Store(items, run, windows=recipe.frames)
            labels = [labels_of(item, data.dataset) for item in items]
            sampler = Sampler(store, labels, self.label, self.start.size, variants=recipe.variants)
            task = JointTask(self.module, cropper, **known, sampler=sampler, batch=run.batch or 48, rounds=recipe.frames,
                             rank=self._beside() if recipe.ladders else None, weight=recipe.beside)  # fmt: skip
        else:
            task = TuneTask(self.module, cropper, **known, items=own, batch=run.batch or 30,
                            steps=PUBLISHED_STEPS if recipe.as_published else None)  # fmt: skip
        fit(recipe.stage if recipe.stage == "joint" else "tune", task, self._plan(), run)
        self.notes.append(f"Learned the scores of {len(items)} items"
                          + (", and the order of copies of a source." if recipe.stage == "joint" else "."))  # fmt: skip

    def _plan(self) -> Plan:
        if self.recipe.as_published:
            return _TUNING[self.recipe.preset]
        rate = (1 if self.learned else 3) * (3e-5 if self.large else 3e-4)
        return Plan(60, rate, cosine=True, warm=50, clip=1.0, average=0.99)

    def _begin(self, task: ScoredTask, wanted: NDArray[np.float32]) -> None:
        """The output layer as tuning begins."""
        recipe = self.recipe
        how = recipe.output or ("new" if recipe.as_published or not self.learned else "fitted")
        if recipe.output is None and recipe.as_published and recipe.preset == "tid" and recipe.network == "vgg16":
            how = "head"
        if how != "fitted":
            outputs_anew(self.module, self.run, how == "head", 0.0 if recipe.as_published else float(wanted.mean()))
            return
        chosen = self.run.rng("calibration").permutation(len(wanted))[:_CALIBRATED].tolist()
        found = task.scores(chosen, self.run.rng("calibration"))
        turned = -1.0 if recipe.as_published and not self.label.higher_is_better else 1.0
        scale = turned * float(wanted[chosen].std() / max(float(found.std()), 1e-6))
        bring_to(self.module, scale, float(wanted[chosen].mean()) - scale * float(found.mean()))

    # --- what came of it ---------------------------------------------------------------------------------------------

    def trained(self) -> Trained:
        """The weights, on the scale of the labels or, without any, of the levels."""
        recipe, run, tuned = self.recipe, self.run, self.recipe.stage != "rank"
        scored = any(math.isfinite(item.score) for item in self.data.train)
        label = self.label if tuned and scored else self.data.label if scored else Label(unit="levels of distortions")
        if not (tuned and scored):
            self.notes.append("Its number is 1 where pristine pictures are on the mean and 0 where the strongest levels are.")
        state = {key: value.detach().cpu().clone() for key, value in self.module.state_dict().items()}
        weights = Weights("rankiqa", "rankiqa", variant=recipe.network, options=self.start.options, label=label,
                          preprocessing=self.start.preprocessing)  # fmt: skip
        scoring = metric.Rankiqa(crops=recipe.crops)

        def raw(item: Item) -> float:
            said = scores(item, lambda stream: scoring.meter(state, weights, stream, run.context))
            return next(float(score.extra["raw"]) for score in said if score.span is None)

        def predict(items: Sequence[Item]) -> NDArray[np.float64]:
            return np.array([raw(item) for item in items], np.float64)

        return Trained(state, label, predict, weights.options, weights.preprocessing, variant=recipe.network,
                       figures=self.figures, notes=tuple(self.notes))  # fmt: skip
