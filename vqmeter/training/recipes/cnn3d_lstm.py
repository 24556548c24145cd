"""Training the 3D-CNN + LSTM in its source's two stages: scores of blocks of 16 frames, then an LSTM over what these say.

Stage `clips` trains the 3-D network: on random native cuts with labels of places and the order of copies of a source
(`blocks=random`), or as the source on the blocks of the grid, each with its video's score (`blocks=grid`). Stage `video` trains
the LSTM on the frozen network's scores; `over` takes a baseline in its place. `end_to_end` goes on with both at once (`fcn`,
stage `joint`). `--init` begins with the weights of another data set, as the source goes from KoNViD-1k to LIVE-Qualcomm.

`as_published` puts the source's choice for every option left at its default, Keras' defaults where it says nothing: no
padding and 192 M parameters, 208 blocks a video with the video's score as it stands, mean squared error, Adam 1e-4, 50
epochs, dropout .5.

Source: You and Korhonen, Deep Neural Networks for No-Reference Video Quality Assessment, ICIP 2019,
doi:10.1109/ICIP.2019.8803395.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vqmeter.errors import UsageError
from vqmeter.metrics.nr.c3d import svr, under
from vqmeter.metrics.nr.cnn3d_grid import SIDE, SIZES, Layout
from vqmeter.metrics.nr.cnn3d_lstm import network
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.networks.svr import Svr
from vqmeter.tensors import fold_norms
from vqmeter.training.data import Data, Items, need_scores, targets
from vqmeter.training.datasets import Item
from vqmeter.training.loop import Plan, fit
from vqmeter.training.recipes import About, Comparison, Trained
from vqmeter.training.recipes.cnn3d_clips import HELD, Clips, Source, begin, made_from, normed, sources
from vqmeter.training.recipes.cnn3d_video import Floats, Joint, Seen, Video, predicted, stacked, without_lstm
from vqmeter.training.run import Run, fingerprint, seeded
from vqmeter.weights import Label, State, build, load

_PAPER = "You and Korhonen, ICIP 2019"
_PUBLISHED: Mapping[str, Any] = {
    "widths": "32-64-128-256", "blocks": "grid", "clips": 208, "ranking": 0.0, "dropout": 0.5, "average": 0.0,
    "norms": False,
}  # fmt: skip
_REAL = (
    "KoNViD-1k (1,200 videos, 960x540) or LIVE-Qualcomm (208, 1080p), and for `as_published` a GPU of 24 GB: 27 GMAC a block "
    "and 208 blocks a video make 18 PMAC an epoch of KoNViD-1k forward and back, hours on one such GPU, days for 50, and "
    "540 GB of blocks on disk. The default, 8-16-32-64 and 4 cuts an epoch and video, takes some hours on 8 CPU cores."
)


@dataclass(frozen=True)
class Cnn3dLstm:
    """The options. `widths` and `hidden` are those of the convolutions and the linear layers; `groups`, `columns` and `rows`
    the grid (default: the preset's), which the weight file keeps; `clips` how many of a video are learned from an epoch
    (of a grid once and for all; 0: all); `crop` the side of random cuts, `variants` how many copies of a source share a
    place; `ranking` the weight of their order in the loss; `average` the share the running average of weights keeps; `norms`
    whether batch norms follow the convolutions as long as these are trained from scratch (default: those of `stats`);
    `lstm` and `fc` the sizes of the second stage, `videos` how many it learns from and `lstm_epochs` how often (0: all of
    them; as often as --epochs says for both stages, else 200 times)."""

    preset: Literal["auto", "lite", "paper", "fcn", "stats"] = "auto"  # lite, or with as_published paper
    widths: str = "8-16-32-64"
    hidden: str = "1024-512"
    groups: int = 0
    columns: int = 0
    rows: int = 0
    downscaled: bool = False
    blocks: Literal["random", "grid"] = "random"
    clips: int = 4
    crop: int = 160
    variants: int = 4
    loss: Literal["mse", "l1", "huber"] = "mse"
    ranking: float = 1.0
    optimiser: Literal["adam", "sgd"] = "adam"
    dropout: float = 0.0
    average: float = 0.999
    norms: bool | None = None
    over: Literal["lstm", "svr", "ridge", "mean"] = "lstm"
    lstm: int = 32
    fc: int = 16
    videos: int = 0
    lstm_epochs: int = 0
    end_to_end: bool = False
    start: Literal["any", "init", "scratch"] = "any"
    as_published: bool = False

    about: ClassVar[About] = About(
        "3-D network on blocks of 16 frames, then an LSTM over the video", f"{_PAPER}, doi:10.1109/ICIP.2019.8803395",
        "videos of 16 frames or more with scores",
    )  # fmt: skip
    comparisons: ClassVar[Mapping[str, Comparison]] = {
        "downscaled": Comparison(
            "Blocks at native size, or the frame made as small as a block",
            _PAPER, {"blocks": {"blocks": "grid"}, "downscaled": {"downscaled": True}}, {("downscaled", "plcc"): 0.21}, _REAL,
            columns=("plcc", "srocc"), splits="90/10", repeats=1,
        ),
        "lstm": Comparison(
            "The size of the LSTM", _PAPER, {f"LSTM {n}": {"lstm": n} for n in (8, 16, 32, 64)}, {}, _REAL,
        ),
        "over": Comparison(
            "What makes one score of a video's blocks", _PAPER,
            {"LSTM": {}, "SVR": {"over": "svr"}, "ridge": {"over": "ridge"}, "mean": {"over": "mean"}}, {}, _REAL,
        ),
        "transfer": Comparison(
            "From another data set's weights (--init), or from the beginning", _PAPER,
            {"from the beginning": {"start": "scratch"}, "from --init": {"start": "init"}}, {},
            f"{_REAL} First KoNViD-1k with -o first.safetensors, then LIVE-Qualcomm with --init first.safetensors.",
            splits="80/20", repeats=1,
        ),
    }  # fmt: skip

    def settled(self) -> Cnn3dLstm:
        """With the source's choices where these are asked for.

        Raises
            UsageError: options that do not go together.
        """
        plain = {field.name: field.default for field in dataclasses.fields(self)}
        change = {key: value for key, value in _PUBLISHED.items() if self.as_published and getattr(self, key) == plain[key]}
        found = replace(self, **change)
        if found.preset == "auto":
            found = replace(found, preset="paper" if self.as_published else "lite")
        if found.norms is None:
            found = replace(found, norms=found.preset == "stats")
        if found.downscaled:
            found = replace(found, blocks="grid", columns=1, rows=1)
        if found.preset == "fcn":
            if found.downscaled:
                raise UsageError("cnn3d_lstm: fcn sees whole frames; downscaled=true is for lite and paper")
            found = replace(found, blocks="random", columns=1, rows=1)
        if found.preset == "paper" or found.blocks == "grid":
            found = replace(found, crop=SIDE)
        if found.end_to_end and (found.preset, found.over) != ("fcn", "lstm"):
            raise UsageError("cnn3d_lstm: end_to_end=true is for preset=fcn with over=lstm")
        found.sizes()
        return found

    def sizes(self) -> tuple[list[int], list[int]]:
        """`widths` and `hidden` as numbers."""
        return _sizes("widths", self.widths, 4), _sizes("hidden", self.hidden, 2)

    def layout(self) -> Layout:
        """The grid that the weights are for."""
        count, columns, rows = (own or usual for own, usual in
                                zip((self.groups, self.columns, self.rows), SIZES[self.preset], strict=True))  # fmt: skip
        return Layout(self.preset, count, columns, rows, "downscaled" if self.downscaled else "blocks")

    def train(self, data: Data, run: Run) -> Trained:
        """Both stages.

        Raises
            UsageError: items without scores, options that do not go together, or videos too small or short.
            WeightsError: the weights to begin from are of another shape.
        """
        recipe = self.settled()
        layout, label = recipe.layout(), data.as_published() if self.as_published else data.label
        need_scores(replace(data, test=()), "cnn3d_lstm")
        first = recipe._first(run)
        clips = recipe._clips(data, label, layout, first, run)
        over, state = recipe._over(data, label, Seen(clips, layout, run), first, run)
        if recipe.end_to_end and isinstance(over, GroupLstm):
            recipe._joint(data, label, clips, over, layout, run)
            state = {f"video.{key}": value for key, value in over.state_dict().items()}
        seen = Seen(clips, layout, run)

        def predict(items: Sequence[Item]) -> Floats:
            return predicted(over, seen(items), layout)

        options = {"preset": layout.preset, "groups": layout.groups, "columns": layout.columns, "rows": layout.rows}
        options |= {"view": layout.view} if layout.view != "blocks" else {}
        state = {f"clip.{key}": value for key, value in clips.state_dict().items()} | state
        return Trained(state, label, predict, options, variant=f"{layout.preset}, {recipe.widths}, {recipe.over}")

    def _first(self, run: Run) -> State:
        """The tensors to begin from, {} where there are none."""
        if self.start == "init" and run.init is None:
            raise UsageError("cnn3d_lstm: start=init needs --init FILE, weights trained on another data set")
        return {} if self.start == "scratch" or run.init is None else load("cnn3d_lstm", run.init)[0]

    def _clips(self, data: Data, label: Label, layout: Layout, first: State, run: Run) -> Cnn3d:
        """Stage `clips`; made once for all rows of a comparison that share it."""
        own = under("clip.", first)
        if own:
            clips = network({key: value.clone() for key, value in own.items()}, self.preset)
            clips.requires_grad_(True)
        else:
            with seeded(run.seed, "clips", "begin"):
                clips = Cnn3d(self.preset, *self.sizes())
                begin(clips, self.as_published, float(targets(data.train, label).mean()), bool(self.norms))
        clips.dropout.p = self.dropout

        def make() -> NDArray[np.float32]:
            if self.norms and not own:
                normed(clips)
            self._fit_clips(clips, data, label, layout, run)
            fold_norms(clips)
            made: NDArray[np.float32] = torch.cat([p.detach().flatten().cpu() for p in clips.parameters()]).numpy()
            return made

        stage = replace(self, over="lstm", lstm=0, fc=0, videos=0, lstm_epochs=0, end_to_end=False)
        made_by = [repr(stage), made_from(data), fingerprint(own), run.seed, run.context, run.epochs, run.rate, run.patience,
                   run.steps]  # fmt: skip
        values = torch.from_numpy(np.array(run.array("network", made_by, make)))
        nn.utils.vector_to_parameters(values, clips.cpu().parameters())
        clips.eval()
        return clips

    def _fit_clips(self, clips: Cnn3d, data: Data, label: Label, layout: Layout, run: Run) -> None:
        size = run.context.batch or 16

        def of(items: Items, clips: int) -> Source:
            return sources(data, items, label, run, layout, grid=self.blocks == "grid", side=self.crop, clips=clips,
                           variants=self.variants)  # fmt: skip

        held = of(data.val, HELD) if data.val else None
        task = Clips(clips, run, of(data.train, self.clips), held, batch=size, loss=self.loss, weight=self.ranking)
        sgd, ours = self.optimiser == "sgd", not self.as_published
        plan = Plan(50, (10 if sgd else 1) * (1e-3 if ours else 1e-4), self.optimiser, {"momentum": 0.9} if sgd else None,
                    cosine=ours, warm=20 if ours else 0, clip=float(ours), average=self.average, watch="r2")  # fmt: skip
        fit("clips", task, plan, run)
        task.settle()

    def _over(self, data: Data, label: Label, seen: Seen, first: State, run: Run) -> tuple[GroupLstm | Svr, State]:
        """Stage `video`, or the baseline in its place."""
        train = data.train
        if 0 < self.videos < len(train):
            train = tuple(train[n] for n in np.sort(run.rng("videos").choice(len(train), self.videos, replace=False)))
        known, y = seen(train), targets(train, label).astype(np.float64)
        if self.over != "lstm":
            state = without_lstm(self.over, known, y, [item.group or item.path for item in train], run.seed)
            return svr(state), state
        x, whole = stacked(known, seen.layout.whole), seen.layout.whole
        own = under("video.", first)
        with seeded(run.seed, "video", "begin"):
            module = GroupLstm(x.shape[2], self.lstm, self.fc)
        if own:
            module = build(lambda: GroupLstm(x.shape[2], self.lstm, self.fc), {k: v.clone() for k, v in own.items()})
        elif not self.as_published:
            nn.init.constant_(module.out.bias, float(y.mean()))
        val = (stacked(seen(data.val), whole), torch.from_numpy(targets(data.val, label))) if data.val else None
        task = Video(module.requires_grad_(True), run, (x, torch.from_numpy(y)), val, batch=run.context.batch or 16,
                     loss=self.loss, standard=not self.as_published)  # fmt: skip
        own_run = replace(run, epochs=self.lstm_epochs or run.epochs)
        fit("video", task, Plan(50 if self.as_published else 200, 1e-3, cosine=not self.as_published, watch="r2"), own_run)
        over = task.folded()
        return over, {f"video.{key}": value for key, value in over.state_dict().items()}

    def _joint(self, data: Data, label: Label, clips: Cnn3d, over: GroupLstm, layout: Layout, run: Run) -> None:
        """Stage `joint`: both networks go on together; what they are after the last epoch counts."""
        task = Joint(clips.requires_grad_(True), over.requires_grad_(True), run, data.train, targets(data.train, label),
                     layout=layout, side=self.crop, batch=run.context.batch or 2, loss=self.loss)  # fmt: skip
        fit("joint", task, Plan(10, 1e-4, cosine=True, clip=1.0, average=self.average), run)
        task.module.cpu()


def _sizes(option: str, text: str, count: int) -> list[int]:
    """Whole numbers with dashes between them.

    Raises
        UsageError: they are none, or of another count.
    """
    parts = text.split("-")
    if len(parts) != count or not all(part.isdigit() and int(part) for part in parts):
        raise UsageError(f"cnn3d_lstm: {option} is {count} whole numbers with dashes between them, not '{text}'")
    return [int(part) for part in parts]
