"""DIPQA: quality of HEVC-coded patches by VGG-13 features of reference and distorted, fused.

VGG-13-bn up to block 4 on both patches, fused as (r, d, r-d), linear 512, ReLU, dropout 0.5, linear 1.
`size` 64 and 128 flatten the map (17.3 M and 55.0 M parameters) and take patches of that size alone; `size` None pools
it to 512 numbers (5.5 M, ours) and takes any size from 16x16 up. Keys: `features.N` as in torchvision, `fc1`, `fc2`.

Source: the DIPQA thesis; Simonyan and Zisserman, arXiv:1409.1556, for the convolutions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks.fusion import fuse
from vqmeter.networks.vgg import VGG13_BLOCK4, convolutions


class Dipqa(nn.Module):
    """One quality a pair of patches; higher is better on the HMII scale."""

    def __init__(self, size: int | None = 64, fusion: str = "r,d,r-d") -> None:
        super().__init__()
        self.size, self.fusion = size, fusion
        self.features = convolutions(VGG13_BLOCK4, batch_norm=True)
        self.fc1 = nn.Linear(3 * 512 * (1 if size is None else (size // 16) ** 2), 512)
        self.fc2 = nn.Linear(512, 1)
        self.dropout = nn.Dropout()

    def vector(self, x: Tensor) -> Tensor:
        """(N, 3, size, size) to the (N, L) features of one side of the pair."""
        maps: Tensor = self.features(x)
        return maps.mean((2, 3)) if self.size is None else maps.flatten(1)

    def forward(self, dist: Tensor, ref: Tensor) -> Tensor:
        """(N, 3, size, size) twice to (N,)."""
        fused = fuse(self.vector(dist), self.vector(ref), self.fusion)
        out: Tensor = self.fc2(self.dropout(F.relu(self.fc1(fused))))
        return out[:, 0]
