"""The stages of C3D's recipe: where it begins, the regressor on frozen features, the network, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vqmeter import tensors
from vqmeter.errors import UsageError
from vqmeter.evaluation.splits import split
from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.metrics.nr import c3d as nr
from vqmeter.networks import c3d as networks
from vqmeter.networks.svr import Svr
from vqmeter.training.data import Items, targets
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.dense import Sampler, labels_of
from vqmeter.training.loop import Plan, fit
from vqmeter.training.recipes import Trained
from vqmeter.training.recipes import c3d_heads as heads
from vqmeter.training.recipes.c3d_network import CropTask, NetworkTask, Whole, WindowTask, copied, fresh, settle, windows
from vqmeter.training.recipes.c3d_windows import Sight, features, maps
from vqmeter.training.run import Run, fingerprint, seeded
from vqmeter.training.store import Store
from vqmeter.weights import Label, State, load, load_with_backbone

if TYPE_CHECKING:
    from vqmeter.training.recipes.c3d import C3d

Array = NDArray[Any]
BATCH = 16
STRETCH = 20  # frames of a place, to draw 16 from
SPREAD = ("std", "sd", "stddev", "std_dev", "mos_std", "score_std", "sos")  # columns with the deviation of ratings, any case
HEAD_RATE = 10.0  # a new regressor learns so much faster than the trained blocks under it
KERAS: Mapping[str, Any] = {"alpha": 0.9, "eps": 1e-7}


@dataclass(frozen=True)
class Start:
    """Where training begins: the network's tensors, what is said of them, and the tensors of a regressor, {} without one.

    `needs` is empty where the network goes into the weight file.
    """

    state: State
    said: Mapping[str, Any]
    pixels: Pixels
    preprocessing: Mapping[str, Any]
    head: State
    needs: Mapping[str, str]


def begin(recipe: C3d, run: Run) -> Start:
    """From the run's weight file, at random, or from C3D's published weights.

    Raises
        WeightsError: they are not there.
    """
    if run.init is not None:
        head, weights, state, backbone = load_with_backbone(recipe.name, run.init)
        said = {**backbone.options, **weights.options, "layer": recipe.layer}
        return Start(state, said, nr.recipe(weights, backbone), weights.preprocessing, head,
                     {} if backbone is weights else weights.needs)  # fmt: skip
    if recipe.scratch:
        said = {"width": recipe.width, "fc_rank": recipe.fc_rank, "layer": recipe.layer}
        with seeded(run.seed, recipe.name, "network"):
            state = fresh(nr.shape(said), recipe.detail).state_dict()
        mean, std = recipe.own_pixels
        how = {"order": "RGB", "divide": 1.0, "mean": [mean] * 3, "std": [std] * 3}
        return Start(state, said, Pixels("RGB", 1.0, (mean,) * 3, (std,) * 3), how, {}, {})
    state, backbone = load("c3d_backbone", recipe.backbone_weights)
    return Start(state, {**backbone.options, "layer": recipe.layer}, nr.recipe(backbone, backbone), backbone.preprocessing, {},
                 {backbone.name: backbone.sha256})  # fmt: skip


def apart(items: Items, seed: int) -> tuple[Items, Items]:
    """A fifth of the contents (of items, where all are of one) kept out to stop by."""
    groups = [item.group or item.path for item in items]
    if len(set(groups)) < 2:
        groups = [item.path for item in items]
    if len(set(groups)) < 2:
        return items, ()
    train, val = next(split(groups, "80/20", 1, seed))
    return tuple(items[n] for n in train), tuple(items[n] for n in val)


@dataclass(frozen=True, eq=False)
class Job:
    """One training: its parts, `stop` to stop by (not to be learned from later where it is `given`), `held` to judge."""

    recipe: C3d
    label: Label
    run: Run
    start: Start
    sight: Sight
    ready: Callable[[Sequence[Item]], Items]
    dataset: Dataset
    train: Items
    stop: Items
    held: Items
    given: bool

    def regressor(self) -> Trained:
        """On features that stay as they are."""
        trunk = nr.Trunk.of(self.start.state, self.start.said, self.start.pixels, self.run.context)
        mark = fingerprint(self.start.state)

        def samples(items: Items) -> heads.Samples:
            return heads.Samples.of(features(self.ready(items), self.sight, trunk, mark, self.run), self.labels(items))

        train, stop = samples(self.train), samples(self.stop) if self.stop else None
        more: dict[str, float] = {}
        if self.recipe.head == "mlp":
            state, more = self._mlp(train, stop)
        else:
            whole = train if stop is None or self.given else train.and_also(stop)
            state = {"ridge": heads.ridge, "svr": heads.svr}[self.recipe.head](train, stop, whole)
        own = {} if self.start.needs else self.start.state
        return self._trained(state, own, self.start.state, more)

    def _mlp(self, train: heads.Samples, stop: heads.Samples | None) -> tuple[State, dict[str, float]]:
        """The report's regressor, and the losses of its first epochs."""
        mean, std = self.scale
        inputs = train.x.shape[1]
        head = self._head(inputs)
        if not self.recipe.as_published:
            for buffer, value in zip((head.mean, head.std), heads.spread(train.x), strict=True):
                buffer.copy_(torch.from_numpy(value))
        plan = Plan(1000, 1e-3, "rmsprop", KERAS, patience=50, watch="fit")
        task = heads.MlpTask(head, train, stop, (mean, std), self.run.batch or BATCH, self.run.context.device)
        history = fit("head", task, plan, self.run)
        heads.scaled(head, mean, std)
        losses = {f"epoch {row['epoch']}": float(row["loss"]) for row in history[:30]} if self.recipe.as_published else {}
        return {key: value.detach().cpu() for key, value in head.state_dict().items()}, losses

    def network(self) -> Trained:
        """The last blocks or all of them, with the regressor."""
        start, recipe = self.start, self.recipe
        first = 0 if recipe.scratch else networks.BLOCKS - recipe.finetune
        normed = [name for name in networks.CONVOLUTIONS if int(name[0]) > first] if recipe.norms else []
        network = copied(start.state, nr.shape(start.said), self.dropout, normed)
        module = Whole(network, self._head(network.length * self.sight.parts), self.sight, start.pixels, recipe.layer, first)
        module.to(self.run.context.device)
        task = self._task(module, first)
        fit("network", task, self._plan(), self.run)
        heads.scaled(module.head, *self.scale)
        state = {**start.state, **module.state()}
        return self._trained({key: value.detach().cpu() for key, value in module.head.state_dict().items()}, state, state, {})

    def _task(self, module: Whole, first: int) -> NetworkTask:
        recipe, run = self.recipe, self.run
        batch, options = run.batch or BATCH, {"rank": recipe.rank, "device": run.context.device}
        trunk = nr.Trunk.of(self.start.state, self.start.said, self.start.pixels, run.context)
        mark = fingerprint(self.start.state) if first else ""
        few = replace(self.sight, look=replace(self.sight.look, count=min(self.sight.look.count, 2)))
        stop = maps(self.ready(self.stop), few, trunk, mark, run, first), self.labels(self.stop)
        if first == 0 and recipe.view == "crops":
            items, paired = self.ready(self.train), bool(self.sight.mode)
            store = Store(items, run, recipe.places or None, STRETCH, paired)
            known = [labels_of(item, self.dataset) for item in items]
            near, far = (Sampler(store, known, self.label, nr.SIDE, frames=frames, variants=recipe.variants, paired=paired)
                         for frames in (nr.FRAMES, 1))  # fmt: skip
            return CropTask(module, self.scale, stop, near, far, recipe.far, self.labels(items),
                            (max(1, batch // recipe.variants), recipe.rounds), **options)  # fmt: skip
        paths = maps(self.ready(self.train), self.sight, trunk, mark, run, first)
        sources = [item.reference or item.group or item.path for item in self.train]
        numbers = [sources.index(source) for source in sources]
        task = WindowTask(module, self.scale, stop, (paths, self.labels(self.train)), numbers, batch,
                          head_rate=1.0 if recipe.scratch else HEAD_RATE, **options)  # fmt: skip
        if not recipe.scratch:
            settle(module, windows(task.places[:batch]).to(run.context.device))
        return task

    def _plan(self) -> Plan:
        if self.recipe.scratch:
            return Plan(40, 1e-3, "adamw", {"weight_decay": 0.01}, cosine=True, warm=100, clip=1.0, average=0.999)
        return Plan(60, 1e-4, "adam", patience=15)

    @property
    def dropout(self) -> float:
        said = self.recipe.dropout
        return said if said is not None else 0.1 if self.recipe.scratch else 0.5

    def _head(self, inputs: int) -> networks.Regressor:
        """A new regressor, or the one to begin from, giving standardised labels."""
        outputs = 2 if self.recipe.outputs == "mos+std" else 1
        with seeded(self.run.seed, self.recipe.name, "head"):
            head = heads.fresh(inputs, self.recipe.hidden, outputs, self.dropout)
        if "hidden.weight" in self.start.head:
            try:
                head.load_state_dict(self.start.head)
            except RuntimeError:
                shape = tuple(self.start.head["hidden.weight"].shape)
                raise UsageError(f"{self.run.init}: a regressor of {shape[1]}-{shape[0]}; take hidden={shape[0]} and as many "
                                 "outputs") from None  # fmt: skip
            heads.scaled(head, *self.scale, back=True)
        return head

    def labels(self, items: Items) -> Array:
        """(items, outputs) float32: scores as the network learns them, and how far ratings spread, NaN where nobody says."""
        scores = targets(items, self.label)
        if self.recipe.outputs == "mos":
            return scores[:, None]
        found = [next((v for k, v in item.columns.items() if k.lower() in SPREAD and v), "nan") for item in items]
        spread = np.array([float(value) for value in found], np.float32) / abs(self.label.scale)
        return np.stack([scores, spread], 1).astype(np.float32)

    @cached_property
    def scale(self) -> tuple[Array, Array]:
        """Mean and deviation of labels, (outputs,) each; 0 and 1 as published.

        Raises
            UsageError: no item tells how far its ratings spread.
        """
        labels = self.labels(self.train)
        if np.isnan(labels).all(0).any():
            raise UsageError(f"outputs=mos+std needs the deviation of ratings in a column named {', '.join(SPREAD)}")
        found = heads.spread(labels)
        return (np.zeros_like(found[0]), np.ones_like(found[1])) if self.recipe.as_published else found

    def _trained(self, head: State, own: State, state: State, more: Mapping[str, float]) -> Trained:
        """The weight file's content: `own` is the network that goes into it, `state` the one that counts."""
        start, recipe, context = self.start, self.recipe, self.run.context
        trunk, mark = nr.Trunk.of(dict(state), start.said, start.pixels, context), fingerprint(state)
        machine: networks.Regressor | Svr = tensors.place(nr.regressor(dict(head)), replace(context, precision="fp32"))

        def predict(items: Sequence[Item]) -> NDArray[np.float64]:
            found = features(self.ready(items), self.sight, trunk, mark, self.run)
            seen = torch.from_numpy(np.concatenate(found)).to(context.device)
            with torch.inference_mode():
                values = nr.outputs(machine, seen)[:, 0].cpu().numpy()
            owner = np.repeat(np.arange(len(found)), [len(f) for f in found])
            return np.asarray(np.bincount(owner, values) / np.bincount(owner), np.float64)

        shape = dict(zip(("pool5", "width", "fc_rank"), nr.shape(start.said)[:3], strict=True)) if own else {}
        said = {"layer": recipe.layer, "view": recipe.view, **shape}
        said |= {"mode": self.sight.mode, "fusion": self.sight.fusion} if self.sight.mode else {}
        kind = "scratch" if recipe.scratch else f"{recipe.finetune} blocks trained" if recipe.finetune else "frozen features"
        return Trained(
            {**head, **{f"backbone.{key}": value for key, value in own.items()}}, self.label, predict, said,
            start.preprocessing if own else {}, {} if own else start.needs, f"{recipe.layer}, {kind}, {recipe.head}",
            {**self._errors(predict, not recipe.finetune and not recipe.scratch), **more}, self._notes(),
        )  # fmt: skip

    def _errors(self, predict: Callable[[Sequence[Item]], Array], cheap: bool) -> dict[str, float]:
        """Squared errors on the labels' scale: of what was trained on (where features are `cheap`), of what was held out, of a
        constant there."""

        def missed(items: Items, values: Array | float) -> float:
            return float(np.mean((values - np.array([item.score for item in items])) ** 2))

        def values(items: Items) -> Array:
            return predict(items) * self.label.scale + self.label.offset

        found = {"mse_train": missed(self.train, values(self.train))} if cheap else {}
        if self.held:
            mean = float(np.mean([item.score for item in self.train]))
            found |= {"mse": missed(self.held, values(self.held)), "mse_constant": missed(self.held, mean)}
        return found

    def _notes(self) -> tuple[str, ...]:
        """What scoring has to be told to see the same."""
        r = self.recipe
        said = [f"clips={r.clips}"] * (r.clips != "equal16") + [f"phases={r.phases}"] * (r.phases != 1)
        said += [f"crops={r.crops}"] * (r.crops is not None)
        return (f"Score with {':'.join([r.name, *said])}, as it was trained.",) if said else ()
