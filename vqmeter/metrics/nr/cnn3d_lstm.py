"""3D-CNN + LSTM: a 3-D network scores blocks of 16 frames, an LSTM makes one score of all of them.

    b[g, i] = CNN(block i of group g);   video = LSTM(b[0], b[1], ...)

Groups of 16 frames begin at round(linspace(0, N - 16, groups)), blocks of 224x224 lie on a grid of columns x rows at
round(linspace(0, W - 224, columns)) and round(linspace(0, H - 224, rows)), row by row; on upright pictures columns and
rows change places. Frames smaller than 224 are mirrored, never scaled; videos shorter than 16 repeat their last frame.
`paper`: 32 groups of 8x4 blocks; `lite` and `stats`: 8 groups of 4x2; `fcn` (the source's future work, end to end): 8 groups
of whole frames, whose features go to the LSTM. Other grids are read from the weights, and with `view=downscaled` in them (the
variant the source warns of) there is one block a group, the whole frame squeezed to 224x224, bilinear with antialiasing.

With `svr.*` in the weight file (the source's baseline without an LSTM) the video's score is that of a ridge or an RBF-SVR
on the mean of the blocks' 512 activations, or of their scores where it has one input.

Source: You and Korhonen, Deep Neural Networks for No-Reference Video Quality Assessment, ICIP 2019,
doi:10.1109/ICIP.2019.8803395. The grid is inferred from the counts of clips in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.errors import WeightsError
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream
from vqmeter.metrics.nr.c3d import svr, under
from vqmeter.metrics.nr.cnn3d_grid import FRAMES, Layout, groups
from vqmeter.networks import paired
from vqmeter.networks.cnn3d import BAND, Cnn3d, GroupLstm
from vqmeter.networks.svr import Svr
from vqmeter.weights import State, Weights, build, load


@dataclass(frozen=True)
class Cnn3dLstm:
    """Score `cnn3d_lstm`, 0..100, higher is better: one for each group of 16 frames, and the LSTM's for the video."""

    preset: Literal["paper", "lite", "fcn", "stats"] | None = None  # None: what the weights were trained with
    weights: str | None = None

    about: ClassVar[About] = About(
        title="3-D convolutional network on blocks of 16 frames, LSTM over the video",
        definition="Groups of 16 frames from round(linspace(0, N-16, G)), in each a grid of 224x224 blocks at "
        "round(linspace(0, W-224, C)) x round(linspace(0, H-224, R)), row by row (C and R change places on upright pictures), "
        "RGB 0..1 of 8 bits. paper: G 32, C 8, R 4, convolutions 32-64-128-128-256-256 without padding, flattened; lite: G 8, "
        "C 4, R 2, padded, mean over time and space; stats: as lite, means and deviations after every pool; fcn: G 8, whole "
        "frames, the layers of lite at every place. Every block gets a score, a group has the mean of its own; an LSTM of 32 "
        "over the groups (32 or 8 block scores each; 512 features for fcn), linear 16, ReLU, linear 1 give the video's. "
        "Brought to 0..100 by the label scale of the weights; `raw` and `mos` stand beside it. Frames smaller than 224 are "
        "mirrored, videos shorter than 16 repeat the last frame. Where the weights hold svr.*, a ridge or RBF-SVR on the mean "
        "activations stands in for the LSTM.",
        source="You and Korhonen, ICIP 2019, doi:10.1109/ICIP.2019.8803395",
        differs="The paper leaves padding, activations of the dense layers, input scaling and the place of the blocks open: "
        "padding valid (Keras), ReLU, x/255, and the grid that its counts of clips allow. lite, fcn and stats are ours.",
        needs="no reference; weights; the length",
        validated="The published results are in a picture and could not be read; not compared.",
    )
    needs_length: ClassVar[bool] = True
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return {"cnn3d_lstm": Scale("", 0.0, 100.0, definition="LSTM over scores of 16-frame blocks by a 3-D network")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return Cnn3dLstmMeter(self, stream, context)


def network(state: State, preset: str) -> Cnn3d:
    """The clip network; its widths are those of the tensors.

    Raises
        WeightsError: tensors are missing or do not fit the preset.
    """
    try:
        widths = [state[f"conv{n}.weight"].shape[0] for n in (1, 2, 3, 5)]
        hidden = [state[f"fc{n}.weight"].shape[0] for n in (1, 2)]
    except KeyError as error:
        raise WeightsError(f"the clip network has no {error.args[0]}") from None
    return build(lambda: Cnn3d(preset, widths, hidden), state)


def over_groups(state: State, weights: Weights, inputs: int, features: int) -> GroupLstm | Svr:
    """What makes a video's score: the LSTM, of `inputs` numbers a group, or an SVR on the mean over all blocks.

    Raises
        WeightsError: there is neither, or it wants other inputs.
    """
    if under("svr.", state):
        found = svr(state)
        if found.mean.numel() not in (1, features):
            raise WeightsError(
                f"{weights.name}: an SVR of {found.mean.numel()} inputs, neither 1 score nor {features} features"
            )
        return found
    own = under("video.", state)
    if "lstm.weight_ih_l0" not in own or "fc.weight" not in own:
        raise WeightsError(f"{weights.name}: holds neither an LSTM (video.*) nor an SVR (svr.*) over the groups")
    wanted, hidden, fc = own["lstm.weight_ih_l0"].shape[1], own["lstm.weight_hh_l0"].shape[1], len(own["fc.weight"])
    if wanted != inputs:
        raise WeightsError(f"{weights.name}: an LSTM of {wanted} numbers a group, but the grid gives {inputs}")
    return build(lambda: GroupLstm(wanted, hidden, fc), own)


def overall(over: GroupLstm | Svr, scores: Tensor, features: Tensor, whole: bool) -> float:
    """The video's raw score from its groups' block scores (groups, blocks) and mean features (groups, 512)."""
    if isinstance(over, Svr):
        x = features.mean(0) if over.mean.numel() > 1 else scores.mean()[None]
    else:
        x = features if whole else scores
    return float(over(x[None].float().to(next(iter(over.state_dict().values())).device))[0])


def placed(clips: Cnn3d, context: Context) -> Cnn3d:
    """The clip network as `BlockMeter` runs it."""
    network = tensors.place(clips, context)
    network.to(memory_format=torch.channels_last_3d)
    return network


class BlockMeter:
    """Cuts blocks in the pool and scores them group by group; what it found is in `seen`."""

    batch = 1  # groups: one is many blocks
    scores: Mapping[str, Scale] = MappingProxyType({})

    def __init__(self, clips: Cnn3d, layout: Layout, stream: Stream, context: Context) -> None:
        self._clips, self.layout, self._context = clips, layout, context
        self._groups = groups(stream.frames or 1, layout.groups)
        self.grid = layout.grid(stream.dist.width, stream.dist.height)
        h, w = self.grid.size
        peak = 4 * FRAMES * (min(h, BAND + 48) if layout.whole else h) * w * (3 + 3 * clips.conv1.out_channels)
        size = tensors.batch_size(context, peak, 2 if context.device == "cpu" else 64)
        if context.batch is None and not layout.whole:  # rather two blocks than one that is paired with itself
            alone = torch.empty(1, dtype=tensors.dtype_of(context), device=context.device)
            size = max(size, len(paired(alone, clips.conv1.out_channels)))
        self._batches = tensors.Batches(size)
        self._scores: list[Tensor] = []
        self._features: list[Tensor] = []
        self._last: tuple[int, ...] = ()

    @property
    def seen(self) -> tuple[Tensor, Tensor] | None:
        """Block scores (groups, blocks) and mean features (groups, 512), float64; None before any group."""
        return (torch.stack(self._scores), torch.stack(self._features)) if self._scores else None

    def plan(self) -> Iterator[tuple[int, ...]]:
        return iter(self._groups)

    def prepare(self, sample: Sample) -> tuple[int, NDArray[np.uint8]]:
        return sample.index, self.grid.cut(tensors.rgb_array(sample.dist))

    def score(self, batch: Sequence[Clip]) -> Iterable[Score | QualityMap]:
        return [score for clip in batch for score in self._group(clip)]

    def _group(self, clip: Clip) -> Iterable[Score]:
        """Take in one group."""
        frames = tuple(index for index, _ in clip.items)
        if frames != self._last:  # short videos give the same group again and again
            with tensors.computing(self._context):
                group = torch.from_numpy(np.stack([cut for _, cut in clip.items])).to(self._context.device)
                out = self._batches.run(self._run, self.grid.blocks(group)).cpu()
            self._scores.append(out[:, -1])
            self._features.append(out[:, :-1].mean(0))
            self._last = frames
        else:
            self._scores.append(self._scores[-1])
            self._features.append(self._features[-1])
        return ()

    def _run(self, blocks: Sequence[Tensor]) -> Tensor:
        """(N, 512 + 1) float64: activations and scores of N blocks of uint8."""
        x = torch.stack([*blocks]).contiguous(memory_format=torch.channels_last_3d)
        x = x.to(tensors.dtype_of(self._context)).div_(255)
        if not self.layout.whole:  # whole frames are paired in bands
            x = paired(x, self._clips.conv1.out_channels).contiguous(memory_format=torch.channels_last_3d)
        features = self._clips.features(x)[: len(blocks)]
        return torch.cat([features, self._clips.out(features)], 1).double()

    def finish(self) -> Iterable[Score | QualityMap]:
        return ()


class Cnn3dLstmMeter(BlockMeter):
    """Scores of groups as they come, and the LSTM's at the end."""

    def __init__(self, metric: Cnn3dLstm, stream: Stream, context: Context) -> None:
        state, self.weights = load("cnn3d_lstm", metric.weights)
        self.weights.score(0.0)  # without a scale there is no score: better told now
        layout = Layout.of(self.weights)
        if metric.preset not in (None, layout.preset):
            raise WeightsError(
                f"{self.weights.name} is of preset {layout.preset}; name other weights for preset={metric.preset}"
            )
        clips = network(under("clip.", state), layout.preset)
        features = clips.fc2.out_features
        over = over_groups(state, self.weights, layout.inputs(features), features)
        self._over = tensors.place(over, replace(context, precision="fp32"))
        super().__init__(placed(clips, context), layout, stream, context)
        self.scores = metric.scales()

    def _group(self, clip: Clip) -> Iterable[Score]:
        super()._group(clip)
        value = self.weights.score(float(self._scores[-1].mean()))
        return [Score("cnn3d_lstm", value, range(self._last[0], self._last[-1] + 1))]

    def finish(self) -> Iterable[Score | QualityMap]:
        seen = self.seen
        if seen is None or self.weights.label is None:
            return []
        with tensors.computing(self._context):
            raw = overall(self._over, *seen, self.layout.whole)
        return [Score("cnn3d_lstm", self.weights.score(raw), None, {"raw": raw, "mos": self.weights.label.value(raw)})]
