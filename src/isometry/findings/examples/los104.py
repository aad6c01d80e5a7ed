"""A loss summed over the batch, with a step made for its mean."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser."""
    return torch.optim.SGD(parameters, lr=0.1)


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets, loss and optimiser."""
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 10))
    loss = nn.CrossEntropyLoss(reduction="sum")
    return model, torch.randn(128, 16), torch.randint(10, (128,)), loss, optimizer
