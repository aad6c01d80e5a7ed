"""Two units of a layer are copies, which no batch is needed to see."""

import torch
from torch import nn


def build() -> nn.Module:
    """Return a network for `isometry audit`."""
    hidden = nn.Linear(16, 64)
    with torch.no_grad():
        hidden.weight[1] = hidden.weight[0]
        hidden.bias[1] = hidden.bias[0]
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10))
