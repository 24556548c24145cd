"""VSFA: quality of in-the-wild video from ResNet features, a recurrent network and a temporal pooling after memory.

Every frame at its native size, R, G, B by ImageNet's mean and deviation, through a ResNet; the mean and the unbiased
deviation of its last map over the picture; fc0 to 128, a GRU of 32, one number q a frame. The video's raw score is
`networks.vsfa.pool` of them (tau 12, beta 0.5, the coded form). Streamed: batches of frames, the GRU's state carried
from one to the next, and one float a frame kept. On the CPU frames go through the network one or a few at a time,
which is as fast there as any batch; head and pooling are in float32 on the CPU, wherever the backbone runs.

A frame's score is its q, before the pooling that looks at its neighbours; the mean of frames is not the video's score.
`temporal`: `sub-gru` is the paper's; `sub-lstm` has an LSTM in the GRU's place; `avg-gru` takes the plain mean of q;
`none` has no recurrent network, fc0 and a linear layer on each frame, and the plain mean. All but `avg-gru` need
weights trained that way. MDTVSFA's weights add maps of q to a scale that data sets share, for frames and video alike.
`fps` drops frames to that rate (nearest frame); a slower video keeps its own.

Source: Li, Jiang, Jiang, Quality Assessment of In-the-Wild Videos, ACM MM 2019, doi:10.1145/3343031.3351028.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vqmeter import tensors
from vqmeter.errors import MismatchError, UsageError, WeightsError
from vqmeter.metric import About, Clip, Context, Meter, Sample, Scale, Score, Stream
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.vsfa import FrameScores, MixedVsfa, described
from vqmeter.networks.vsfa import Vsfa as Head
from vqmeter.tensors import Kept
from vqmeter.weights import Label, State, Weights, build, catalogue, find, load_with_backbone

IMAGENET = {"order": "RGB", "divide": 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CELLS = {"sub-gru": "gru", "avg-gru": "gru", "sub-lstm": "lstm", "none": "none"}
BYTES_A_PIXEL = {"resnet18": 120, "resnet50": 240, "resnet101": 240}  # at the peak of one frame, in float32: measured
AVERAGED = ("avg-gru", "none")  # the plain mean of frames in the pooling's place
SMALLEST = 33  # the last map has one position below it, and one number has no deviation
_DEFINITION = "0..100 from the label scale of the weights (KoNViD-1k: MOS 1 is 0, MOS 5 is 100), clipped; raw and mos beside it"
_log = logging.getLogger("vqmeter")


@dataclass(frozen=True)
class Vsfa:
    """Score `vsfa`, 0..100, higher is better: of every frame, and of the video with `raw` and `mos` beside it."""

    backbone: Literal["resnet18", "resnet50", "resnet101"] | None = None
    temporal: Literal["sub-gru", "sub-lstm", "avg-gru", "none"] | None = None
    fps: float | None = None
    weights: str | None = None

    about: ClassVar[About] = About(
        title="VSFA, quality of in-the-wild video",
        definition="Frames at native size as R, G, B less ImageNet's mean over its deviation; ResNet-50 up to its last stage; "
        "mean and unbiased deviation of the 2048 maps; fully connected to 128; GRU of 32; one number q a frame. Video: mean "
        "over t of 0.5 m_t + 0.5 l_t, l_t the minimum of q over frames t-11..t, m_t the mean of q over t..t+11 weighted by "
        "exp(-q), windows cut at both ends. Then the label scale of the weights to 0..100, clipped. A frame's score is its q "
        "on the same scale. backbone and temporal are those of the weights unless named; fps=N scores N frames a second "
        "(the nearest ones), the weights' own choice by default, all frames with the published weights.",
        source="Li, Jiang, Jiang, Quality Assessment of In-the-Wild Videos, ACM Multimedia 2019, doi:10.1145/3343031.3351028. "
        "MDTVSFA: IJCV 2021, doi:10.1007/s11263-020-01408-w.",
        differs="The pooling is the one in the authors' code, with which their weights were trained; the paper's text lets l_t "
        "look at earlier frames only. Colour goes by the stream's matrix and range, where the authors let FFmpeg choose; "
        "rotation noted in a file is not applied.",
        needs="no reference; weights of the head and of its backbone",
        validated="By its authors with these weights' recipe on KoNViD-1k, ten splits: SROCC 0.773 (0.019), PLCC 0.775. Here "
        "the head meets the authors' own code to 1e-5; no human scores were seen.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"vsfa: fps is more than 0, not {self.fps:g}")

    def scales(self) -> Mapping[str, Scale]:
        return {"vsfa": Scale("", 0.0, 100.0, "higher", _DEFINITION)}

    def open(self, stream: Stream, context: Context) -> Meter:
        tensors.dtype_of(context)
        check_size(stream)
        return VsfaMeter(self, _networks(self, context.device, context.precision), stream, context)


def check_size(stream: Stream) -> None:
    """Hold that frames are large enough.

    Raises
        MismatchError: the last map would be of one position, which has no deviation.
    """
    width, height = stream.dist.width, stream.dist.height
    if max(width, height) < SMALLEST:
        raise MismatchError(f"{stream.dist.path}: vsfa needs frames of more than 32 pixels on a side, not {width}x{height}")


@dataclass(frozen=True)
class Networks:
    """What a weight file makes: the backbone on its device, the head on the CPU."""

    weights: Weights
    backbone: ResNet
    head: Head
    name: str  # of the backbone
    temporal: str
    preprocessing: Mapping[str, Any]


def _networks(metric: Vsfa, device: str, precision: str) -> Networks:
    """The networks of the weights that `metric` means, loaded once for as long as the files stay the same."""
    choice = metric.weights or _set_with(metric.backbone, metric.temporal)
    head = find("vsfa", choice)
    beside = head.path.parent if head.path else None
    under = tuple(find(name, beside=beside).sha256 for name in head.needs)
    made = _load(str(head.path), (head.sha256, *under), device, precision)
    if metric.backbone not in (None, made.name):
        raise WeightsError(f"{head.path}: trained on {made.name}, not on {metric.backbone}; name others with weights=")
    if metric.temporal is not None and CELLS[metric.temporal] != CELLS[made.temporal]:
        raise WeightsError(f"{head.path}: trained for {made.temporal}, not {metric.temporal}; name others with weights=")
    return made


def _set_with(backbone: str | None, temporal: str | None) -> str | None:
    """The first set of the manifest that fits what was named; None where nothing was, or nothing fits."""
    if backbone is None and temporal is None:
        return None
    for entry in catalogue():
        options = entry.options
        fits = backbone in (None, options.get("backbone")) and (
            temporal is None or CELLS[temporal] == CELLS[_temporal(options.get("temporal"))]
        )
        if entry.model == "vsfa" and entry.path is not None and fits:
            return str(entry.path)
    return None


def _temporal(said: str | None) -> str:
    """A weight file's word (`gru`, `lstm`, or one of ours) among ours."""
    said = said or "gru"
    return said if said in CELLS else f"sub-{said}"


@lru_cache(maxsize=4)
def _load(path: str, _digests: tuple[str, ...], device: str, precision: str) -> Networks:
    state, found, under_state, under = load_with_backbone("vsfa", path)
    name = found.options.get("backbone") if under is found else under.model
    if name not in BYTES_A_PIXEL:
        raise WeightsError(f"{path}: its backbone is {name or 'not said'}, not one of {', '.join(BYTES_A_PIXEL)}")
    backbone = build_backbone(name, under_state, str(found.options.get("levels", "last")))
    head = build_head(state)
    inputs = head.ann["fc0"].in_features
    if inputs != 2 * backbone.described:
        raise WeightsError(f"{path}: its head takes {inputs} numbers, {name} gives {2 * backbone.described}")
    temporal = _temporal(found.options.get("temporal"))
    if not hasattr(head.rnn, "hidden_size"):
        temporal = "none"
    elif isinstance(head.rnn, nn.LSTM):
        temporal = "sub-lstm"
    found.score(0.0)  # of an unknown scale nothing can be told, and that is said before anything is decoded
    placed = tensors.place(backbone, Context(device, precision))
    preprocessing = {**IMAGENET, **under.preprocessing, **found.preprocessing}
    return Networks(found, placed, head, name, temporal, preprocessing)


def build_backbone(name: str, state: State, levels: str = "last") -> ResNet:
    """The ResNet called `name`, as wide and deep as the tensors are; with `levels` "all" every stage's map counts."""
    if "conv1.weight" not in state:
        raise WeightsError(f"no {name} among these tensors: conv1 is missing")
    return build(lambda: ResNet.like(int(name.removeprefix("resnet")), state, levels == "all"), state)


def build_head(state: State) -> Head:
    """The head that fits the tensors: GRU, LSTM or neither, with or without MDTVSFA's maps."""
    try:
        reduced, inputs = state["ann.fc0.weight"].shape
        hidden = state["q.weight"].shape[1]
    except (KeyError, ValueError, IndexError):
        raise WeightsError("no head of VSFA among these tensors: ann.fc0 or q is missing") from None
    gates = state["rnn.weight_ih_l0"].shape[0] // hidden if "rnn.weight_ih_l0" in state else 0
    sizes = {"inputs": inputs, "reduced": reduced, "hidden": hidden, "temporal": {0: "none", 4: "lstm"}.get(gates, "gru")}
    datasets = [key.split(".")[1] for key in state if key.startswith("lm.") and key.endswith(".weight")]
    make = (lambda: MixedVsfa(datasets=datasets, **sizes)) if "nlm.0.weight" in state else (lambda: Head(**sizes))
    return build(make, state)


@dataclass(frozen=True)
class Features:
    """From frames to what the head takes: a ResNet in its place, its name, and the pixels it was trained on."""

    network: ResNet
    name: str
    preprocessing: Mapping[str, Any]
    context: Context

    def __call__(self, frames: Sequence[Kept]) -> Tensor:
        """(N, 2 C) float32 on the CPU: means and deviations of the last map, or of all stages', of frames of one video."""
        how = self.preprocessing
        x = tensors.to_rgb(frames, self.context.device, order=how["order"], scale=255 / how["divide"])
        x = tensors.feed(tensors.normalise(x, how["mean"], how["std"]), self.context)
        return described(self.network, x).cpu()

    def batches(self, stream: Stream) -> tensors.Batches:
        """As many frames of the stream at once as suit the machine."""
        bytes_each = int(stream.dist.width * stream.dist.height * BYTES_A_PIXEL[self.name] * self.network.width)
        return tensors.Batches(
            tensors.batch_size(self.context, bytes_each if self.context.precision == "fp32" else bytes_each // 2)
        )


def plan(fps: float | None, stream: Stream) -> Iterator[tuple[int, ...]]:
    """The frames that are scored, each by itself: `fps` a second, or all."""
    step = _step(fps, stream)
    if step is None:
        return zip(itertools.count())
    return ((math.floor(k * step + Fraction(1, 2)),) for k in itertools.count())


class VsfaMeter:
    """Features in batches as frames come, the head's state carried along."""

    def __init__(self, metric: Vsfa, networks: Networks, stream: Stream, context: Context) -> None:
        self.scores = metric.scales()
        self.weights = networks.weights
        self._networks, self._context, self._stream = networks, context, stream
        self._averaged = (metric.temporal or networks.temporal) in AVERAGED
        self._fps = metric.fps or networks.weights.options.get("fps")
        self._features = Features(networks.backbone, networks.name, networks.preprocessing, context)
        self._batches = self._features.batches(stream)
        self.batch = self._batches.size
        self._frames = FrameScores(networks.head)

    def plan(self) -> Iterator[tuple[int, ...]]:
        return plan(self._fps, self._stream)

    def prepare(self, sample: Sample) -> Kept:
        return tensors.keep(sample.dist)

    def score(self, batch: Sequence[Clip]) -> Iterator[Score]:
        with tensors.computing(self._context):
            kept: list[Kept] = [clip.items[0] for clip in batch]
            raw = self._frames.push(self._batches.run(self._features, kept))
            values = self._aligned(raw)
        for clip, value in zip(batch, values, strict=True):
            n = clip.frames[0]
            yield Score("vsfa", self.weights.score(value), range(n, n + 1))

    def finish(self) -> Iterator[Score]:
        if not self._frames.values:
            return
        with tensors.computing(self._context):
            pooled = self._frames.mean() if self._averaged else self._frames.pooled()
            [raw] = self._aligned([pooled])
        label = self.weights.label
        beside = {"raw": raw} if label is None else {"raw": raw, "mos": label.value(raw), "raw_scale": _said(label)}
        yield Score("vsfa", self.weights.score(raw), None, beside)

    def _aligned(self, raw: list[float]) -> list[float]:
        """Raw scores, by MDTVSFA's maps where the weights have them."""
        head = self._networks.head
        if not isinstance(head, MixedVsfa):
            return raw
        aligned: list[float] = head.align(torch.tensor(raw)).tolist()
        return aligned


def _said(label: Label) -> str:
    """What raw numbers are, in words: `MOS, KoNViD-1k = 4.64 raw`."""
    shift = f" + {label.offset:g}" if label.offset > 0 else f" - {-label.offset:g}" if label.offset else ""
    return f"{label.unit} = {label.scale:g} raw{shift}" if label.scale != 1 or shift else label.unit


def _step(fps: float | None, stream: Stream) -> Fraction | None:
    """Frames of the stream to one that is scored, None for every frame."""
    if fps is None:
        return None
    if stream.rate is None:
        _log.warning("%s: says no frame rate, so fps=%g cannot be kept; every frame is scored", stream.dist.path, fps)
        return None
    step = stream.rate / Fraction(fps)
    if step < Fraction(99, 100):
        _log.warning("%s: has %.6g frames a second, fewer than fps=%g; every frame is scored", stream.dist.path,
                     float(stream.rate), fps)  # fmt: skip
    return step if step > 1 else None
