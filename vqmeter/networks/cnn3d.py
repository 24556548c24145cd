"""3D-CNN + LSTM: a 3-D network scores clips of 16 frames of 224x224, an LSTM scores the video from them.

Clip network: conv 3^3 32, pool, 3^3 64, pool, 3^3 128 x2, pool, 2^3 256 x2, pool (pools 1x2x2, ReLU after every
convolution), linear 1024 and 512 with ReLU and dropout, linear 1. Video network: for every group of 16 frames the
scores of its blocks, in the stored order of the grid, go through an LSTM of 32; its last state through linear 16,
ReLU, linear 1.

Variants, the paper leaving padding open: `paper` has no padding (Keras' default) and flattens 185,856 numbers
(192 M parameters); `lite` pads to the same size (kernel 2: on the far side alone, as Keras) and takes the mean over
time and space (2.3 M; ours); `fcn`, the paper's future work end to end, is `lite` with its linear layers at every place
before the mean, so that it takes pictures of any size from 16x16 and learns under the LSTM, which then sees 512 numbers a
group instead of 32 scores; `stats` (ours) is `lite` with the mean and the deviation of what every pool gives, from which
less of a picture's content can be told, for clips of any size from 16x16; 128 and 64 are enough in its linear layers.
`widths` scales the convolutions, (8, 16, 32, 64) in the weights that come with vqmeter. In training a batch norm `bn1` may
follow `conv1`, and so on; `tensors.fold_norms` makes the plain network of that again. Torch's LSTM has two biases where
Keras has one: 8,993 parameters against 8,865.

Source: You and Korhonen, Deep Neural Networks for No-Reference Video Quality Assessment, ICIP 2019,
doi:10.1109/ICIP.2019.8803395.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqmeter.networks import paired

CLIP = (16, 224, 224)
PRESETS = ("paper", "lite", "fcn", "stats")
POOLED = (1, 2, 4, 6)  # convolutions before a pool
EPS = 1e-6  # what a variance has beside it under its root, which has no slope at 0
BAND = 128  # rows of a picture that `fcn` takes at once, a multiple of 16


class Cnn3d(nn.Module):
    """The quality of a clip; `preset` is `lite`, `paper`, `fcn` or `stats`."""

    def __init__(
        self, preset: str = "lite", widths: Sequence[int] = (32, 64, 128, 256), hidden: Sequence[int] = (1024, 512)
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset '{preset}' is none of {', '.join(PRESETS)}")
        self.same, self.anywhere, self.stats = preset != "paper", preset == "fcn", preset == "stats"
        channels = [3, widths[0], widths[1], widths[2], widths[2], widths[3], widths[3]]
        for n in range(6):
            kernel = 3 if n < 4 else 2
            padding = 1 if self.same and kernel == 3 else 0
            self.add_module(f"conv{n + 1}", nn.Conv3d(channels[n], channels[n + 1], kernel, padding=padding))
        # A clip without padding is 16x224x224 -> 6x11x11 at the last pool.
        length = 2 * sum(widths) if self.stats else widths[3] * (1 if self.same else 6 * 11 * 11)
        self.fc1 = nn.Linear(length, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.out = nn.Linear(hidden[1], 1)
        self.dropout = nn.Dropout()

    def pools(self, x: Tensor) -> Iterator[Tensor]:
        """What each of the four pools gives of (N, 3, 16, H, W), one after another."""
        modules = dict(self.named_children())
        for n in range(1, 7):
            if self.same and n > 4:
                x = F.pad(x, (0, 1, 0, 1, 0, 1))
            x = modules[f"conv{n}"](x)
            norm = modules.get(f"bn{n}")
            x = x if norm is None else norm(x)
            if n in POOLED:  # before the ReLU, which changes no number and leaves it a quarter of the work
                x = F.max_pool3d(x, (1, 2, 2))
            x = F.relu(x)
            if n in POOLED:
                yield x

    def maps(self, x: Tensor) -> Tensor:
        """(N, 3, 16, H, W) to the output of the last pool."""
        *_, last = self.pools(x)
        return last

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, 16, 224, 224), any H and W for `fcn` and `stats`, to the (N, 512) activations before the last layer."""
        if self.anywhere:
            return self._features_anywhere(x)
        if self.stats:
            with _exactly(found := self._statistics(x)):
                return self._dense(found.to(self.fc1.weight.dtype))
        x = self.maps(x)
        return self._dense(x.mean((2, 3, 4)) if self.same else x.flatten(1))

    def _dense(self, x: Tensor) -> Tensor:
        return F.relu(self.fc2(self.dropout(F.relu(self.fc1(x)))))

    def _statistics(self, x: Tensor) -> Tensor:
        """(N, twice the sum of `widths`) float32: mean and deviation over time and space of what each pool gives.

        In two passes, which for maps in channels_last is many times as fast as torch.std_mean.
        """
        found: list[Tensor] = []
        for maps in self.pools(x):
            maps = maps.float()
            mean = maps.mean((2, 3, 4), keepdim=True)
            found += [mean[..., 0, 0, 0], ((maps - mean).square().mean((2, 3, 4)) + EPS).sqrt()]
        return torch.cat(found, 1)

    def _features_anywhere(self, x: Tensor) -> Tensor:
        """The mean over all places, in bands of rows: no more is held than one needs, and the bands do not show.

        A row of the last pool sees the 16 rows it stands for, 11 above them and 27 below.
        """
        total, count, height = x.new_zeros(()), 0, x.shape[-2]
        for top in range(0, height // 16 * 16, BAND):
            rows = min(BAND, height // 16 * 16 - top) // 16
            above = min(16, top)
            band = paired(x[..., top - above : top + 16 * rows + 32, :], self.conv1.out_channels)
            maps = self.maps(band)[: len(x), ..., above // 16 : above // 16 + rows, :]
            out = self._dense(maps.movedim(1, -1))
            total, count = total + out.sum((1, 2, 3), dtype=torch.float32), count + out[0, ..., 0].numel()
        return (total / count).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 16, 224, 224) to (N,), the last layer in the precision of its weights, autocast or not."""
        with _exactly(features := self.features(x)):
            out: Tensor = self.out(self.dropout(features.to(self.out.weight.dtype)))
        return out[:, 0]


def _exactly(x: Tensor) -> AbstractContextManager[object]:
    """Computing where `x` lies as it is written, autocast or not."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class GroupLstm(nn.Module):
    """The quality of a video from the scores of its clips."""

    def __init__(self, blocks: int = 32, hidden: int = 32, fc: int = 16) -> None:
        super().__init__()
        self.lstm = nn.LSTM(blocks, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, fc)
        self.out = nn.Linear(fc, 1)

    def forward(self, scores: Tensor) -> Tensor:
        """(N, groups, blocks) to (N,)."""
        states, _ = self.lstm(scores)
        out: Tensor = self.out(F.relu(self.fc(states[:, -1])))
        return out[:, 0]
