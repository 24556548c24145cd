"""What the metrics of the FSIM family share: reduced pictures, gradients, similarities and the meter that runs them.

Every frame is brought down by D(F) (`kernels.box`) as soon as it is seen. On the CPU a frame is scored where it is
prepared, one frame a thread: torch's own threads slow such small pictures down. On a GPU frames are scored in batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter import tensors
from vqmeter.errors import MismatchError
from vqmeter.frames import Frame
from vqmeter.kernels import box
from vqmeter.kernels.rows import rows
from vqmeter.metric import Clip, Context, FrameMeter, QualityMap, Sample, Scale, Score, Stream

Arrays = tuple[NDArray[Any], ...]
Features = tuple[Tensor, ...]
LUMA = np.array([0.299, 0.587, 0.114])
GPU_BATCH = 32  # frames


class SimilarityMeter(FrameMeter):
    """Compares features of a reference and a distorted picture, made of each by itself.

    Subclasses give `key` (what the features are called, for sharing among metrics and distorted files), `reduce`,
    `features` and `compare`.
    """

    key: str

    def __init__(self, scores: Mapping[str, Scale], stream: Stream, context: Context, smallest: int) -> None:
        width, height = stream.dist.width, stream.dist.height
        if min(width, height) < smallest:
            raise MismatchError(
                f"{stream.dist.path}: {next(iter(scores))} needs frames of {smallest}x{smallest} or more, not {width}x{height}"
            )
        self.scores = scores
        self.factor = box.factor(width, height)
        self.device = torch.device(context.device)
        self.batch = 1 if self.device.type == "cpu" else GPU_BATCH

    def reduce(self, frame: Frame) -> Arrays:
        """What `features` needs of a frame: small arrays, made in the pool."""
        raise NotImplementedError

    def features(self, *pictures: Tensor) -> Features:
        """Features (N, ...) of a batch of reduced pictures (N, ...)."""
        raise NotImplementedError

    def compare(self, ref: Features, dist: Features) -> Tensor:
        """(N,) scores."""
        raise NotImplementedError

    def prepare(self, sample: Sample) -> Any:
        ref, dist = sample.pair
        if self.device.type != "cpu":
            return self.reduced(ref), self.reduced(dist)
        tensors.single_thread()
        with torch.inference_mode():
            return [float(self.compare(self._described(ref), self._described(dist)))]

    def reduced(self, frame: Frame) -> Arrays:
        return frame.derive((self.key, "reduced"), self.reduce)

    def _described(self, frame: Frame) -> Features:
        def make(frame: Frame) -> Features:
            return self.features(*(torch.from_numpy(array)[None] for array in self.reduced(frame)))

        return frame.derive((self.key, "features"), make)

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        if self.device.type == "cpu":
            yield from super().score(batch)
            return
        name = next(iter(self.scores))
        for start in range(0, len(batch), GPU_BATCH):
            clips = batch[start : start + GPU_BATCH]
            for clip, value in zip(clips, self.scored([clip.items[0] for clip in clips]), strict=True):
                yield Score(name, value, range(clip.frames[0], clip.frames[0] + 1))

    def scored(self, pairs: Sequence[tuple[Arrays, Arrays]]) -> list[float]:
        """Scores of reduced pairs, in one batch on the device."""
        stacked = (np.stack(arrays) for arrays in zip(*(ref + dist for ref, dist in pairs), strict=True))
        pictures = [torch.from_numpy(array).to(self.device) for array in stacked]
        half = len(pictures) // 2
        with torch.inference_mode():
            values: list[float] = self.compare(self.features(*pictures[:half]), self.features(*pictures[half:])).tolist()
        return values


def luma_down(frame: Frame, factor: int) -> NDArray[np.float64]:
    """D(F) of luma in 0..255: as stored for YUV and grey, .299 R + .587 G + .114 B unrounded for RGB."""

    def make(frame: Frame) -> NDArray[np.float64]:
        fmt, width = frame.info.pix_fmt, frame.info.width
        weights = LUMA if fmt.family == "rgb" else (1.0,)
        unit = np.float64(255 / fmt.peak / factor**2)
        down: NDArray[np.float64] = sum(
            box.box_sum(rows(plane), width, factor) * (weight * unit)
            for plane, weight in zip(frame.planes, weights, strict=False)
        )
        return down

    return frame.derive(("luma down", factor), make)


def mix(rgb: Tensor, weights: NDArray[np.float64]) -> tuple[Tensor, ...]:
    """Weighted sums of (N, 3, H, W) R, G, B in [0, 1], brought to 0..255: (N, H, W) for each row of `weights`."""
    r, g, b = rgb.unbind(1)
    return tuple((r * (255 * x)).add_(g, alpha=255 * y).add_(b, alpha=255 * z) for x, y, z in weights.tolist())


def similarity(a: Tensor, b: Tensor, c: float) -> Tensor:
    """(2ab + c) / (a^2 + b^2 + c), 1 where they are equal."""
    d = a - b
    two = 2 * a * b + c
    return two / (d * d + two)


def chroma_similarity(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], c: float, power: float) -> Tensor:
    """Re[(s(a1, b1) s(a2, b2))^power]: a negative product has the real part |x|^power cos(power pi)."""
    product = similarity(a[0], b[0], c) * similarity(a[1], b[1], c)
    return product.abs().pow_(power) * torch.where(product < 0, math.cos(power * math.pi), 1.0)


def scharr(x: Tensor) -> Tensor:
    """Gradient magnitude of (N, H, W) by Scharr's [3 0 -3; 10 0 -10; 3 0 -3] / 16 with a zero border."""
    p = torch.nn.functional.pad(x, (1, 1, 1, 1))
    across = (p[..., 2:] - p[..., :-2]).div_(16)
    down = (p[..., 2:, :] - p[..., :-2, :]).div_(16)
    gx = across[..., 1:-1, :].mul(10).add_(across[..., :-2, :] + across[..., 2:, :], alpha=3)
    gy = down[..., 1:-1].mul(10).add_(down[..., :-2] + down[..., 2:], alpha=3)
    return gx.square_().add_(gy.square_()).sqrt_()


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """(N,) means of (N, H, W) by weight; where all weights are zero, plain means."""
    total = weight.sum((-2, -1), dtype=torch.float64)
    mean = (x * weight).sum((-2, -1), dtype=torch.float64) / total
    return torch.where(total > 0, mean, x.mean((-2, -1), dtype=torch.float64))
