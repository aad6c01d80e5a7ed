"""A step ten thousand times too small."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser."""
    return torch.optim.SGD(parameters, lr=1e-6)


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets, loss and optimiser."""
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 10))
    inputs = torch.randn(128, 16)
    return model, inputs, inputs[:, :10].argmax(dim=1), functional.cross_entropy, optimizer
