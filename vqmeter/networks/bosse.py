"""The patch network of Bosse et al.: DIQaM and WaDIQaM, with and without a reference.

3x3 convolutions 32 32, 64 64, 128 128, 256 256, 512 512, ReLU after each, a 2x2 max pool after each pair, no batch
normalisation: a 32x32 patch becomes 512 numbers. With a reference both patches' features are fused. A head (linear
512, ReLU, dropout, linear 1) gives the patch's quality, a second one its weight ReLU(.) + eps in the weighted form.
Keys as in the PyTorch ports: `features.N`, `fc_q.{0,3}`, `fc_w.{0,3}`. Larger patches (64, 128) are flattened.
The order of fusion differs between ports (`vqmeter.networks.fusion`); the authors' own is `d-r,d,r`, eps 1e-6.
`width` multiplies channels, of the heads too (ours).

Source: Bosse et al., Deep Neural Networks for No-Reference and Full-Reference Image Quality Assessment,
IEEE TIP 27(1), 2018, doi:10.1109/TIP.2017.2760518.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks.fusion import fuse
from vqmeter.networks.vgg import convolutions, first_blocks

PLAN = (32, 32, 0, 64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0)


def _head(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(hidden, 1))


class Bosse(nn.Module):
    """DIQaM (`weighted=False`) or WaDIQaM on patches of `size`; `reference` makes it full-reference."""

    def __init__(
        self, reference: bool, weighted: bool = False, size: int = 32, fusion: str = "d-r,d,r", eps: float = 1e-6,
        width: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.reference, self.size, self.fusion, self.eps = reference, size, fusion, eps
        self.features = convolutions(first_blocks(PLAN, 5, width))
        hidden = round(512 * width)
        length = hidden * (size // 32) ** 2 * (len(fusion.split(",")) if reference else 1)
        self.fc_q = _head(length, hidden)
        self.fc_w = _head(length, hidden) if weighted else None

    def forward(self, dist: Tensor, ref: Tensor | None = None, of: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Patches (N, 3, size, size) to their qualities (N,) and weights (N,), ones where unweighted.

        With `of` (N,) int64, references are fewer and `of` says whose is which.
        """
        vector = self.features(dist).flatten(1)
        if self.reference:
            if ref is None:
                raise ValueError("this network compares with a reference patch")
            beside = self.features(ref).flatten(1)
            vector = fuse(vector, beside if of is None else beside[of], self.fusion)
        quality: Tensor = self.fc_q(vector)[:, 0]
        if self.fc_w is None:
            return quality, torch.ones_like(quality)
        return quality, F.relu(self.fc_w(vector)[:, 0]) + self.eps


def pool_patches(quality: Tensor, weight: Tensor) -> Tensor:
    """The picture's quality: the weighted mean over the last dimension, (..., P) and (..., P) to (...)."""
    return (quality * weight).sum(-1) / weight.sum(-1)


def shape_of(state: Mapping[str, Tensor], fusion: str) -> dict[str, Any]:
    """The arguments of a full-reference `Bosse` that tensors were made with; `fusion` is what the weight file says.

    Raises
        KeyError: they are of another network.
    """
    hidden, inputs = state["fc_q.0.weight"].shape
    size = 32 * max(1, round((inputs / (len(fusion.split(",")) * hidden)) ** 0.5))
    return {"weighted": "fc_w.0.weight" in state, "size": size, "fusion": fusion, "width": hidden / 512}
