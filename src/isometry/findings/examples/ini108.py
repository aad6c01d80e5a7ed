"""Two layers of zeros in a row keep each other at zero."""

from torch import nn


def build() -> nn.Module:
    """Return a network for `isometry audit`."""
    first, last = nn.Linear(16, 64), nn.Linear(64, 10)
    for layer in (first, last):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.Tanh(), last)
