"""Hybrid's networks: several small perceptrons side by side, on the same inputs, each with an answer of its own."""

import torch
from torch import Tensor, nn


class Layers(nn.Module):
    """One linear layer of each of `networks` perceptrons: (N, B, I) or (B, I) to (N, B, O)."""

    def __init__(self, networks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(networks, inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(networks, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Perceptrons(nn.Module):
    """`networks` perceptrons of two hidden layers of `units`."""

    def __init__(self, inputs: int, networks: int = 5, units: int = 32) -> None:
        super().__init__()
        self.hidden1 = Layers(networks, inputs, units)
        self.hidden2 = Layers(networks, units, units)
        self.out = Layers(networks, units, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, B, inputs) or (B, inputs) to (N, B) in 0..1."""
        return torch.sigmoid(self.out(torch.tanh(self.hidden2(torch.tanh(self.hidden1(x))))))[..., 0]
