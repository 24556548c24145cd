"""Regression on features without a network: RBF support vectors, or a ridge (one weight a feature).

    f(x) = sum_i dual_i exp(-gamma |z - support_i|^2) + intercept     or     weight . z + intercept,     z = (x - mean) / std

Fitted elsewhere (scikit-learn's SVR and Ridge have the same arrays: `support_vectors_`, `dual_coef_`, `intercept_`,
`_gamma`; `coef_`). Computed in float64, the difference of two nearly equal squares being what an RBF sees.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Svr(nn.Module):
    """`vectors` support vectors of `inputs` features, or with 0 of them a linear function."""

    mean: Tensor
    std: Tensor
    intercept: Tensor

    def __init__(self, inputs: int, vectors: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.register_buffer("intercept", torch.zeros(()))
        if vectors:
            self.register_buffer("support", torch.zeros(vectors, inputs))
            self.register_buffer("dual", torch.zeros(vectors))
            self.register_buffer("gamma", torch.ones(()))
        else:
            self.register_buffer("weight", torch.zeros(inputs))

    @classmethod
    def like(cls, state: Mapping[str, Tensor]) -> Svr:
        """Of the sizes that `state` has: `weight`, or `support`."""
        if "weight" in state:
            return cls(len(state["weight"]))
        vectors, inputs = state["support"].shape
        return cls(inputs, vectors)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs) to (N,)."""
        z = (features.double() - self.mean.double()) / self.std.double()
        if hasattr(self, "weight"):
            return (z @ self.weight.double() + self.intercept.double()).float()
        support = self.support.double()
        squares = z.square().sum(1)[:, None] + support.square().sum(1) - 2 * z @ support.T
        kernel = torch.exp(-self.gamma.double() * squares.clamp(min=0))
        return (kernel @ self.dual.double() + self.intercept.double()).float()
