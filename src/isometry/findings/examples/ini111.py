"""A weight whose entries are all the same number."""

from torch import nn


def build() -> nn.Module:
    """Return a network for `isometry audit`."""
    hidden = nn.Linear(16, 64)
    nn.init.constant_(hidden.weight, 0.05)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(64, 10))
