"""Gradients below what float16 can hold, without a loss scale."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10)).half()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 1e-5 * functional.cross_entropy(outputs, targets)

    return model, torch.randn(64, 64).half(), torch.randint(10, (64,)), loss
