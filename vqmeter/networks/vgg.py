"""VGG-16, and the first blocks of VGG-13 with batch normalisation.

3x3 convolutions with ReLU in blocks, each block ended by a 2x2 max pool; VGG-16 then has 7x7 average pooling to a
fixed size and three linear layers with dropout. Variant: torchvision's key names (`features.N`, `classifier.{0,3,6}`).
VGG-13-bn is cut after block 4, `features[:28]`: conv5_1, conv5_2, the last pool and the classifier are left out;
`first_blocks` cuts elsewhere, and narrower.

Source: Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from vqmeter.networks import ignore_keys

#: Channels of each convolution; 0 is a 2x2 max pool.
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
VGG13 = (64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
VGG13_BLOCK4 = VGG13[:12]


def first_blocks(plan: Sequence[int], blocks: int, width: float = 1.0) -> tuple[int, ...]:
    """`plan` up to and with its pool number `blocks`, channels times `width`."""
    ends = [n for n, channels in enumerate(plan, 1) if not channels]
    return tuple(round(channels * width) for channels in plan[: ends[blocks - 1]])


def convolutions(plan: Iterable[int], batch_norm: bool = False) -> nn.Sequential:
    """3x3 convolutions with padding 1, each with (BN and) ReLU after it; 0 in `plan` is a 2x2 max pool."""
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in plan:
        if not outputs:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
        inputs = outputs
    return nn.Sequential(*layers)


class Vgg16(nn.Module):
    """VGG-16 with `outputs` numbers out: 1000 for ImageNet, 1 for RankIQA."""

    def __init__(self, outputs: int = 1000) -> None:
        super().__init__()
        self.features = convolutions(VGG16)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), 224x224 unless pooling may change the features' size, to (N, outputs)."""
        out: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return out


class Vgg13Block4(nn.Module):
    """VGG-13-bn up to and with its fourth pool."""

    channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(VGG13_BLOCK4, batch_norm=True)
        ignore_keys(self, *(f"features.{n}." for n in range(28, 35)), "classifier.")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 512, H // 16, W // 16)."""
        out: Tensor = self.features(x)
        return out
