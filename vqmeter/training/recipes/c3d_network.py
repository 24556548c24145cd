"""C3D itself in training: its last blocks on what the frozen ones give, or all of it from windows or crops.

Convolutions that are trained may be followed by batch norms. Over a trained network these begin as what changes nothing;
after training they are folded away. Labels are standardised, the loss is Huber's, and with `rank` a hinge on pairs of one
source beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqmeter.metrics.crops import Recipe as Pixels
from vqmeter.metrics.nr.c3d import FRAMES
from vqmeter.networks import c3d as networks
from vqmeter.tensors import fold_norms
from vqmeter.training.dense import Batch, Sampler, ranking
from vqmeter.training.loop import Task, shuffled
from vqmeter.training.recipes.c3d_heads import error, validated
from vqmeter.training.recipes.c3d_windows import Sight
from vqmeter.weights import State, build

Array = NDArray[Any]
AT_ONCE = 8  # windows of the validation part a batch
HUBER = 0.5  # in deviations of the labels


class Whole(nn.Module):  # type: ignore[misc]
    """A network from block `begin` on, and the regressor on its features."""

    def __init__(self, network: networks.C3d, head: networks.Regressor, sight: Sight, pixels: Pixels, layer: str,
                 begin: int) -> None:  # fmt: skip
        super().__init__()
        for name in [name for name in networks.CONVOLUTIONS if int(name[0]) <= begin]:
            delattr(network, f"conv{name}")
        self.network, self.head = network.to(memory_format=torch.channels_last_3d), head
        self.sight, self.pixels, self.layer, self.begin = sight, pixels, layer, begin

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs) of windows (N, sides, 3, 16, 112, 112), or of what block `begin` made of them; the head in float32."""
        sides = list(x.unbind(1)) if self.begin else self.sight.inputs(x, self.pixels)
        fed = torch.cat(sides).contiguous(memory_format=torch.channels_last_3d)
        found = self.network.features(fed, self.layer, self.begin).float()
        with torch.autocast(x.device.type, enabled=False):
            return self.head.outputs(self.sight.joined(found.chunk(len(sides))))

    def state(self) -> State:
        """The network's tensors, batch norms folded; no training after that."""
        fold_norms(self.network)
        return {key: value.detach().cpu() for key, value in self.network.state_dict().items()}


def fresh(shape: tuple[str, float, int, bool], detail: bool = False) -> networks.C3d:
    """A network at random: He's normal weights, no biases. With `detail` the first filters sum to nothing over a picture, so
    that batch norms scale them to edges and grain and not to brightness."""
    network = networks.C3d(0, *shape)
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            kind = "linear" if module.bias is None else "relu"  # a first factor has nothing behind it
            nn.init.kaiming_normal_(module.weight, nonlinearity=kind)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if detail:
        with torch.no_grad():
            network.conv1.weight -= network.conv1.weight.mean((3, 4), keepdim=True)
    return network


def copied(state: State, shape: tuple[str, float, int, bool], dropout: float, normed: Sequence[str]) -> networks.C3d:
    """A network to be trained, with batch norms behind the convolutions `normed`.

    Raises
        WeightsError: the tensors are of another network.
    """
    network: networks.C3d = build(lambda: networks.C3d(0, *shape), {key: value.clone() for key, value in state.items()})
    network.requires_grad_()
    network.dropout.p = dropout
    for name in normed:
        channels = network.get_parameter(f"conv{name}.bias").numel()
        network.add_module(f"bn{name}", nn.BatchNorm3d(channels))
    return network


def settle(module: Whole, x: Tensor) -> None:
    """Let batch norms give what came in: moments over `x`, and the scale and shift that undo them."""
    norms = [m for m in module.network.modules() if isinstance(m, nn.BatchNorm3d)]

    def undo(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if isinstance(norm, nn.BatchNorm3d) and norm.running_mean is not None and norm.running_var is not None:
            var, mean = torch.var_mean(inputs[0].float(), (0, 2, 3, 4), correction=0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            norm.bias.copy_(mean)
            norm.weight.copy_((var + norm.eps).sqrt())

    hooks = [norm.register_forward_pre_hook(undo) for norm in norms]
    with torch.no_grad():
        module.eval()(x)
    for hook in hooks:
        hook.remove()


class NetworkTask(Task):
    """Windows of whole items, kept in files: `val` is (files, (items, outputs) labels); `labels` their mean and deviation."""

    def __init__(self, module: Whole, labels: tuple[Array, Array], val: tuple[Sequence[str], Array], *, rank: float,
                 device: str, head_rate: float = 1.0) -> None:  # fmt: skip
        self.module: Whole = module
        self.mean, self.std = labels
        self.val, self.rank, self.device, self.head_rate = val, rank, device, head_rate

    def parameters(self, rate: float) -> list[dict[str, Any]]:
        return [
            {"params": list(self.module.network.parameters()), "lr": rate},
            {"params": list(self.module.head.parameters()), "lr": rate * self.head_rate},
        ]

    def missed(self, x: Tensor, y: Array, sources: Tensor) -> Tensor:
        """The loss of windows with labels `y` (N, outputs)."""
        found = self.module(x.to(self.device))
        wanted = torch.from_numpy(((y - self.mean) / self.std).astype(np.float32)).to(self.device)
        loss = error(found, wanted, lambda a, b: F.smooth_l1_loss(a, b, beta=HUBER))
        if self.rank:
            loss = loss + self.rank * ranking(found[:, 0].float(), wanted[:, 0], sources.to(self.device))
        return loss

    def validate(self) -> Mapping[str, float]:
        paths, y = self.val
        if not len(paths):
            return {}
        values, owner = [], [n for n, path in enumerate(paths) for _ in range(count(path))]
        places = [(path, k) for path in paths for k in range(count(path))]
        for at in range(0, len(places), AT_ONCE):
            values.append(self.module(windows(places[at : at + AT_ONCE]).to(self.device))[:, 0].double().cpu().numpy())
        pooled = np.bincount(owner, np.concatenate(values)) / np.bincount(owner)
        return validated(pooled * self.std[0] + self.mean[0], y[:, 0])


def count(path: str) -> int:
    """How many windows a file holds."""
    return len(np.load(path, mmap_mode="r", allow_pickle=False))


def windows(places: Sequence[tuple[str, int]], mirrored: Sequence[bool] = ()) -> Tensor:
    """(N, sides, ...) float32 of windows, each a file and a number in it."""
    seen = [np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)[k], np.float32) for path, k in places]
    for n in np.flatnonzero(mirrored):
        seen[n] = seen[n][..., ::-1]
    return torch.from_numpy(np.stack(seen))


class WindowTask(NetworkTask):
    """Trains on windows kept in files, each with its item's label; whole networks see them mirrored half the time."""

    def __init__(self, module: Whole, labels: tuple[Array, Array], val: tuple[Sequence[str], Array],
                 train: tuple[Sequence[str], Array], sources: Sequence[int], batch: int, **options: Any) -> None:  # fmt: skip
        super().__init__(module, labels, val, **options)
        self.paths, self.y = train
        self.sources, self.batch = np.asarray(sources), batch
        self.places = [(path, k) for path in self.paths for k in range(count(path))]
        self.owner = [n for n, path in enumerate(self.paths) for _ in range(count(path))]

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[list[int]]:
        return shuffled(len(self.places), self.batch, rng)

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        items = [self.owner[at] for at in batch]
        mirrored = rng.random(len(batch)) < (0.0 if self.module.begin else 0.5)
        x = windows([self.places[at] for at in batch], mirrored.tolist())
        return self.missed(x, self.y[items], torch.from_numpy(self.sources[items]))


class CropTask(NetworkTask):
    """Trains on crops at native size of several copies of a source at one place, each with the label of that place.

    `near` draws neighbouring frames, `far` single ones, which a share of the sources is made of: each of its frames shows
    another place.
    """

    def __init__(self, module: Whole, labels: tuple[Array, Array], val: tuple[Sequence[str], Array], near: Sampler,
                 far: Sampler, share: float, y: Array, how: tuple[int, int], **options: Any) -> None:  # fmt: skip
        super().__init__(module, labels, val, **options)
        self.near, self.far, self.share, self.y = near, far, share, y
        self.at_once, self.rounds = how

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[list[int]]:
        return self.near.batches(rng, self.at_once, self.rounds)

    def loss(self, batch: list[int], rng: np.random.Generator) -> Tensor:
        apart = rng.random(len(batch)) < self.share
        drawn = [self.near.draw(part, rng) for part in [[n for n, far in zip(batch, apart, strict=True) if not far]] if part]
        drawn += [self._scattered(n, rng) for n, far in zip(batch, apart, strict=True) if far]
        mode = self.module.sight.mode
        x = torch.cat([_sides(part, mode) for part in drawn])
        y = np.concatenate([self.y[list(part.items)] for part in drawn])
        y[:, 0] = torch.cat([part.targets for part in drawn]).numpy()
        return self.missed(x, y, torch.cat([part.sources + len(batch) * n for n, part in enumerate(drawn)]))

    def _scattered(self, source: int, rng: np.random.Generator) -> Batch:
        """Copies of a source, each frame at a place of its own."""
        copies = self.near.sources[source]
        chosen = [copies[n] for n in rng.permutation(len(copies))[: self.near.variants]]
        frames = [self.far.cut([chosen], rng) for _ in range(FRAMES)]
        first = frames[0]
        reference = (
            None if first.reference is None else torch.stack([f.reference for f in frames if f.reference is not None], 2)
        )
        return replace(first, pixels=torch.stack([f.pixels for f in frames], 2), reference=reference,
                       targets=torch.stack([f.targets for f in frames]).mean(0))  # fmt: skip


def _sides(drawn: Batch, mode: str) -> Tensor:
    """(N, sides, 3, 16, 112, 112) of what was drawn."""
    if drawn.reference is None:
        return drawn.pixels[:, None]
    if mode == "feature":
        return torch.stack([drawn.reference, drawn.pixels], 1)
    return (drawn.reference - drawn.pixels)[:, None]
