"""Predictions (128, 1) against targets (128,): every one is compared with every other."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


def build() -> tuple[Any, ...]:
    """Return a network, its inputs, targets and loss."""
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
    return model, torch.randn(128, 16), torch.randn(128), functional.mse_loss
