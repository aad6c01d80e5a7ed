"""One entry of a weight is a thousand times too large."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    hidden = nn.Linear(64, 64)
    with torch.no_grad():
        hidden.weight[3, 5] = 100.0
    model = nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10))
    return model, torch.randn(128, 64), torch.randint(10, (128,)), functional.cross_entropy
