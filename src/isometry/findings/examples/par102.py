"""An optimiser that was made for the head alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets, loss and optimiser."""
    head = nn.Linear(64, 10)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), head)

    def optimizer(_: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(head.parameters())

    return model, torch.randn(128, 16), torch.randint(10, (128,)), functional.cross_entropy, optimizer
