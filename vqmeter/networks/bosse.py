"""The patch network of Bosse et al.: DIQaM and WaDIQaM, with and without a reference.

3x3 convolutions 32 32, 64 64, 128 128, 256 256, 512 512, ReLU after each, a 2x2 max pool after each pair, no batch
normalisation: a 32x32 patch becomes 512 numbers. With a reference both patches' features are fused. A head (linear
512, ReLU, dropout, linear 1) gives the patch's quality, a second one its weight ReLU(.) + eps in the weighted form.
Keys as in the PyTorch ports: `features.N`, `fc_q.{0,3}`, `fc_w.{0,3}`. Larger patches (64, 128) are flattened.
The order of fusion differs between ports (`vqmeter.networks.fusion`); the authors' own is `d-r,d,r`, eps 1e-6.

Source: Bosse et al., Deep Neural Networks for No-Reference and Full-Reference Image Quality Assessment,
IEEE TIP 27(1), 2018, doi:10.1109/TIP.2017.2760518.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks.fusion import fuse
from vqmeter.networks.vgg import convolutions

PLAN = (32, 32, 0, 64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0)


def _head(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 512), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(512, 1))


class Bosse(nn.Module):
    """DIQaM (`weighted=False`) or WaDIQaM on patches of `size`; `reference` makes it full-reference."""

    def __init__(
        self, reference: bool, weighted: bool = False, size: int = 32, fusion: str = "d-r,d,r", eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.reference, self.size, self.fusion, self.eps = reference, size, fusion, eps
        self.features = convolutions(PLAN)
        length = 512 * (size // 32) ** 2 * (3 if reference else 1)
        self.fc_q = _head(length)
        self.fc_w = _head(length) if weighted else None

    def forward(self, dist: Tensor, ref: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Patches (N, 3, size, size) to their qualities (N,) and weights (N,), ones where unweighted."""
        vector = self.features(dist).flatten(1)
        if self.reference:
            if ref is None:
                raise ValueError("this network compares with a reference patch")
            vector = fuse(vector, self.features(ref).flatten(1), self.fusion)
        quality: Tensor = self.fc_q(vector)[:, 0]
        if self.fc_w is None:
            return quality, torch.ones_like(quality)
        return quality, F.relu(self.fc_w(vector)[:, 0]) + self.eps


def pool_patches(quality: Tensor, weight: Tensor) -> Tensor:
    """The picture's quality: the weighted mean over the last dimension, (..., P) and (..., P) to (...)."""
    return (quality * weight).sum(-1) / weight.sum(-1)
