"""Sixteen GELU layers without norms or residual paths, on scikit-learn's digits.

isometry check examples/deep_gelu.py:build
isometry fix examples/deep_gelu.py:build --race --out repaired.safetensors
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import nn


def build() -> tuple:
    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    hidden = [layer for _ in range(16) for layer in (nn.Linear(64, 64), nn.GELU())]
    return nn.Sequential(*hidden, nn.Linear(64, 10)), inputs, targets, F.cross_entropy
