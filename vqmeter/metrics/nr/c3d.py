"""C3D: features of 16 frames at 112x112 by a 3-D convolutional network trained to tell sports, and a regressor on them.

    score of a clip = regressor(ReLU(fc7(C3D(16 frames))));   score of a video = mean over its clips

Which frames make a clip is the option `clips`, what of a frame is seen the option `view`; several crops and several
start offsets (`phases`) are averaged as independent predictions. Colour order, mean and scale belong to the weights.
The regressor is linear 512, ReLU, linear 1, or a ridge or an RBF-SVR where the weight file has `svr.*`. Trained with
outputs=mos+std it also tells how far people's ratings spread.

Sources: the C3D transfer-learning report (16 equally spaced frames, whole frame squeezed, fc7, 4096-512-1); Tran et al.,
Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015, doi:10.1109/ICCV.2015.510.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.errors import UsageError, WeightsError
from vqmeter.frames import Frame
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream
from vqmeter.metrics.crops import Recipe, random_corners
from vqmeter.networks import c3d as networks
from vqmeter.networks import paired
from vqmeter.networks.svr import Svr
from vqmeter.weights import State, Weights, build, load_with_backbone

Clips = Literal["equal16", "centre16", "every"]
View = Literal["squeeze", "c3d", "crops"]
VIEWS = ("squeeze", "c3d", "crops")
FRAMES, SIDE = 16, 112
MIDDLE = (128, 171)  # height and width of the picture that the C3D authors crop from
NATIVE_CROPS = 10
CLIP_BYTES = 160 << 20  # at the peak of one clip: conv1's output, 64x16x112x112 float32, three times

CLIPS_SAID = (
    "clips=equal16 takes frames min(N-1, 1 + k max(1, floor(N/16))), k = 0..15, of N; centre16 floor((k + 0.5) N / 16); "
    "every takes all windows of 16 that follow each other, the last one filled up with its last frame."
)
VIEW_SAID = (
    "view=squeeze brings the whole frame to 112x112 (bilinear, antialiased, aspect not kept); c3d to 171x128 and takes the "
    "middle 112x112 (crops=K: K seeded places); crops takes K (10) seeded 112x112 windows at native size, frames smaller "
    "than that mirrored."
)


@dataclass(frozen=True)
class C3d:
    """Score `c3d`, 0..100, higher is better: one for each clip of 16 frames, their mean for the video."""

    clips: Clips = "equal16"
    view: View | None = None  # None: what the weights were trained with
    crops: int | None = None
    phases: int = 1
    weights: str | None = None

    about: ClassVar[About] = About(
        title="C3D features of 16-frame clips with a regressor",
        definition="ReLU(fc7) of C3D (4096 numbers, no dropout; fc6 where the weights say so) of 16 RGB frames of 112x112, "
        "then linear 512, ReLU, linear 1 (or the weight file's ridge or RBF-SVR), brought to 0..100 by the label scale of "
        f"the weights. {CLIPS_SAID} {VIEW_SAID} phases=P averages P start offsets. A video's score is that of the mean raw "
        "score of its clips; `raw` and `mos` stand beside it.",
        source="C3D transfer-learning report; network: Tran et al., ICCV 2015, doi:10.1109/ICCV.2015.510",
        differs="The report's pixels went through two JPEG codings and an offset of 127; here frames are decoded to RGB "
        "directly. Its listing's VALID pool5 cannot hold the published weights: pool5 has windows at 0, 2, 4, 6 (caffe). Its "
        "loop yields 15 frames of a video of 16; here the last is repeated. Crops, phases, standardised features, ridge "
        "and SVR are the report's further scope. A regressor of two outputs tells the standard deviation of people's ratings "
        "as `std` beside `mos`.",
        needs="no reference; weights; the length, except with clips=every",
        validated="The published figure is a test MSE of 83 DMOS^2 on 10 of LIVE VQA's 150 videos (a constant has 120.5), "
        "without content separation. Not checked here.",
    )
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    @property
    def needs_length(self) -> bool:
        """Windows one after another need no length; evenly spaced frames do."""
        return self.clips != "every"

    def scales(self) -> Mapping[str, Scale]:
        return {"c3d": Scale("", 0.0, 100.0, definition="regressor on C3D features of 16-frame clips")}

    def open(self, stream: Stream, context: Context) -> Meter:
        meter = C3dMeter(self, "c3d", stream, context)
        meter.fits(1)
        return meter


@dataclass(frozen=True)
class Look:
    """What of a frame the network sees: `count` pictures of 112x112."""

    view: str
    count: int
    seed: int

    def __call__(self, frame: Frame) -> NDArray[np.float32]:
        """(count, 3, 112, 112) float32 RGB in [0, 1]; made once for all metrics that look at `frame` alike."""
        return frame.derive(("c3d", self), self._take)

    def _take(self, frame: Frame) -> NDArray[np.float32]:
        if self.view == "squeeze":
            return tensors.rgb_reduced(frame, FRAMES, (SIDE, SIDE))[1][None]
        if self.view == "c3d":
            picture = torch.from_numpy(tensors.rgb_reduced(frame, FRAMES, MIDDLE)[1])
        else:
            picture = tensors.reflect_pad(torch.from_numpy(tensors.rgb_array(frame)), (SIDE, SIDE))
        taken: NDArray[np.float32] = tensors.crops(picture, self.corners(*picture.shape[-2:]), (SIDE, SIDE)).numpy()
        return taken

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Upper left corners in a picture of that size: the middle one, or seeded, the same for all frames of a video."""
        if self.view == "c3d" and self.count == 1:
            return [((height - SIDE) // 2, (width - SIDE) // 2)]
        return random_corners(self.seed, 0, (height, width), SIDE, self.count)


@dataclass(frozen=True)
class Cut:
    """What is kept of a frame: (sides, views, 3, 112, 112) float16, and which frame it was."""

    index: int
    pixels: NDArray[np.float16]


def cut(sample: Sample, look: Look) -> Cut:
    """What is kept of a frame without its reference."""
    return Cut(sample.index, look(sample.dist)[None].astype(np.float16))


def spaced(clips: str, frames: int, phase: int = 0, phases: int = 1) -> tuple[int, ...]:
    """The 16 frames of `equal16` or `centre16` among `frames`; `phase` of `phases` moves them within a step."""
    if clips == "centre16":
        places = ((2 * (k * phases + phase) + 1) * frames // (2 * FRAMES * phases) for k in range(FRAMES))
    else:
        step = max(1, frames // FRAMES)
        places = (1 + phase * step // phases + k * step for k in range(FRAMES))
    return tuple(min(frames - 1, place) for place in places)


def planned(clips: str, frames: int | None, phases: int) -> Iterator[tuple[int, ...]]:
    """The clips of a video of `frames` (`every` goes on for ever)."""
    if clips == "every":
        offsets = {phase * FRAMES // phases for phase in range(phases)}
        return (tuple(range(n, n + FRAMES)) for n in itertools.count() if n % FRAMES in offsets)
    if frames is None:
        raise UsageError(f"{clips} needs the length")
    return iter(sorted({spaced(clips, frames, phase, phases) for phase in range(phases)}))


def recipe(weights: Weights, backbone: Weights) -> Recipe:
    """How the network wants its pixels: as the regressor's file says, or where that is silent the backbone's."""
    return Recipe.of(weights if weights.preprocessing else backbone, Recipe())


def pixels(x: Tensor, recipe: Recipe, difference: bool = False) -> Tensor:
    """(N, 3, T, H, W) RGB in [0, 1] by a recipe; of a `difference` of two the mean has gone already."""
    x = x.flip(1) if recipe.order == "BGR" else x
    return tensors.normalise(x * (255 / recipe.divide), (0.0, 0.0, 0.0) if difference else recipe.mean, recipe.std)


def under(prefix: str, state: State) -> State:
    """The tensors whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def svr(state: State) -> Svr:
    """The ridge or support vectors kept as `svr.*`.

    Raises
        WeightsError: what is kept there is neither.
    """
    own = under("svr.", state)
    if "weight" not in own and "support" not in own:
        raise WeightsError(f"svr.* holds neither 'weight' nor 'support' but {', '.join(list(own)[:5])}")
    return build(lambda: Svr.like(own), own)


def regressor(state: State) -> networks.Regressor | Svr:
    """What stands on the features: the published head of two layers, or a ridge or SVR kept as `svr.*`.

    Raises
        WeightsError: there is neither.
    """
    if any(key.startswith("svr.") for key in state):
        return svr(state)
    if "hidden.weight" not in state:
        raise WeightsError(f"no regressor: neither hidden.weight nor svr.* among {', '.join(list(state)[:5]) or 'nothing'}")
    hidden, inputs = state["hidden.weight"].shape
    outputs = len(state["out.bias"]) if "out.bias" in state else 1
    return build(lambda: networks.Regressor(inputs, hidden, outputs=outputs), state)


@dataclass(frozen=True)
class Trunk:
    """C3D in its place, the layer that counts, and how it wants its pixels."""

    network: networks.C3d
    layer: str
    recipe: Recipe
    context: Context

    @classmethod
    def of(cls, state: State, said: Mapping[str, Any], recipe: Recipe, context: Context) -> Trunk:
        """The network that `state` and the options of its weights make."""
        network = tensors.place(build(lambda: networks.C3d(0, *shape(said)), state), context)
        return cls(network.to(memory_format=torch.channels_last_3d), str(said.get("layer", "fc7")), recipe, context)

    def features(self, x: Tensor) -> Tensor:
        """(N, 4096) of (N, 3, 16, 112, 112) as the network wants its pixels."""
        fed = paired(tensors.feed(x, self.context), self.network.conv1.out_channels)
        return self.network.features(fed.contiguous(memory_format=torch.channels_last_3d), self.layer)[: len(x)]


def shape(said: Mapping[str, Any]) -> tuple[str, float, int, bool]:
    """`pool5`, `width`, `fc_rank` and `blocks` of a network, from the options of its weights."""
    return (
        str(said.get("pool5", "ceil")),
        float(said.get("width", 1.0)),
        int(said.get("fc_rank", 0)),
        said.get("layer") == "blocks",
    )


def windows(clips: Sequence[Clip]) -> list[NDArray[np.float16]]:
    """What the network sees of clips of `Cut`, each (sides, 3, 16, 112, 112), the views of a clip one after another."""
    return [view for clip in clips for view in np.stack([cut.pixels for cut in clip.items], 3).swapaxes(0, 1)]


class C3dMeter:
    """Cuts frames in the pool, runs clips through the network in batches, keeps one number a clip."""

    def __init__(self, metric: C3d, name: str, stream: Stream, context: Context) -> None:
        state, self.weights, convolutions, backbone = load_with_backbone(name, metric.weights)
        self.weights.score(0.0)  # without a scale there is no score: better told now
        self.said = {**backbone.options, **self.weights.options}
        self.scores = metric.scales()
        self._name, self._stream, self._context, self._metric = name, stream, context, metric
        self.look = look(metric, trained_view(self.weights, backbone), context.seed)
        if metric.phases < 1:
            raise UsageError(f"{name}: phases is 1 or more")
        self.trunk = Trunk.of(convolutions, self.said, recipe(self.weights, backbone), context)
        self.head = tensors.place(regressor(state), replace(context, precision="fp32"))
        self.batch = tensors.batch_size(context, CLIP_BYTES, 4 if context.device == "cpu" else 32)
        self._batches = tensors.Batches(self.batch)
        self._raw: list[list[float]] = []

    def fits(self, parts: int) -> None:
        """Hold the regressor's inputs against `parts` feature vectors side by side."""
        if self.head.mean.numel() != parts * self.trunk.network.length:
            raise WeightsError(f"{self.weights.name}: a regressor of {self.head.mean.numel()} features does not stand on "
                               f"{parts} x {self.trunk.network.length}")  # fmt: skip

    def plan(self) -> Iterator[tuple[int, ...]]:
        return planned(self._metric.clips, self._stream.frames, self._metric.phases)

    def prepare(self, sample: Sample) -> Cut:
        return cut(sample, self.look)

    def score(self, batch: Sequence[Clip]) -> Iterable[Score | QualityMap]:
        with tensors.computing(self._context):
            found = self._batches.run(self._regress, windows(batch))
            raws = found.view(len(batch), -1, found.shape[1]).mean(1).tolist()
        self._raw += raws
        return [Score(self._name, self.weights.score(raw[0]), range(clip.items[0].index, clip.items[-1].index + 1))
                for clip, raw in zip(batch, raws, strict=True)]  # fmt: skip

    def _regress(self, seen: Sequence[NDArray[np.float16]]) -> Tensor:
        """(N, outputs) raw numbers of windows (sides, 3, 16, 112, 112)."""
        x = torch.from_numpy(np.stack(seen)).to(self._context.device).float()
        return outputs(self.head, self.described(x))

    def described(self, x: Tensor) -> Tensor:
        """(N, F) features of (N, 1, 3, 16, 112, 112)."""
        return self.trunk.features(pixels(x[:, 0], self.trunk.recipe))

    def finish(self) -> Iterable[Score | QualityMap]:
        label = self.weights.label
        if not self._raw or label is None:
            return []
        raw, *spread = np.mean(self._raw, 0).tolist()
        beside = {"raw": raw, "mos": label.value(raw)}
        if spread:
            beside["std"] = abs(label.scale) * spread[0]
        return [Score(self._name, self.weights.score(raw), None, beside)]


def outputs(head: networks.Regressor | Svr, features: Tensor) -> Tensor:
    """(N, outputs) float64 of (N, F): the score, and where it was trained for the spread of ratings."""
    found: Tensor = head(features.float())[:, None] if isinstance(head, Svr) else head.outputs(features.float())
    return found.double()


def trained_view(weights: Weights, backbone: Weights) -> str | None:
    """What of a frame the weights were trained to see, where they say."""
    squeezed = {**backbone.preprocessing, **weights.preprocessing}.get("resize")
    return {**backbone.options, **weights.options}.get("view") or squeezed


def look(metric: C3d, trained: Any, seed: int) -> Look:
    """What of a frame is seen, by the metric's options and where they are silent by the weights'.

    Raises
        UsageError: several crops of a view that has one.
    """
    view = metric.view or trained or "squeeze"
    if view not in VIEWS:
        raise WeightsError(f"view '{view}' of the weights is none of {', '.join(VIEWS)}")
    count = metric.crops if metric.crops is not None else NATIVE_CROPS if view == "crops" else 1
    if count < 1 or (count > 1 and view == "squeeze"):
        raise UsageError(f"crops={count} does not go with view={view}; take view=c3d or view=crops, and 1 or more")
    return Look(view, count, seed)
