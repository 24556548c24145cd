"""RankIQA's Shallow network: four convolutions of 32 channels and a linear layer, one number out.

3x3 + ReLU, max pool 4x4, 3x3 + ReLU, max pool 4x4, 3x3 + ReLU, 12x12, linear; no padding, no batch normalisation.
The sizes of the paper's table (227 -> 225 -> 57 -> 55 -> 14 -> 12 -> 1) hold with stride-4 pools in caffe's ceil mode.
conv4 has no activation in the table, so it and the linear layer are one linear map; `relu4` puts a ReLU between.
A larger picture gives the mean over all 12x12 windows of the last map, which at 227x227 is the one window there is.

Source: Liu et al., RankIQA, ICCV 2017, supplement table 5, doi:10.1109/ICCV.2017.118.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Shallow(nn.Module):
    """166,913 parameters at width 32."""

    size = 227

    def __init__(self, width: int = 32, relu4: bool = False, outputs: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3)
        self.conv2 = nn.Conv2d(width, width, 3)
        self.conv3 = nn.Conv2d(width, width, 3)
        self.conv4 = nn.Conv2d(width, width, 12)
        self.fc = nn.Linear(width, outputs)
        self.relu4 = relu4

    def maps(self, x: Tensor) -> Tensor:
        """(N, 3, 227, 227) or larger to the (N, width, 12, 12) or larger output of conv3."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 4, ceil_mode=True)
        x = F.max_pool2d(F.relu(self.conv2(x)), 4, ceil_mode=True)
        return F.relu(self.conv3(x))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), at least 227x227, to (N, outputs)."""
        x = self.conv4(self.maps(x))
        out: Tensor = self.fc((F.relu(x) if self.relu4 else x).mean((2, 3)))
        return out
