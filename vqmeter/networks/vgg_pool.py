"""VGG-16's convolutions under pooled statistics, for crops of any size from 96x96 up; ours.

The mean and the deviation of every block's last map, before its pool (the last pool is left out), then a linear layer to
`hidden`, ReLU, and one to the number. Channels are `width` times VGG-16's. At width 0.25: 1.0 M parameters.

Source of the convolutions: Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqmeter.networks.vgg import VGG16, convolutions


class VggPool(nn.Module):
    """`batch_norm` puts one behind every convolution."""

    def __init__(self, width: float = 1.0, hidden: int = 64, batch_norm: bool = False, outputs: int = 1) -> None:
        super().__init__()
        channels = [max(1, round(width * c)) if c else 0 for c in VGG16]
        self.features = convolutions(channels[:-1], batch_norm)
        ends = [channels[n - 1] for n, c in enumerate(channels) if not c]
        self.head = nn.Sequential(nn.Linear(2 * sum(ends), hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, outputs)."""
        pooled: list[Tensor] = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                pooled += _statistics(x)
            x = layer(x)
        out: Tensor = self.head(torch.cat([*pooled, *_statistics(x)], 1))
        return out


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each map of (N, C, H, W), (N, C) both; sums in 32 bits."""
    deviation, mean = torch.std_mean(x.float(), (2, 3), correction=0)
    return mean.to(x.dtype), deviation.to(x.dtype)
