"""Weights that are no weights: small networks filled by a seed, for tests of everything around them.

Their scores mean nothing; they only have to be finite, to differ between frames, and to be the same in every run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from vqmeter.metrics.nr.hybrid import FEATURES
from vqmeter.networks.bosse import Bosse
from vqmeter.networks.c3d import C3d, Regressor
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.networks.dipqa import Dipqa
from vqmeter.networks.hybrid import Perceptrons
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.shallow import Shallow
from vqmeter.networks.svr import Svr
from vqmeter.networks.vsfa import Vsfa
from vqmeter.weights import save

LABEL = {"scale": 1.0, "offset": 0.0, "low": -4.0, "high": 4.0, "unit": "none"}


def fill(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """A module's tensors at random, so that signals neither die nor grow."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            state[key] = 0.7 + 0.6 * torch.rand(value.shape, generator=generator)
        elif value.dim() > 1:
            state[key] = torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5
        elif value.is_floating_point():
            start = 0.5 if key.endswith("weight") else 0.0
            state[key] = start + torch.randn(value.shape, generator=generator) * 0.05
    return state


def write_all(folder: Path) -> Path:
    """A weight file for every learned model in `folder`, for `$VQMETER_WEIGHTS`."""

    def keep(name: str, state: dict[str, Tensor], **meta: object) -> None:
        save(folder / f"{name}.safetensors", state, {"name": name, "model": name, "label": LABEL, **meta})

    backbone = {f"backbone.{key}": value for key, value in fill(ResNet(18), 1).items()}
    head = fill(Vsfa(inputs=1024), 2)
    head["ann.fc0.weight"] = head["ann.fc0.weight"] * 0.3
    keep("vsfa", head | backbone, options={"backbone": "resnet18", "temporal": "gru"})
    pixels = {"order": "BGR", "divide": 1, "mean": [110.0] * 3, "std": [60.0] * 3}
    keep("rankiqa", fill(Shallow(8), 3), variant="shallow", preprocessing=pixels)
    keep("dipqa", fill(Dipqa(None), 4), options={"fusion": "r,d,r-d"})
    keep("diqam", fill(Bosse(True, True), 5), options={"fusion": "d-r,d,r"})
    width = 1 / 32
    trunk = {f"backbone.{key}": value for key, value in fill(C3d(width=width), 6).items()}
    pixels = pixels | {"resize": "squeeze"}
    for name in ("c3d", "c3d_fr"):
        wide = {"label": LABEL | {"low": -4000.0, "high": 4000.0}}
        keep(name, fill(Regressor(128, 16), 7) | trunk, options={"width": width}, preprocessing=pixels, **wide)
    widths, hidden = (2, 3, 4, 4), (8, 6)
    state = {f"clip.{key}": value for key, value in fill(Cnn3d("lite", widths, hidden), 8).items()}
    state |= {f"video.{key}": value for key, value in fill(GroupLstm(4, 8, 4), 9).items()}
    keep("cnn3d_lstm", state, options={"preset": "lite", "groups": 2, "columns": 2, "rows": 2})
    keep("niqe", {"mu": torch.full((36,), 0.5), "cov": torch.eye(36)}, label=None)
    support = fill(Svr(36, 6), 10) | {"std": torch.ones(36), "gamma": torch.tensor(0.1), "dual": torch.linspace(-3, 3, 6)}
    keep("brisque", {f"svr.{key}": value for key, value in support.items()})
    features = len(FEATURES)
    scale = {"mean": torch.zeros(features), "std": torch.full((features,), 3.0)}
    options = {"features": list(FEATURES), "codecs": ["h264", "vp9"], "limit": 3.5}
    keep("hybrid", fill(Perceptrons(features + 2, 2, 6), 11) | scale, options=options)
    return folder
