"""DIPQA and DIQaM: networks of pairs of patches, trained on items that are patches, or on random patches of pictures.

DIPQA (the thesis): VGG-13-bn from ImageNet up to block 4, fine-tuned or as it is; Adam 5e-4, 50 epochs, dropout 0.5. Its
batch and its loss are not said: 32 pairs and the squared error here. DIQaM (Bosse et al.): from scratch, 32 patches of 32x32
of each of 4 pictures a step, Adam 1e-4, absolute error, of the patches or, weighted, of the picture's pooled quality; 3000
epochs are those of a public port.

By default both learn 0..1, mirror at random, and end with a rate that falls by cosine and the running average of weights;
`as_published` leaves all that out. Drawing, losses and validation are in `patches.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import UsageError, WeightsError
from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.metrics.fr.dipqa import IMAGENET
from vqmeter.metrics.fr.diqam import PORT
from vqmeter.networks.bosse import Bosse
from vqmeter.networks.dipqa import Dipqa as Network
from vqmeter.training.cards import figures, per_reference
from vqmeter.training.data import Data
from vqmeter.training.datasets import Item
from vqmeter.training.loop import Plan, fit
from vqmeter.training.recipes import About, Comparison, Trained, find
from vqmeter.training.recipes.patches import Drawing, PatchTask, begin, copied, fill
from vqmeter.training.recipes.thesis import COMPARISONS
from vqmeter.training.run import Run
from vqmeter.training.scored import raw_scores, scores
from vqmeter.weights import Label, Weights, files, load
from vqmeter.weights import find as find_weights

FUSIONS = {"triple": "r,d,r-d", "pair": "r,d", "difference": "r-d", "absolute": "r,|r-d|"}
AUTHORS = "d-r,d,r"  # the triple of DIQaM's authors
#: What stands beside DIPQA in the thesis: metrics by the name of their score, and recipes.
METRICS = {"ssim": "ssim_y", "rfsim": "rfsim", "fsim": "fsim", "psnr": "psnr", "uqi": "uqi_y", "vsi": "vsi", "srsim": "srsim"}
Baseline = Literal["none", "ssim", "rfsim", "fsim", "psnr", "uqi", "vsi", "srsim", "ipm_ssim", "ipm_fsim", "ipm_srsim", "diqam"]


@dataclass(frozen=True)
class Dipqa:
    """Options of DIPQA's recipe.

    `size` is that of patches whose features are flattened, or `pooled`, trained on patches of `patch`. `variants` of 2 or
    more draw copies of a source at one place and rank them; `baseline` trains or measures something else in DIPQA's place.
    """

    size: Literal["64", "128", "pooled"] = "64"
    patch: int = 64
    extractor: Literal["finetune", "frozen"] = "finetune"
    backbone: Literal["vgg13", "resnet18"] = "vgg13"
    backbone_weights: str | None = None
    scratch: bool = False
    cut: Literal[3, 4, 5] = 4
    fusion: Literal["triple", "pair", "difference", "absolute"] = "triple"
    width: float = 1.0
    loss: Literal["mse", "l1"] = "mse"
    patches: int = 1
    frames: int = 4
    variants: int = 1
    rank: float = 1.0
    baseline: Baseline = "none"
    as_published: bool = False

    about: ClassVar[About] = About(
        "DIPQA, VGG-13 features of both patches and their difference",
        "The DIPQA thesis, chapters 3 and 4",
        "pictures, videos or patches with a reference and a score each; scores of places where there are some (column 'dense')",
    )
    comparisons: ClassVar[Mapping[str, Comparison]] = COMPARISONS

    def __post_init__(self) -> None:
        _check("dipqa", self.width, self.patches, self.frames, self.variants)
        if self.width != 1 and not self.scratch and self.baseline == "none":
            raise UsageError("dipqa: a network of another width is trained from scratch; add scratch=true")
        if self.patch < 1 << self.cut:
            raise UsageError(f"dipqa: patch is {1 << self.cut} or more, not {self.patch}")

    def train(self, data: Data, run: Run) -> Trained:
        """DIPQA on pairs of patches; or what `baseline` names.

        Raises
            UsageError: scores or references are lacking.
            WeightsError: the backbone's weights are not there.
        """
        if self.baseline != "none":
            return self._instead(data, run)
        label = data.as_published() if self.as_published else data.label
        size = None if self.size == "pooled" else int(self.size)
        module = Network(size, FUSIONS[self.fusion], backbone=self.backbone, cut=self.cut, width=self.width)
        begin(module, "dipqa", run, label, data)
        if run.init is None and not self.scratch:
            self._from_imagenet(module)
        frozen = self.extractor == "frozen"
        module.features.requires_grad_(not frozen)
        how = Drawing(size or self.patch, run.batch or 32, self.patches, self.frames, self.variants, self.rank, self.loss,
                      not self.as_published, frozen)  # fmt: skip
        task = PatchTask(module, IMAGENET, data, label, run, how)
        fit("patches", task, _plan(50, 5e-4, self.as_published), run)
        said = {"fusion": FUSIONS[self.fusion], "backbone": self.backbone, "cut": self.cut, "width": self.width}
        variant = f"{self.backbone}, cut after block {self.cut}, {self.size}, {self.fusion}"
        return _trained("dipqa", module, label, run, said, IMAGENET, how, variant)

    def _from_imagenet(self, module: Network) -> None:
        """The backbone's convolutions from torchvision's weights."""
        name = "vgg13_bn" if self.backbone == "vgg13" else self.backbone
        if self.backbone == "vgg13" and self.cut == 5:  # which conversion cuts off
            path = find_weights(name, self.backbone_weights).path
            state = {} if path is None else files.read(path)[0]
        else:
            state, _ = load(name, self.backbone_weights)
        stem = "features." if self.backbone == "vgg13" else ""
        try:
            fill(module.features, {key.removeprefix(stem): value for key, value in state.items()}, name)
        except WeightsError as error:
            if self.cut < 5:
                raise
            raise WeightsError(f"{error}; cut=5 needs torchvision's own file of {name}, not an imported one") from None

    def _instead(self, data: Data, run: Run) -> Trained:
        """A classic metric as it is, on everything there is; or another recipe by this one's schedule."""
        if self.baseline in METRICS:
            return measured(self.baseline, METRICS[self.baseline], data, run)
        if self.baseline != "diqam":
            return find(f"{self.baseline}:as_published={self.as_published}")[1].train(data, run)
        if self.size == "pooled":
            raise UsageError("dipqa: baseline=diqam takes size=64 or 128")
        instead = Diqam(size=32 * (int(self.size) // 32), loss=self.loss, patches=1, as_published=self.as_published)  # type: ignore[arg-type]
        return instead.train(data, replace(run, epochs=run.epochs or 50, batch=run.batch or 32, rate=run.rate or 5e-4))


@dataclass(frozen=True)
class Diqam:
    """Options of DIQaM's recipe; `variants` of 2 or more draw copies of a source at one place and rank them."""

    weighted: bool = False
    size: Literal[32, 64, 128] = 32
    fusion: Literal["triple", "pair", "difference", "absolute"] = "triple"
    width: float = 1.0
    loss: Literal["l1", "mse"] = "l1"
    patches: int = 32
    frames: int = 4
    variants: int = 1
    rank: float = 1.0
    as_published: bool = False

    about: ClassVar[About] = About(
        "DIQaM and WaDIQaM, ten convolutions on 32x32 patches of both pictures",
        "Bosse et al., IEEE TIP 27(1), 2018, doi:10.1109/TIP.2017.2760518",
        "pictures, videos or patches with a reference and a score each; scores of places where there are some (column 'dense')",
    )
    comparisons: ClassVar[Mapping[str, Comparison]] = {}

    def __post_init__(self) -> None:
        _check("diqam", self.width, self.patches, self.frames, self.variants)
        if self.weighted and self.variants > 1:
            raise UsageError("diqam: weighted=true learns from several patches of a picture; leave variants=1")

    def train(self, data: Data, run: Run) -> Trained:
        """DIQaM or WaDIQaM.

        Raises
            UsageError: scores or references are lacking.
        """
        label = data.as_published() if self.as_published else data.label
        order = AUTHORS if self.fusion == "triple" else FUSIONS[self.fusion]
        module = Bosse(True, self.weighted, self.size, order, width=self.width)
        begin(module, "diqam", run, label, data)
        pairs = run.batch or (4 if self.variants == 1 else 128)
        how = Drawing(self.size, pairs, self.patches, self.frames, self.variants, self.rank, self.loss, not self.as_published)
        task = PatchTask(module, PORT, data, label, run, how)
        fit("patches", task, _plan(3000 if self.as_published else 100, 1e-4, self.as_published), run)
        said = {"fusion": order, "eps": module.eps, "weighted": self.weighted, "width": self.width}
        variant = f"{'WaDIQaM' if self.weighted else 'DIQaM'}, {self.size}"
        return _trained("diqam", module, label, run, said, PORT, how, variant)


def _check(model: str, width: float, *counts: int) -> None:
    if not 0 < width <= 2 or width * 8 % 1:
        raise UsageError(f"{model}: width is a multiple of 1/8 up to 2, not {width:g}")
    if min(counts) < 1:
        raise UsageError(f"{model}: patches, frames and variants are 1 or more")


def _plan(epochs: int, rate: float, as_published: bool) -> Plan:
    return Plan(epochs, rate) if as_published else Plan(epochs, rate, cosine=True, warm=20, average=0.99)


def _trained(model: str, module: Network | Bosse, label: Label, run: Run, said: Mapping[str, Any], pixels: Pixels,
             how: Drawing, variant: str) -> Trained:  # fmt: skip
    """What a weight file is made of; numbers come from scoring with such a file."""
    prepared = {"order": pixels.order, "divide": pixels.divide, "mean": list(pixels.mean), "std": list(pixels.std),
                "patch": how.size}  # fmt: skip
    state = copied(module)
    weights = Weights(name=model, model=model, preprocessing=prepared, label=label, options=said)

    def predict(items: Sequence[Item]) -> NDArray[np.float64]:
        return raw_scores(weights, state, items, run)

    return Trained(state, label, predict, said, prepared, variant=variant)


def measured(metric: str, key: str, data: Data, run: Run) -> Trained:
    """A metric that needs no training, with its figures on all items; its number stands for itself."""

    def predict(items: Sequence[Item]) -> NDArray[np.float64]:
        return scores(metric, key, items, run) * (1.0 if data.dataset.higher_is_better else -1.0)

    trained = Trained({}, Label(low=0.0, high=1.0), predict, variant=f"{metric}, untrained")
    items = data.items
    raw = predict(items)
    return replace(trained, figures=figures(raw, items, trained, data)
                   | {"srocc_per_reference": per_reference(raw, items, trained, data)})  # fmt: skip
