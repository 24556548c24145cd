"""VSFA: frame features, a recurrent network over them, and a temporal pooling after human memory.

Per frame: the mean and the unbiased standard deviation of a CNN's last map over its area (4096 numbers of ResNet-50).
fc0 reduces them to 128 (no activation), a GRU of 32 runs over the frames, q gives each frame a score. The video's
score is the mean over t of beta m_t + (1 - beta) l_t: l the minimum of frames t-11..t, m the mean of frames t..t+11
weighted by exp(-q) (tau 12, beta 0.5). Windows are truncated at both ends.

Variant: the coded form, with which the published weights were trained; the paper's text lets l look at previous frames
only. The code pads with infinities and 10000; here windows are explicit and min(q) is taken off inside the exponential,
which gives the same number and holds in any precision. `lstm` and `none` (fc0 and a linear layer on every frame) are
ablations. Keys: ann.fc0, rnn, q; the unused `ann.fc.*` of the published file is ignored.

`MixedVsfa` (MDTVSFA) adds a sigmoid, a four-parameter map to 0..1, and a linear map to each data set's own scale.

Source: Li, Jiang, Jiang, Quality Assessment of In-the-Wild Videos, ACM MM 2019, doi:10.1145/3343031.3351028;
Unified Quality Assessment of In-the-Wild Videos with Mixed Datasets Training, IJCV 2021,
doi:10.1007/s11263-020-01408-w.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks import ignore_keys
from vqmeter.networks.resnet import ResNet

TAU = 12
BETA = 0.5
HIDDEN = 64  # of the layers a ResNet learns under
RECURRENT: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "none": None}


def mean_std(maps: Tensor) -> Tensor:
    """(N, C, H, W) to (N, 2 C): the means over H and W, then the unbiased standard deviations.

    One position has no deviation: H * W must be at least 2, a picture of more than 32 pixels on one side.
    """
    flat = maps.flatten(2)
    if flat.shape[2] < 2:
        raise ValueError("the deviation of a map of one position is not defined: the picture is 32x32 or smaller")
    return torch.cat([flat.mean(2), flat.std(2)], dim=1)


def described(network: ResNet, pictures: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 2 C) float32: `mean_std` of the maps by which a ResNet describes a picture, side by side."""
    return torch.cat([mean_std(maps.float()) for maps in network.maps(pictures)], 1)


class Vsfa(nn.Module):
    """From frame features to frame scores; `temporal` is `gru`, `lstm` or `none`."""

    def __init__(self, inputs: int = 4096, reduced: int = 128, hidden: int = 32, temporal: str = "gru") -> None:
        super().__init__()
        cell = RECURRENT[temporal]
        self.ann = nn.ModuleDict({"fc0": nn.Linear(inputs, reduced)})
        self.rnn = cell and cell(reduced, hidden, batch_first=True)
        self.q = nn.Linear(hidden if cell else reduced, 1)
        ignore_keys(self, "ann.fc.")

    def forward(self, features: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """(N, T, inputs) to frame scores (N, T), and the state that the next frames of the videos go on from."""
        x = self.ann["fc0"](features)
        if self.rnn is not None:
            x, state = self.rnn(x, state)
        scores: Tensor = self.q(x)[..., 0]
        return scores, state


class MixedVsfa(Vsfa):
    """MDTVSFA: VSFA with maps from the pooled score to 0..1 and on to the scales of its `datasets`."""

    def __init__(self, inputs: int = 4096, datasets: Iterable[str] = ("K", "C", "L", "N"), **sizes: Any) -> None:
        super().__init__(inputs, **sizes)
        self.nlm = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1))
        self.lm = nn.ModuleDict({name: nn.Linear(1, 1) for name in datasets})

    def align(self, pooled: Tensor, dataset: str | None = None) -> Tensor:
        """Pooled scores (N,) to (N,): on 0..1, or on the scale of `dataset`."""
        x: Tensor = self.nlm(torch.sigmoid(pooled)[:, None])
        return (x if dataset is None else self.lm[dataset](x))[:, 0]


def pool(scores: Tensor, tau: int = TAU, beta: float = BETA, lengths: Tensor | None = None) -> Tensor:
    """Frame scores (T,) to the video's score (), or those of N videos (N, T) to (N,), differentiable.

    `lengths` (N,) is how many frames of each row are frames; what lies behind them counts for nothing.
    """
    frames = scores.shape[-1]
    inside = valid(scores, lengths)
    if not frames or not inside[..., 0].all():
        raise ValueError("a video without frames has no score")
    # Before frame tau-1 the window holds the first frame anyway, so repeating it truncates the window.
    first = scores[..., :1].expand(*scores.shape[:-1], tau - 1)
    lowest = torch.cat([first, scores], -1).unfold(-1, tau, 1).amin(-1)
    ahead = F.pad(scores, (0, tau - 1)).unfold(-1, tau, 1)
    there = F.pad(inside, (0, tau - 1)).unfold(-1, tau, 1)
    floor = ahead.masked_fill(~there, float("inf")).amin(-1, keepdim=True).detach()
    floor = floor.masked_fill(~inside[..., None], 0)
    weights = torch.exp((floor - ahead).masked_fill(~there, float("-inf")))
    memory = (ahead * weights).sum(-1) / weights.sum(-1).masked_fill(~inside, 1)
    return mean_over(beta * memory + (1 - beta) * lowest, inside)


def valid(scores: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Which frame scores (..., T) are of frames, bool; all of them without `lengths` (...,)."""
    if lengths is None:
        return torch.ones_like(scores, dtype=torch.bool)
    return torch.arange(scores.shape[-1], device=scores.device) < lengths[..., None]


def mean_over(scores: Tensor, inside: Tensor) -> Tensor:
    """The means of frame scores (..., T) over the frames that are."""
    return scores.masked_fill(~inside, 0).sum(-1) / inside.sum(-1)


class FrameScores:
    """The scores of one video's frames as they arrive: the recurrent state is carried, one float a frame is kept."""

    def __init__(self, head: Vsfa) -> None:
        self.head = head
        self.values = array("f")
        self._state: Any = None

    @torch.inference_mode()
    def push(self, features: Tensor) -> list[float]:
        """The scores of the next frames, features (T, inputs) in any number."""
        scores, self._state = self.head(features[None], self._state)
        new: list[float] = scores[0].float().tolist()
        self.values.extend(new)
        return new

    def pooled(self, tau: int = TAU, beta: float = BETA) -> float:
        """The video's score."""
        return float(pool(torch.tensor(self.values.tolist()), tau, beta))

    def mean(self) -> float:
        """The plain mean of the frames' scores, of the ablations without temporal pooling."""
        return float(torch.tensor(self.values.tolist(), dtype=torch.float64).mean())


class OfPictures(nn.Module):
    """Numbers of single pictures, by which a ResNet learns before the head does: two linear layers on what it describes them
    by. Key `backbone` is the ResNet."""

    def __init__(self, backbone: ResNet, outputs: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(2 * backbone.described, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))
        self.to(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W), as the ResNet takes them, to (N, outputs)."""
        x = pictures.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.head(described(self.backbone, x))
        return out
