"""DIPQA: quality of HEVC-coded patches by VGG-13 features of reference and distorted, fused.

VGG-13-bn up to block 4 on both patches, fused as (r, d, r-d), linear 512, ReLU, dropout 0.5, linear 1.
`size` 64 and 128 flatten the map (17.3 M and 55.0 M parameters) and take patches of that size alone; `size` None pools
it to 512 numbers (5.5 M, ours) and takes any size from 16x16 up. Keys: `features.N` as in torchvision, `fc1`, `fc2`.
Variants, ours or the thesis's: cut after another block, ResNet-18 in VGG's place, other fusions, fewer channels.

Source: the DIPQA thesis; Simonyan and Zisserman, arXiv:1409.1556, for the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks.fusion import fuse
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.vgg import VGG13, convolutions, first_blocks

BACKBONES = ("vgg13", "resnet18")


class Dipqa(nn.Module):
    """One quality a pair of patches; higher is better on the HMII scale.

    The map of a patch is `2**cut` times smaller than the patch: after VGG's block `cut`, or where ResNet-18 is as small.
    `width` multiplies channels, of the head too.
    """

    def __init__(
        self, size: int | None = 64, fusion: str = "r,d,r-d", *, backbone: str = "vgg13", cut: int = 4, width: float = 1.0
    ) -> None:
        super().__init__()
        self.size, self.fusion = size, fusion
        self.features: nn.Module
        if backbone == "resnet18":
            resnet = ResNet(18, width, stages=cut - 1)
            self.features, channels = resnet, resnet.channels
        else:
            plan = first_blocks(VGG13, cut, width)
            self.features, channels = convolutions(plan, batch_norm=True), plan[-2]
        places = 1 if size is None else (size >> cut) ** 2
        hidden = round(512 * width)
        self.fc1 = nn.Linear(len(fusion.split(",")) * channels * places, hidden)
        self.fc2 = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout()

    def forward(self, dist: Tensor, ref: Tensor, of: Tensor | None = None) -> Tensor:
        """(N, 3, size, size) twice to (N,); with `of` (N,) int64, references are fewer and `of` says whose is which."""
        maps: Tensor = self.features(torch.cat([dist, ref]))
        d, r = maps.split([len(dist), len(ref)])
        fused = fuse(d, r if of is None else r[of], self.fusion)
        vector = fused.mean((2, 3)) if self.size is None else fused.flatten(1)
        out: Tensor = self.fc2(self.dropout(F.relu(self.fc1(vector))))
        return out[:, 0]


def shape_of(state: Mapping[str, Tensor], fusion: str) -> dict[str, Any]:
    """The arguments of `Dipqa` that tensors were made with; `fusion` is what the weight file says.

    Raises
        KeyError: they are of another network.
    """
    hidden, inputs = state["fc1.weight"].shape
    if "features.conv1.weight" in state:
        stages = {key.split(".")[1] for key in state if key.startswith("features.layer")}
        backbone, cut, channels = "resnet18", len(stages) + 1, len(state["features.conv1.weight"]) << (len(stages) - 1)
    else:
        convs = {int(key.split(".")[1]): len(value) for key, value in state.items() if value.dim() == 4}
        backbone, cut, channels = "vgg13", len(convs) // 2, convs[max(convs)]
    places = inputs // (len(fusion.split(",")) * channels)
    size = None if places == 1 else round(places**0.5) << cut
    return {"size": size, "fusion": fusion, "backbone": backbone, "cut": cut, "width": hidden / 512}
