"""RankIQA: a network that learned to rank distorted copies of pictures, mean over random crops.

A crop of 224x224 or 227x227 goes through VGG-16, AlexNet (torchvision's or caffe's) or the paper's Shallow network and
comes out as one number; a frame's is the mean over its crops (30 in the paper). A network of our own, VGG-16's
convolutions under pooled statistics, takes crops of any size from 96x96 up. Crops are not resized; pictures as the
weight file says, which for the authors' files is B, G, R in 0..255 without a mean. The paper scores pictures: frames
of a video are scored one by one, and the video by their mean (ours).
Source: Liu, van de Weijer, Bagdanov, ICCV 2017, doi:10.1109/ICCV.2017.118; github.com/xialeiliu/RankIQA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import About, Context, Meter, Sample, Scale, Stream
from vqmeter.metrics.crops import SAMPLED_RATE, Crop, CropMeter, Recipe, cut, frame_rate
from vqmeter.networks.alexnet import AlexNet, CaffeAlexNet
from vqmeter.networks.shallow import Shallow
from vqmeter.networks.vgg import VGG16, Vgg16
from vqmeter.networks.vgg_pool import VggPool
from vqmeter.weights import Weights, build, load

#: Network, as weight files call it -> the smallest side of its crops, which they have unless the file says otherwise.
NETWORKS = {"shallow": 227, "alexnet": 224, "caffe-alexnet": 227, "vgg16": 224, "vgg16-pool": 96}
_AS_PUBLISHED = Recipe("BGR")


@dataclass(frozen=True)
class Rankiqa:
    """Score `rankiqa`, 0 to 100, higher is better; `raw` is the network's own number, `mos` on its data set's scale."""

    crops: int = 30
    sampling: Literal["random", "grid"] = "random"
    rate: str = "auto"
    weights: str | None = None

    about: ClassVar[About] = About(
        title="RankIQA",
        definition="A network trained to rank distorted copies of pictures, fine-tuned to human scores or not, as the weight "
        "file says: the mean over 30 crops of 224x224 (VGG-16, AlexNet), 227x227 (caffe's AlexNet, Shallow) or a size of the "
        "file's own, at random places that follow from --seed, the frame's number and its size; crops=N for more or fewer; "
        "sampling=grid for as few evenly spread ones as cover the frame. Smaller frames are mirrored at their borders. Every "
        "frame with the Shallow network, two frames a second with the larger ones; rate=native for all frames, rate=N for N "
        "frames a second. The video's score is that of the mean raw value. B, G, R in 0..255 unless the file says "
        "otherwise; 0..100 is its label's range, turned round where a lower label is better.",
        source="Liu, van de Weijer, Bagdanov: RankIQA: Learning from Rankings for No-Reference Image Quality Assessment. "
        "ICCV 2017, doi:10.1109/ICCV.2017.118",
        differs="The authors draw crops anew in every run, never at the last place across or down, and fail on pictures of "
        "224 lines or fewer; Shallow's conv4 has no activation unless the weight file says relu4.",
        needs="weights of rankiqa; see 'vqmeter weights list'",
        validated="Network shapes, crops and preprocessing are held by tests against a plain rendition; no published score of "
        "a picture is known to compare with.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.crops < 1:
            raise UsageError(f"rankiqa: crops is 1 or more, not {self.crops}")
        frame_rate("rankiqa", self.rate, None)

    def scales(self) -> Mapping[str, Scale]:
        return {"rankiqa": Scale("", 0.0, 100.0, "higher", "the mean over crops of what RankIQA's network says")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return self.meter(*load("rankiqa", self.weights), stream, context)

    def meter(self, state: Mapping[str, Tensor], weights: Weights, stream: Stream, context: Context) -> Meter:
        """The meter of weights that are in memory; `state` is left as it is."""
        name = network_name(weights)
        size = int(weights.preprocessing.get("crop", NETWORKS[name]))
        if size < NETWORKS[name]:
            raise WeightsError(f"{weights.path}: {name} takes crops of {NETWORKS[name]} or more, not {size}")
        return RankiqaMeter(
            "rankiqa", build(maker(name, state, weights.options), state), weights, stream, context, size=size,
            count=self.crops if self.sampling == "random" else None,
            rate=frame_rate("rankiqa", self.rate, None if name == "shallow" else SAMPLED_RATE),
            recipe=Recipe.of(weights, _AS_PUBLISHED),
        )  # fmt: skip


def network_name(weights: Weights) -> str:
    """Which of `NETWORKS` a weight file is for.

    Raises
        WeightsError: none of them.
    """
    said = str(weights.options.get("network") or weights.variant)
    for name in NETWORKS:
        if "".join(filter(str.isalnum, said.lower())) == name.replace("-", ""):
            return name
    raise WeightsError(f"{weights.path}: its network '{said}' is none of {', '.join(NETWORKS)}")


def maker(name: str, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> Callable[[], nn.Module]:
    """The constructor of the network that tensors are of; widths are told by the tensors."""
    if name == "shallow":
        width = len(state["conv1.weight"]) if "conv1.weight" in state else 32
        return lambda: Shallow(width, bool(options.get("relu4", False)))
    if name == "vgg16-pool":
        width, hidden = (len(state[key]) if key in state else 64 for key in ("features.0.weight", "head.0.weight"))
        return lambda: VggPool(width / VGG16[0], hidden, "features.1.running_mean" in state)
    makers: dict[str, Callable[[], nn.Module]] = {
        "alexnet": lambda: AlexNet(1), "caffe-alexnet": lambda: CaffeAlexNet(1), "vgg16": lambda: Vgg16(1),
    }  # fmt: skip
    return makers[name]


class RankiqaMeter(CropMeter):
    """The network over crops of several frames at once; every crop counts alike."""

    def squares(self, sample: Sample, corners: Sequence[tuple[int, int]]) -> Sequence[Crop]:
        return cut(sample.dist, corners, self.size)

    def values(self, squares: Sequence[Crop]) -> Tensor:
        quality: Tensor = self.network(self.fed(squares))[:, 0].float()
        return torch.stack([quality, torch.ones_like(quality)], 1)
