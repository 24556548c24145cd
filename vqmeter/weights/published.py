"""Other people's weight files, recognised by the names of their tensors and brought under vqmeter's own.

| file | told by | becomes |
|---|---|---|
| VSFA.pt | ann.fc0, rnn, q | the same; dead `ann.fc` dropped |
| MDTVSFA.pt | dimemsion_reduction [sic], feature_aggregation, regression, nlm, lm | ann.fc0, rnn, q, nlm, lm |
| torchvision resnet18/34/50/101 | conv1, layer1..layer4 | the same, without fc |
| torchvision vgg16, vgg13_bn, alexnet | features.N, classifier.N | the same; vgg13_bn up to features.27 |
| c3d.pickle | conv1 ... conv5b, fc6, fc7, fc8 | the same, without fc8 |
| mmaction's C3D | conv1a.conv ... conv5b.conv, fc6, fc7 | conv1 ... conv5b, fc6, fc7 |
| RankIQA caffemodel.pt (VGG-16) | conv1_1 ... conv5_3, fc6(_m), fc7(_m), fc8(_m) | features.N, classifier.{0,3,6} |
| WaDIQaM, with and without reference | features.N, fc_q, fc_w | the same |

What is told of a file that is no set of the manifest (preprocessing, backbone) is that of the manifest's set of its
kind; its label scale is not known then. IMAGENET1K_V2 of ResNet has the same names and other features: it is refused
by its hash.

RankIQA's files do not say which way their numbers go: `direction` finds it, and the ends of the scale, by scoring
synthetic pictures and blurred copies of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import WeightsError
from vqmeter.weights import files
from vqmeter.weights.files import State
from vqmeter.weights.manifest import Label, Weights, entries, sha256

if TYPE_CHECKING:
    from torch import nn

REFUSED = {"11ad3fa6": "ResNet-50 IMAGENET1K_V2 has other features; take V1: 'vqmeter weights pull resnet50'"}
BLURS = (0.0, 1.2, 2.5, 6.5)  # sigma in pixels, best first

Made = tuple["Callable[[], nn.Module]", dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """A form of file: the tensors that tell it, how its names map to ours, and the network it is of.

    `make` looks at the converted tensors and gives the network's constructor, and fields that differ from those of
    the manifest's set `like`.
    """

    like: str
    signature: tuple[str, ...]
    make: Callable[[State], Made]
    rename: Mapping[str, str] = field(default_factory=dict)
    dead: tuple[str, ...] = ()


def _vsfa(state: State) -> Made:
    from vqmeter.networks.vsfa import MixedVsfa, Vsfa

    reduced, inputs = state["ann.fc0.weight"].shape
    hidden = state["q.weight"].shape[1]
    temporal = "lstm" if state["rnn.weight_ih_l0"].shape[0] == 4 * hidden else "gru"
    sizes = {"inputs": inputs, "reduced": reduced, "hidden": hidden, "temporal": temporal}
    datasets = [key.split(".")[1] for key in state if key.startswith("lm.") and key.endswith(".weight")]
    if datasets:
        return lambda: MixedVsfa(datasets=datasets, **sizes), {"options": {"datasets": datasets, **sizes}}
    return lambda: Vsfa(**sizes), {"options": sizes}


def _resnet(state: State) -> Made:
    from vqmeter.networks.resnet import BLOCKS, ResNet

    blocks = len({key.split(".")[1] for key in state if key.startswith("layer3.")})
    bottleneck = "layer1.0.conv3.weight" in state
    depths = [d for d, counts in BLOCKS.items() if counts[2] == blocks and (d >= 50) is bottleneck]
    if not depths:
        raise WeightsError(f"a ResNet with {blocks} blocks in stage 3 is none of {', '.join(map(str, BLOCKS))}")
    return lambda: ResNet(depths[0]), {"model": f"resnet{depths[0]}"}


def _vgg16(_: State) -> Made:
    from vqmeter.networks.vgg import Vgg16

    return Vgg16, {}


def _rankiqa(_: State) -> Made:
    from vqmeter.networks.vgg import Vgg16

    return lambda: Vgg16(outputs=1), {"options": {"network": "vgg16"}}


def _vgg13(_: State) -> Made:
    from vqmeter.networks.vgg import Vgg13Block4

    return Vgg13Block4, {}


def _alexnet(_: State) -> Made:
    from vqmeter.networks.alexnet import AlexNet

    return AlexNet, {}


def _c3d(_: State) -> Made:
    from vqmeter.networks.c3d import C3d

    return C3d, {}


def _wadiqam(state: State) -> Made:
    from vqmeter.networks.bosse import Bosse

    reference, weighted = state["fc_q.0.weight"].shape[1] == 3 * 512, "fc_w.0.weight" in state
    options = {"reference": reference, "weighted": weighted, "fusion": "d-r,d,r", "eps": 1e-8}
    return lambda: Bosse(reference, weighted), {"model": "diqam" if reference else "diqam_nr", "options": options}


_CAFFE_VGG = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")
_VGG16_AT = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_FROM_CAFFE = {f"conv{a}": f"features.{b}" for a, b in zip(_CAFFE_VGG, _VGG16_AT, strict=True)} | {
    f"fc{a}{end}": f"classifier.{b}" for a, b in ((6, 0), (7, 3), (8, 6)) for end in ("", "_m")
}
_FROM_MMACTION = {f"conv{n}.conv": f"conv{n}" for n in ("3a", "3b", "4a", "4b", "5a", "5b")} | {
    "conv1a.conv": "conv1", "conv2a.conv": "conv2",
}  # fmt: skip
_FROM_MDTVSFA = {"dimemsion_reduction": "ann.fc0", "feature_aggregation": "rnn", "regression": "q"}

#: The first whose signature is among a file's keys.
KINDS = (
    Kind("vsfa-konvid", ("ann.fc0.weight", "rnn.weight_ih_l0", "q.weight"), _vsfa, dead=("ann.fc.",)),
    Kind("mdtvsfa", ("dimemsion_reduction.weight", "regression.weight", "nlm.0.weight"), _vsfa, _FROM_MDTVSFA),
    Kind("resnet50", ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.bn1.weight"), _resnet, dead=("fc.",)),
    Kind("diqam-kadid", ("features.0.weight", "fc_q.0.weight"), _wadiqam),
    Kind("vgg13_bn", ("features.1.running_mean", "features.24.weight", "features.25.running_mean"), _vgg13,
         dead=("features.28.", "features.29.", "features.31.", "features.32.", "classifier.")),
    Kind("vgg16", ("features.28.weight", "classifier.0.weight", "classifier.6.weight"), _vgg16),
    Kind("alexnet", ("features.10.weight", "classifier.1.weight", "classifier.6.weight"), _alexnet),
    Kind("rankiqa-rank-live", ("conv1_1.weight", "conv5_3.weight", "fc8_m.weight"), _rankiqa, _FROM_CAFFE),
    Kind("rankiqa-ft-live", ("conv1_1.weight", "conv5_3.weight", "fc8.weight"), _rankiqa, _FROM_CAFFE),
    Kind("c3d-sports1m-mmaction", ("conv1a.conv.weight", "conv5b.conv.weight", "fc6.weight"), _c3d, _FROM_MMACTION),
    Kind("c3d-sports1m", ("conv1.weight", "conv3a.weight", "conv5b.weight", "fc6.weight"), _c3d, dead=("fc8.",)),
)  # fmt: skip


def recognise(state: Mapping[str, Any], path: Path) -> Kind:
    """The kind of file these tensors are from.

    Raises
        WeightsError: none of `KINDS`; names the keys that were seen.
    """
    kind = next((kind for kind in KINDS if all(key in state for key in kind.signature)), None)
    if kind is None:
        seen = ", ".join(list(state)[:5])
        raise WeightsError(f"{path}: weights of no known model; its {len(state)} keys begin {seen}")
    return kind


def convert(state: State, path: Path) -> tuple[State, Weights]:
    """Tensors under vqmeter's names, held against the network's shapes, and what is known of such a file.

    Raises
        WeightsError: no known kind, or tensors of other shapes than the network's.
    """
    for digits, why in REFUSED.items():
        if sha256(path).startswith(digits):
            raise WeightsError(f"{path}: {why}")
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    kind = recognise(state, path)
    named = {}
    for key, value in state.items():
        stem, _, leaf = key.rpartition(".")
        if not key.startswith(kind.dead):
            named[f"{kind.rename.get(stem, stem)}.{leaf}"] = value.flatten() if leaf == "bias" else value
    make, changed = kind.make(named)
    try:
        files.build(make, named)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    like = next((entry for entry in entries() if entry.name == kind.like), None)
    if like is None:
        raise WeightsError(f"the manifest has no '{kind.like}': this installation is not whole")
    changed["options"] = {**like.options, **changed.get("options", {})}
    return named, dataclasses.replace(
        like, **changed, name=path.stem, file=path.name, path=path, source=path.name,
        sha256="", size=None, url="", dataset="", card="", label=None,
    )  # fmt: skip


def describe(path: Path) -> Weights:
    """What the tensors of a file say of it."""
    return convert(files.read(path)[0], path)[1]


def pictures(count: int = 4, size: int = 224, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Synthetic scenes, each with its blurred copies, best first: `len(BLURS)` arrays (count, size, size, 3) RGB.

    Noise with the spectrum of natural pictures over patches of flat colour, blurred in the frequency domain.
    """
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    radius = np.hypot(y, x)
    spectra = np.fft.rfft2(rng.standard_normal((count, 3, size, size))) / np.maximum(radius, 1 / size)
    patches = np.repeat(np.repeat(rng.random((count, 3, 8, 8)), size // 8, 2), size // 8, 3)
    noise = np.fft.irfft2(spectra, s=(size, size))
    scenes = patches + 0.25 * (noise - noise.mean((2, 3), keepdims=True)) / noise.std((2, 3), keepdims=True)
    low, high = scenes.min((2, 3), keepdims=True), scenes.max((2, 3), keepdims=True)
    spectra = np.fft.rfft2((scenes - low) / (high - low))
    blurred = (np.fft.irfft2(spectra * np.exp(-2 * (np.pi * s * radius) ** 2), s=(size, size)) for s in BLURS)
    return [np.rint(255 * b.clip(0, 1)).astype(np.uint8).transpose(0, 2, 3, 1) for b in blurred]


def direction(scorer: Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]) -> Label:
    """Which way a scorer's numbers go, and the numbers it gives to sharp and to heavily blurred pictures.

    `scorer` takes (N, 224, 224, 3) uint8 RGB and gives (N,). The label's ends are the mean scores of the sharp and
    of the most blurred pictures: a makeshift scale for numbers that have none.

    Raises
        WeightsError: fewer than 7 in 8 pairs of a picture's copies agree on a direction.
    """
    scores = np.stack([scorer(level) for level in pictures()]).astype(np.float64)
    pairs = [np.sign(scores[i] - scores[j]) for i in range(len(BLURS)) for j in range(i + 1, len(BLURS))]
    agreement = float(np.mean(pairs))
    if not abs(agreement) >= 0.75:
        raise WeightsError(f"blur does not tell which way the scores go ({agreement:+.2f}); say --range WORST:BEST")
    ends = sorted((float(scores[0].mean()), float(scores[-1].mean())))
    return Label(low=ends[0], high=ends[1], higher_is_better=agreement > 0, unit="sharp and blurred synthetic pictures")


def rankiqa_label(state: State) -> Label:
    """`direction` of RankIQA's VGG-16 on its own preprocessing: BGR, 0..255, no mean."""
    import torch

    network = files.build(_rankiqa(state)[0], state)

    def score(rgb: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        x = torch.from_numpy(rgb[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            return np.asarray(network(x)[:, 0])

    return direction(score)
