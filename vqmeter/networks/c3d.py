"""C3D: 3-D convolutions over 16 frames of 112x112, used as a feature extractor for video quality.

Eight 3x3x3 convolutions (64, 128, 256 x2, 512 x2, 512 x2) with ReLU, max pools 1x2x2 then 2x2x2, fc6 and fc7 of 4096
with ReLU and dropout. The feature is fc7 after its ReLU, without dropout. Keys as in c3d.pickle: conv1, conv2, conv3a
... conv5b, fc6, fc7 (fc8 where `classes` are asked for).

Variants: `pool5` is `ceil` (windows start at 0, 2, 4, 6: caffe's and TensorFlow SAME, what the weights were trained
with) or `symmetric` (padded by one on both sides, as some ports have it: other windows, another fc6 input).
`width` scales every layer, `fc_rank` splits fc6 and fc7 into two factors without a bias between: both are ours, for
small files, and no published weights fit them; nor is `blocks` published, which has no fully connected layers: its feature
is the mean and the deviation of what each of the five blocks gives. In training a batch norm `bn3a` may follow `conv3a`, and so
on; `tensors.fold_norms` makes the plain network of that again.

Source: Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015,
doi:10.1109/ICCV.2015.510.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks import ignore_keys

CONVOLUTIONS = {"1": 64, "2": 128, "3a": 256, "3b": 256, "4a": 512, "4b": 512, "5a": 512, "5b": 512}
BLOCKS = 5


def _linear(inputs: int, outputs: int, rank: int) -> nn.Module:
    if not rank:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))


def _pool_pictures(x: Tensor) -> Tensor:
    """A pool of 1x2x2, by torch's pool of pictures: half the time of that of volumes where x is in channels_last."""
    pictures = x.transpose(1, 2)
    return F.max_pool2d(pictures.flatten(0, 1), 2).unflatten(0, pictures.shape[:2]).transpose(1, 2)


class C3d(nn.Module):
    """C3D up to fc7, with `classes` up to fc8, or with `blocks` without any of them; `length` is the number of features."""

    def __init__(
        self, classes: int = 0, pool5: str = "ceil", width: float = 1.0, fc_rank: int = 0, blocks: bool = False
    ) -> None:
        super().__init__()
        inputs = 3
        for name, channels in CONVOLUTIONS.items():
            outputs = round(channels * width)
            self.add_module(f"conv{name}", nn.Conv3d(inputs, outputs, 3, padding=1))
            inputs = outputs
        ends = {name[0]: round(channels * width) for name, channels in CONVOLUTIONS.items()}
        self.length = 2 * sum(ends.values()) if blocks else round(4096 * width)
        self.blocks = blocks
        if not blocks:
            self.fc6 = _linear(inputs * 16, self.length, fc_rank)
            self.fc7 = _linear(self.length, self.length, fc_rank)
        self.fc8 = nn.Linear(self.length, classes) if classes else None
        self.dropout = nn.Dropout()
        self.pool5 = {
            "ceil": nn.MaxPool3d(2, 2, ceil_mode=True),
            "symmetric": nn.MaxPool3d(2, 2, padding=(0, 1, 1)),
        }[pool5]
        if not classes:
            ignore_keys(self, "fc8.")

    def block(self, number: int, x: Tensor) -> Tensor:
        """The convolutions and the pool of one of the five blocks; the last ReLU behind the pool, which is the same.

        On the CPU the last block computes in the precision of its weights, autocast or not: where clips are two frames deep,
        oneDNN's 16-bit gradients hold memory nobody wrote.
        """
        if number == BLOCKS and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.block(number, x.to(self.get_submodule("conv5a").weight.dtype))
        modules = dict(self.named_children())
        names = [name for name in CONVOLUTIONS if name.startswith(str(number))]
        for name in names:
            x = modules[f"conv{name}"](x)
            norm = modules.get(f"bn{name}")
            x = x if norm is None else norm(x)
            x = x if name == names[-1] else F.relu(x)
        return F.relu(_pool_pictures(x) if number == 1 else self.pool5(x) if number == BLOCKS else F.max_pool3d(x, 2))

    def maps(self, x: Tensor, begin: int = 0, end: int = BLOCKS) -> Tensor:
        """(N, 3, 16, 112, 112), or what block `begin` gave, to the output of block `end`: (N, 512, 1, 4, 4) of the last."""
        for number in range(begin + 1, end + 1):
            x = self.block(number, x)
        return x

    def features(self, x: Tensor, layer: str = "fc7", begin: int = 0) -> Tensor:
        """(N, 3, 16, 112, 112), or what block `begin` gave, to (N, length): `fc7`, `fc6` (after the ReLU) or `blocks`."""
        if self.blocks:
            return self._statistics(x)
        x = F.relu(self.fc6(self.maps(x, begin).flatten(1)))
        return x if layer == "fc6" else F.relu(self.fc7(self.dropout(x)))

    def _statistics(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for number in range(1, BLOCKS + 1):
            x = self.block(number, x)
            deviation, mean = torch.std_mean(x.float(), (2, 3, 4), correction=0)
            found += [mean, deviation]
        return torch.cat(found, 1).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 16, 112, 112) to (N, length), or (N, classes) where there is fc8."""
        out = self.features(x)
        return out if self.fc8 is None else self.fc8(self.dropout(out))


class Regressor(nn.Module):
    """From C3D's features to a score: linear 512, ReLU, dropout, linear 1.

    Features are standardised by the training set's `mean` and `std` (ours; 0 and 1 leave them as published). With two
    `outputs` the second is how far people's ratings spread, their standard deviation (ours).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: int = 4096, hidden: int = 512, dropout: float = 0.5, outputs: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, hidden)
        self.out = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def outputs(self, features: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        x = F.relu(self.hidden((features - self.mean) / self.std))
        out: Tensor = self.out(self.dropout(x))
        return out

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs) to (N,), the score alone."""
        return self.outputs(features)[:, 0]
