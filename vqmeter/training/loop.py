"""The one training loop: steps, checkpoints, validation, early stopping, a log and curves.

Every step draws its random numbers from (seed, stage, step) alone, so a run needs no state of a generator to go on: killed
at any moment and begun again it ends, on the CPU and with as many threads, with the same weights bit for bit. Checkpoints
hold the module, the optimiser, the best weights so far and the history; the log (`log.jsonl`, one row an epoch) and the
curves (`curves.png`, with matplotlib) are written from that history, so they never disagree with it.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqmeter.errors import DeviceError, UsageError, WeightsError
from vqmeter.tensors import dtype_of
from vqmeter.training import need
from vqmeter.training.run import Run, seed_of
from vqmeter.writers import whole, write_whole

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}


@dataclass(frozen=True)
class Plan:
    """How a stage is trained. The rate falls by `factor` every `every` epochs, or `cosine` to nothing at the end.

    `settings` go to the optimiser; `clip` limits the gradient's norm; `average` is the share that the running average of
    weights keeps a step (0: none), which is then what is validated and kept. `watch` is the figure of validation that
    decides; without one, or without `patience`, the last epoch counts.
    """

    epochs: int
    rate: float
    optimiser: str = "adam"
    settings: Mapping[str, Any] | None = None
    every: int = 0
    factor: float = 0.1
    cosine: bool = False
    warm: int = 0  # steps over which the rate rises from nothing
    clip: float = 0.0
    average: float = 0.0
    patience: int = 0
    watch: str = "srocc"

    def of(self, run: Run) -> Plan:
        """With what the run asks to be other."""
        return replace(
            self, epochs=self.epochs if run.epochs is None else run.epochs, rate=self.rate if run.rate is None else run.rate,
            patience=self.patience if run.patience is None else run.patience,
        )  # fmt: skip

    def scale(self, step: int, epoch: int, total: int) -> float:
        """The rate at a step, as a share of `rate`."""
        warm = min(1.0, (step + 1) / self.warm) if self.warm else 1.0
        if self.cosine:
            return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total))))
        return warm * (self.factor ** (epoch // self.every) if self.every else 1.0)


class Task:
    """What a stage trains: subclasses give the module, the batches of an epoch, the loss of one, and a validation."""

    module: nn.Module

    def begin(self) -> None:
        """Put the module into training; stages with frozen parts keep these in eval mode here."""
        self.module.train()

    def parameters(self, rate: float) -> list[dict[str, Any]]:
        """Groups for the optimiser; a group's own `lr` is scaled with the others."""
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": rate}]

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[Any]:
        """What the steps of an epoch work on, small values that name it."""
        raise NotImplementedError

    def loss(self, batch: Any, rng: np.random.Generator) -> Tensor:
        """The scalar to be made small; `rng` is the step's own, and so is torch's generator."""
        raise NotImplementedError

    def validate(self) -> Mapping[str, float]:
        """Figures of the validation part, {} where there is none; the module is in eval mode."""
        return {}


@dataclass
class State:
    """Where a stage stands: `done` steps within `epoch`, whose loss so far is `total` over `done`."""

    epoch: int = 0
    done: int = 0
    step: int = 0
    total: float = 0.0
    best: float = -math.inf
    best_epoch: int = -1
    ended: bool = False
    seconds: float = 0.0


class Trainer:
    """One stage on its way."""

    def __init__(self, name: str, task: Task, plan: Plan, run: Run) -> None:
        self.name, self.task, self.plan, self.run = name, task, plan.of(run), run
        self.device, self.state, self.history = torch.device(run.context.device), State(), list[dict[str, float]]()
        self.module = task.module.to(self.device)
        kind = OPTIMISERS[self.plan.optimiser]
        self.optimiser = kind(task.parameters(self.plan.rate), lr=self.plan.rate, **(self.plan.settings or {}))
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=run.context.precision == "fp16")
        self.best: dict[str, Tensor] | None = None
        self.average: dict[str, Tensor] | None = None
        self._saved = time.monotonic()
        self._started = self._saved

    def fit(self) -> list[dict[str, float]]:
        """Train to the end, or go on from the checkpoint; the module holds the best weights afterwards."""
        self._load()
        try:
            for epoch in itertools.takewhile(lambda _: not self.state.ended, range(self.state.epoch, self.plan.epochs)):
                self._epoch(epoch)
        finally:
            self._book()
        self.module.load_state_dict(self.best if self.best is not None else self._weights())
        self.module.eval()
        return self.history

    def _epoch(self, epoch: int) -> None:
        batches = self.task.batches(epoch, self.run.rng(self.name, "epoch", epoch))
        if not len(batches):
            raise WeightsError(f"{self.name}: nothing to train on")
        total = self.plan.epochs * len(batches) if self.run.steps is None else self.run.steps
        self.task.begin()
        while self.state.done < len(batches) and (self.run.steps is None or self.state.step < self.run.steps):
            self._step(batches[self.state.done], epoch, total)
            self.run.say(self.name, self.state.step, total)
            if time.monotonic() - self._saved > self.run.keep_every:
                self._save()
        self._validate(epoch)

    def _step(self, batch: Any, epoch: int, total: int) -> None:
        seed = seed_of(self.run.seed, self.name, "step", self.state.step)
        torch.manual_seed(seed)
        share = self.plan.scale(self.state.step, epoch, total)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        dtype = dtype_of(self.run.context)
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            loss = self.task.loss(batch, np.random.default_rng(seed))
        value = float(loss.detach())
        if not math.isfinite(value) and not self.scaler.is_enabled():
            raise DeviceError(f"{self.name}: the loss is {value} at step {self.state.step}; take a lower --rate")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.plan.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.plan.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._follow()
        self.state.total += value
        self.state.done += 1
        self.state.step += 1

    def _follow(self) -> None:
        """Bring the running average of weights up to date; it begins as their plain mean."""
        if not self.plan.average:
            return
        now = self.module.state_dict()
        if self.average is None:
            self.average = {key: value.clone() for key, value in now.items()}
            return
        keep = min(self.plan.average, (self.state.step + 1) / (self.state.step + 10))
        for key, value in now.items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - keep)
            else:
                self.average[key].copy_(value)

    def _weights(self) -> dict[str, Tensor]:
        """What counts: the average of weights where there is one."""
        return self.average if self.average is not None else self.module.state_dict()

    def _validate(self, epoch: int) -> None:
        """The end of an epoch: figures, the best so far, whether to go on."""
        state = self.state
        own = {key: value.clone() for key, value in self.module.state_dict().items()} if self.average is not None else None
        if self.average is not None:
            self.module.load_state_dict(self.average)
        self.module.eval()
        with torch.no_grad():
            torch.manual_seed(seed_of(self.run.seed, self.name, "validation"))
            figures = {key: float(value) for key, value in self.task.validate().items()}
        value = figures.get(self.plan.watch, math.nan)
        if value > state.best or (self.plan.watch in figures and self.best is None):
            state.best, state.best_epoch = (value if math.isfinite(value) else state.best), epoch
            self.best = {key: tensor.detach().clone() for key, tensor in self.module.state_dict().items()}
        if own is not None:
            self.module.load_state_dict(own)
        row = {"epoch": epoch + 1, "step": state.step, "loss": state.total / max(1, state.done), **figures,
               "rate": self.optimiser.param_groups[0]["lr"]}  # fmt: skip
        self.history.append(row)
        state.epoch, state.done, state.total = epoch + 1, 0, 0.0
        waited = bool(self.plan.patience and figures) and epoch - state.best_epoch >= self.plan.patience
        limited = self.run.steps is not None and state.step >= self.run.steps
        state.ended = waited or limited or state.epoch >= self.plan.epochs
        if state.ended or time.monotonic() - self._saved > self.run.keep_every / 4:
            self._save()
            self._book()

    @property
    def _path(self) -> Path:
        return self.run.folder / f"{self.name}.ckpt"

    def _save(self) -> None:
        self.state.seconds += time.monotonic() - self._started
        self._started = time.monotonic()
        kept = {"state": vars(self.state), "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict(),
                "best": self.best, "average": self.average, "history": self.history,
                "scaler": self.scaler.state_dict()}  # fmt: skip
        self.run.folder.mkdir(parents=True, exist_ok=True)
        with whole(str(self._path), ".ckpt") as temporary:
            torch.save(kept, temporary)
        self._saved = time.monotonic()

    def _load(self) -> None:
        """Go on from the checkpoint, where there is one."""
        if not self._path.exists():
            return
        try:
            kept = torch.load(self._path, map_location=self.device, weights_only=True)
            self.module.load_state_dict(kept["module"])
            self.optimiser.load_state_dict(kept["optimiser"])
        except Exception as error:  # a checkpoint of another recipe raises whatever its tensors lead to
            reason = " ".join(str(error).split())[:100]
            raise WeightsError(f"{self._path}: not a checkpoint of this run ({reason}); --restart begins anew") from None
        self.state, self.history = State(**kept["state"]), kept["history"]
        self.best, self.average = kept["best"], kept["average"]
        self.scaler.load_state_dict(kept["scaler"])

    def _book(self) -> None:
        """Write the log and the curves of all stages so far."""
        if not self.history:
            return
        rows = [json.dumps({"stage": self.name, **{k: v if math.isfinite(v) else None for k, v in row.items()}})
                for row in self.history]  # fmt: skip
        log = self.run.folder / "log.jsonl"
        others = [line for line in _lines(log) if json.loads(line).get("stage") != self.name]
        self.run.folder.mkdir(parents=True, exist_ok=True)
        write_whole(log, "\n".join([*others, *rows]) + "\n")
        draw(log)


def fit(name: str, task: Task, plan: Plan, run: Run) -> list[dict[str, float]]:
    """Train `task` by `plan` as stage `name` of `run`, or go on where it stopped.

    Returns a row an epoch: `epoch`, `step`, `loss`, what validation gave, `rate`. The module ends with the weights of the
    best epoch (of the last one where nothing is validated), in eval mode.

    Raises
        DeviceError: the loss is no number any more.
        WeightsError: the checkpoint belongs to something else.
    """
    return Trainer(name, task, plan, run).fit()


def shuffled(count: int, size: int, rng: np.random.Generator, *, whole_only: bool = False) -> list[list[int]]:
    """The numbers below `count` in random order, in batches of `size`; a last lone one joins the batch before it."""
    order = rng.permutation(count).tolist()
    parts = [order[at : at + size] for at in range(0, count, size)]
    if len(parts) > 1 and (len(parts[-1]) == 1 or (whole_only and len(parts[-1]) < size)):
        last = parts.pop()
        parts[-1] += [] if whole_only else last
    return parts


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from (line for line in path.read_text("utf-8").splitlines() if line.strip())


def draw(log: Path) -> None:
    """`curves.png` beside a log: the loss and what is validated, a panel a stage. Without matplotlib nothing is drawn."""
    try:
        figure = need("matplotlib.figure", "plots", "curves")
    except UsageError:
        return
    rows = [json.loads(line) for line in _lines(log)]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    canvas = figure.Figure(figsize=(6.4, 3.2 * len(stages)), layout="constrained")
    for axes, stage in zip(np.atleast_1d(canvas.subplots(len(stages))), stages, strict=True):
        own = [row for row in rows if row["stage"] == stage]
        axes.plot([r["epoch"] for r in own], [r["loss"] for r in own], color="tab:blue", label="loss")
        axes.set(title=stage, xlabel="epoch", ylabel="loss")
        keys = [key for key in own[-1] if key in ("srocc", "plcc", "accuracy")]
        if keys:
            beside = axes.twinx()
            for key, colour in zip(keys, ("tab:orange", "tab:green", "tab:red"), strict=False):
                beside.plot([r["epoch"] for r in own], [r.get(key) for r in own], color=colour, label=key)
            beside.set_ylim(-1, 1)
            beside.legend(loc="lower right", fontsize=8)
    with whole(str(log.with_name("curves.png")), ".png") as temporary:
        canvas.savefig(temporary, dpi=120)
