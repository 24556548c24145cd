"""What RankIQA's training starts from, and what is done to a network's output layer between stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vqmeter.errors import WeightsError
from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.metrics.nr import rankiqa as metric
from vqmeter.networks.vgg_pool import VggPool
from vqmeter.training.run import Run, seeded
from vqmeter.weights import load

if TYPE_CHECKING:
    from vqmeter.training.recipes.rankiqa import Rankiqa

#: Network -> ImageNet's weights for it.
BACKBONES = {"alexnet": "alexnet", "vgg16": "vgg16"}
CROPS = {"vgg16-pool": 128}  # sides of crops in training, where a network takes smaller ones too
IMAGENET = Pixels("RGB", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
AS_PUBLISHED = Pixels("BGR")


@dataclass(frozen=True)
class Start:
    """A network, what its crops are made by, their side, and what a weight file says beside; `learned` it has already."""

    module: nn.Module
    pixels: Pixels
    size: int
    options: Mapping[str, Any]
    note: str
    learned: bool = False

    @property
    def preprocessing(self) -> dict[str, Any]:
        p = self.pixels
        return {"order": p.order, "divide": p.divide, "mean": list(p.mean), "std": list(p.std), "crop": self.size}


def start(recipe: Rankiqa, run: Run) -> Start:
    """From `run.init`, from ImageNet's weights, or at random.

    Raises
        WeightsError: the file is of another network, or ImageNet's weights are not there.
    """
    if run.init is not None:
        return _from_file(recipe, run.init)
    name, size = recipe.network, recipe.crop or CROPS.get(recipe.network, metric.NETWORKS[recipe.network])
    pixels = AS_PUBLISHED if recipe.as_published else IMAGENET
    options = {"network": name, "relu4": True} if name == "shallow" and recipe.relu4 else {"network": name}
    with seeded(run.seed, "start", name):
        module: nn.Module = (
            VggPool(recipe.width, batch_norm=recipe.batch_norm) if name == "vgg16-pool" else metric.maker(name, {}, options)()
        )
        _at_random(module)
    if recipe.scratch or name not in BACKBONES:
        return Start(module, pixels, size, options, "Begun at random.")
    state, weights = load(BACKBONES[name])
    own = module.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    module.load_state_dict(own | fitting)
    if recipe.as_published:
        _take_in(module, IMAGENET)
    return Start(module, pixels, size, options, f"Begun from {weights.name}, SHA-256 {weights.sha256}.")


def _from_file(recipe: Rankiqa, path: str) -> Start:
    state, weights = load("rankiqa", path)
    name = metric.network_name(weights)
    if name != recipe.network:
        raise WeightsError(f"{weights.path}: weights of {name}, not of {recipe.network}; say network={name}")
    module = metric.maker(name, state, weights.options)()
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{weights.path}: does not fit {name}: {' '.join(str(error).split())[:120]}") from None
    size = recipe.crop or int(weights.preprocessing.get("crop", metric.NETWORKS[name]))
    note = f"Begun from {weights.name}, SHA-256 {weights.sha256}."
    return Start(module, Pixels.of(weights, AS_PUBLISHED), size, {"network": name, **weights.options}, note, True)


def _at_random(module: nn.Module) -> None:
    """He's initialisation under ReLU, Glorot's for the last layer."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.xavier_uniform_(output_of(module).weight)


def _take_in(module: nn.Module, pixels: Pixels) -> None:
    """Let the first convolution normalise: it is fed B, G, R in 0..255 and gives what it gave for `pixels`."""
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (pixels.mean, pixels.std))
    with torch.no_grad():
        first.bias -= (first.weight * mean / std).sum((1, 2, 3))
        first.weight.copy_((first.weight / (std * pixels.divide)).flip(1))


def output_of(module: nn.Module) -> nn.Linear:
    """The layer that gives the number."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]


def bring_to(module: nn.Module, scale: float, offset: float) -> None:
    """Let the network say `scale * f + offset` in the place of f."""
    layer = output_of(module)
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.mul_(scale).add_(offset)


def outputs_anew(module: nn.Module, run: Run, whole_head: bool, bias: float) -> None:
    """A new output layer (Glorot) that begins about `bias`, or all linear layers new."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    with seeded(run.seed, "output"):
        for layer in linear if whole_head else linear[-1:]:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    nn.init.constant_(linear[-1].bias, bias)


def caffe_groups(module: nn.Module, rate: float) -> list[dict[str, Any]]:
    """The authors' rates: biases twice and without decay, the output layer ten times."""
    last: set[Tensor] = set(output_of(module).parameters())
    out = []
    for name, parameter in module.named_parameters():
        bias = name.endswith("bias")
        share = (10 if parameter in last else 1) * (2 if bias else 1)
        out.append({"params": [parameter], "lr": share * rate, "weight_decay": 0.0 if bias else 5e-4})
    return out
