"""Fitting hybrid's networks: features of coded video, a loss that follows labels, and one that keeps bits worth their price.

    loss = 5 smooth_l1(raw, label) + 10 mean max(0, -d raw / d bits)

over the whole data at once, several networks side by side, each with noise of its own on its inputs. The second part
holds that, pixels and all else the same, more bits never mean a worse score. Adam with decoupled decay, a cosine rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vqmeter.evaluation.splits import split
from vqmeter.metric import Meter, Stream
from vqmeter.metrics.nr.hybrid import BITS, FEATURES, Ensemble, FeatureMeter, Floats, codec_of, inputs
from vqmeter.training.datasets import Item
from vqmeter.training.reading import scores

if TYPE_CHECKING:
    from vqmeter.weights import State

CODECS = ("h264", "hevc", "av1", "vp9")


@dataclass(frozen=True)
class Fitting:
    """How networks are fitted: how many, their units a layer, and the constants of the loss and the optimiser.

    Inputs beyond `limit` deviations from the mean are taken for `limit`, here and in scoring.
    """

    codecs: tuple[str, ...] = CODECS
    networks: int = 5
    units: int = 32
    limit: float = 3.5
    steps: int = 400
    rate: float = 3e-3
    decay: float = 0.03
    noise: float = 0.05
    rising: float = 10.0

    def options(self) -> dict[str, object]:
        """What a weight file must say of itself."""
        return {"features": list(FEATURES), "codecs": list(self.codecs), "limit": self.limit}


def features_of(path: str, known: Sequence[str] = CODECS) -> tuple[Floats, str]:
    """(18,) float64 and the codec: what the metric gathers of a video.

    Raises
        InputError: the file is missing, damaged or too small, or of no known codec.
    """
    meters: list[FeatureMeter] = []

    def opened(stream: Stream) -> Meter:
        codec_of(stream.dist, known)
        meters.append(FeatureMeter(stream))
        return meters[0]

    scores(Item(path, np.nan), opened)
    return meters[0].gathered.features(), codec_of(meters[0].info, known)


def fit(features: Floats, codecs: Sequence[str], labels: Floats, seed: int = 0, how: Fitting | None = None) -> State:
    """The tensors of a weight file, from (N, F) features, N codecs and (N,) labels in 0..1, higher is better."""
    import torch
    from torch.nn.functional import smooth_l1_loss

    from vqmeter.networks.hybrid import Perceptrons

    how = how or Fitting()
    scale = {"mean": np.nanmean(features, 0), "std": np.nanstd(features, 0) + 1e-6}
    z = torch.from_numpy(inputs(features, codecs, scale, how.codecs, how.limit)).float()
    wanted = torch.from_numpy(labels).float().expand(how.networks, -1)
    bits = [FEATURES.index(name) for name in BITS]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Perceptrons(z.shape[1], how.networks, how.units)
        optimiser = torch.optim.AdamW(module.parameters(), how.rate, weight_decay=how.decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, how.steps)
        for _ in range(how.steps):
            x = (z + how.noise * torch.randn(how.networks, *z.shape)).requires_grad_()
            raw = module(x)
            slope = torch.autograd.grad(raw.sum(), x, create_graph=True)[0][..., bits]
            loss = 5 * smooth_l1_loss(raw, wanted, beta=0.1) + how.rising * torch.relu(-slope).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    fitted = {key: value.detach().clone() for key, value in module.state_dict().items()}
    return {**{key: torch.from_numpy(value).float() for key, value in scale.items()}, **fitted}


def predict(state: State, features: Floats, codecs: Sequence[str], how: Fitting | None = None) -> Floats:
    """(N,) raw numbers in 0..1 by the metric's own arithmetic."""
    how = how or Fitting()
    return Ensemble({key: value.double().numpy() for key, value in state.items()}, how.codecs, how.limit)(features, codecs)


def cross_validated(features: Floats, codecs: Sequence[str], labels: Floats, groups: Sequence[str], folds: int = 5,
                    seed: int = 0, how: Fitting | None = None) -> Floats:  # fmt: skip
    """(N,) raw numbers, each from networks that saw nothing of its content."""
    out = np.empty(len(labels))
    for train, test in split(groups, f"{folds}-fold", 1, seed):
        state = fit(features[train], [codecs[n] for n in train], labels[train], seed, how)
        out[test] = predict(state, features[test], [codecs[n] for n in test], how)
    return out
