"""AlexNet in two forms: torchvision's, and caffe's with grouped convolutions and local response normalisation.

`AlexNet`: convolutions 64 (11x11/4), 192 (5x5), 384, 256, 256 (3x3), 3x3/2 max pools, 6x6 average pooling, three
linear layers; torchvision's key names, 224x224 in. It is the "one weird trick" form without groups and LRN.
`CaffeAlexNet`: 96 (11x11/4), 256 (5x5, 2 groups), 384, 384 (2 groups), 256 (2 groups), LRN over 5 channels (alpha
1e-4, beta 0.75, k 1) after the first two and before their pools, as in caffe's bvlc_alexnet; keys conv1..conv5,
fc6..fc8, 227x227 in.

Source: Krizhevsky et al., NIPS 2012, doi:10.1145/3065386; Krizhevsky 2014, arXiv:1404.5997.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class AlexNet(nn.Module):
    """torchvision's AlexNet with `outputs` numbers out."""

    def __init__(self, outputs: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 224, 224) to (N, outputs)."""
        out: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return out


class CaffeAlexNet(nn.Module):
    """caffe's AlexNet with `outputs` numbers out."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, 4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, outputs)
        self.norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 227, 227) to (N, outputs)."""
        x = self.pool(self.norm(F.relu(self.conv1(x))))
        x = self.pool(self.norm(F.relu(self.conv2(x))))
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = self.pool(F.relu(self.conv5(x))).flatten(1)
        x = self.dropout(F.relu(self.fc7(self.dropout(F.relu(self.fc6(x))))))
        out: Tensor = self.fc8(x)
        return out
