"""ResNet-18, -34, -50 and -101 up to the last residual stage, as feature extractors.

conv 7x7/2 64, BN, ReLU, max pool 3x3/2, then four stages of residual blocks (basic for 18 and 34, bottleneck with
expansion 4 for 50 and 101). Variant: torchvision's V1 tensors and key names, the stride of a bottleneck in its 3x3
convolution (the paper has it in the first 1x1). The pooling and the classifier are left out: `fc.*` keys are ignored.
`width` scales the channels of all layers alike, `stages` keeps the first ones only, which see less of the picture around a
place: both ours; `ResNet.like` reads them off the tensors. With `every` (ours) a picture is described by the maps of the
stem and of all stages, not by the last one alone: `maps`.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, doi:10.1109/CVPR.2016.90.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vqmeter.networks import ignore_keys

STEM = 64  # channels of the first convolution at full width
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Residual(nn.Module):
    """One residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 (bottleneck); keys conv1 bn1 ... downsample.{0,1}."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        plan = [(width, 3, stride), (width, 3, 1)]
        if bottleneck:
            plan = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
        self.depth = len(plan)
        channels = inputs
        for n, (outputs, kernel, step) in enumerate(plan, 1):
            self.add_module(f"conv{n}", nn.Conv2d(channels, outputs, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{n}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != channels:
            shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for n in range(1, self.depth + 1):
            out = self.get_submodule(f"bn{n}")(self.get_submodule(f"conv{n}")(out))
            if n < self.depth:
                out = self.relu(out)
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result


class ResNet(nn.Module):
    """The convolutional part of a ResNet; `channels` is the depth of its output map."""

    def __init__(self, depth: int = 50, width: float = 1.0, stages: int = 4, every: bool = False) -> None:
        super().__init__()
        bottleneck = depth >= 50
        stem = max(1, round(STEM * width))
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = stem
        self.width, self.stages, self.every = width, stages, every
        channels = [stem]
        for stage, blocks in enumerate(BLOCKS[depth][:stages]):
            planes = stem << stage
            layer = nn.Sequential()
            for n in range(blocks):
                layer.append(Residual(inputs, planes, 2 if stage and not n else 1, bottleneck))
                inputs = planes * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", layer)
            channels.append(inputs)
        self.channels = inputs
        self.described = sum(channels) if every else inputs  # channels of `maps` together
        ignore_keys(self, "fc.")

    @classmethod
    def like(cls, depth: int, state: Mapping[str, Tensor], every: bool = False) -> ResNet:
        """As wide and with as many stages as the tensors of a `ResNet(depth)` are."""
        stages = max((int(key[5]) for key in state if key.startswith("layer")), default=4)
        return cls(depth, width_of(state), stages, every)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, channels, ceil(H / 32), ceil(W / 32)), the output of `layer4`; one stage less, twice the size."""
        return self.maps(x)[-1]

    def maps(self, x: Tensor) -> list[Tensor]:
        """The output of the last stage, with `every` behind those of the stem (before its pool) and of all stages."""
        x = self.relu(self.bn1(self.conv1(x)))
        kept = [x] if self.every else []
        x = self.maxpool(x)
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            kept += [x] if self.every else []
        return kept or [x]


def width_of(state: Mapping[str, Tensor]) -> float:
    """The width of the network that tensors belong to."""
    return state["conv1.weight"].shape[0] / STEM
