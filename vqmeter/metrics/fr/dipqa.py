"""DIPQA: quality of HEVC-coded patches by VGG-13 features of reference and distorted, mean over patches.

A pair of patches of 64x64 or 128x128 (any size with weights that pool) goes through VGG-13-bn up to block 4; both
vectors and their difference give one number. The thesis scores patches: a frame is scored by the mean over patches at
the same places of both frames, and the video by the mean over frames (ours).
Source: the DIPQA thesis; the convolutions are those of Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import About, Context, Meter, Sample, Scale, Stream
from vqmeter.metrics.crops import SAMPLED_RATE, Crop, CropMeter, Recipe, cut, frame_rate
from vqmeter.networks.dipqa import Dipqa as Network
from vqmeter.networks.dipqa import shape_of
from vqmeter.weights import build, load

PATCHES = 32  # a frame
SIZE = 64  # of patches, where pooling weights do not say
IMAGENET = Recipe("RGB", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def patch_count(metric: str, text: str) -> int | None:
    """The option `patches`: how many random ones a frame, None for the grid.

    Raises
        UsageError: it is neither `grid` nor a number of 1 or more.
    """
    if text == "grid":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{metric}: patches is grid or a number of 1 or more, not '{text}'")
    return int(text)


@dataclass(frozen=True)
class Dipqa:
    """Score `dipqa`, 0 to 100, higher is better; `raw` is the network's own number, `mos` on its data set's scale."""

    patches: str = str(PATCHES)
    rate: str = "auto"
    size: int | None = None
    weights: str | None = None

    about: ClassVar[About] = About(
        title="DIPQA",
        definition="VGG-13 with batch normalisation up to block 4 on the reference's patch r and the distorted's patch d; r, d "
        "and r - d through a layer of 512 to one number; the mean over 32 patches of two frames a second, at random "
        "places that follow from --seed, the frame's number and its size, the same in both. patches=N for more or fewer, "
        "patches=grid for as few evenly spread ones as cover the frame; rate=native for every frame, rate=N for N frames a "
        "second. Patches are 64x64 or 128x128, as the weight file says; size=N only with weights that pool their features. "
        "Smaller frames are mirrored at their borders. The video's score is that of the mean raw value. R, G, B with "
        "ImageNet's mean and deviation unless the weight file says otherwise; 0..100 is its label's range. --map "
        "shows the grid's patches and leaves the score as it is. The weight file may be of a variant: fewer channels, another "
        "block as the last, ResNet-18 in VGG's place, or other parts than r, d and r - d, such as |r - d|.",
        source="The DIPQA thesis; Simonyan and Zisserman: Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition. ICLR 2015, arXiv:1409.1556",
        differs="The thesis scores single patches of 64x64 and 128x128; pictures and videos as the mean over them are ours, "
        "as are weights that pool features and variants of the network. How it normalised pictures is not stated.",
        needs="a reference, and weights of dipqa; see 'vqmeter weights list'",
        validated="Network shapes and parameter counts are the thesis's (17.3 million at 64x64); no weights were published.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True
    has_map: ClassVar[bool] = True

    def __post_init__(self) -> None:
        patch_count("dipqa", self.patches)
        frame_rate("dipqa", self.rate, None)
        if self.size is not None and self.size < 16:
            raise UsageError(f"dipqa: size is 16 or more, not {self.size}")

    def scales(self) -> Mapping[str, Scale]:
        return {"dipqa": Scale("", 0.0, 100.0, "higher", "the mean over patches of what DIPQA's network says")}

    def open(self, stream: Stream, context: Context) -> Meter:
        state, weights = load("dipqa", self.weights)
        if "fc1.weight" not in state:
            raise WeightsError("weights of dipqa without fc1; 'vqmeter weights list' shows what there is")
        shape = shape_of(state, str(weights.options.get("fusion", "r,d,r-d")))
        trained = shape["size"]
        if trained is not None and self.size not in (None, trained):
            raise UsageError(f"dipqa: {weights.name} takes patches of {trained}, not {self.size}")
        size = self.size or trained or int(weights.preprocessing.get("patch", SIZE))
        network = build(lambda: Network(**shape), state)
        return DipqaMeter(
            "dipqa", network, weights, stream, context, size=size, count=patch_count("dipqa", self.patches),
            rate=frame_rate("dipqa", self.rate, SAMPLED_RATE), recipe=Recipe.of(weights, IMAGENET),
        )  # fmt: skip


class PairMeter(CropMeter):
    """Squares at the same places of reference and distorted."""

    has_map = True

    def squares(self, sample: Sample, corners: Sequence[tuple[int, int]]) -> Sequence[tuple[Crop, Crop]]:
        ref, dist = (cut(frame, corners, self.size) for frame in sample.pair)
        return list(zip(ref, dist, strict=True))

    def both(self, squares: Sequence[tuple[Crop, Crop]]) -> tuple[Tensor, Tensor]:
        """Reference and distorted as the network takes them."""
        ref, dist = (self.fed(side) for side in zip(*squares, strict=True))
        return ref, dist


class DipqaMeter(PairMeter):
    """Every patch counts alike."""

    def values(self, squares: Sequence[tuple[Crop, Crop]]) -> Tensor:
        ref, dist = self.both(squares)
        quality: Tensor = self.network(dist, ref).float()
        return torch.stack([quality, torch.ones_like(quality)], 1)
