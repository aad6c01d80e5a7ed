"""A loss that is no function of outputs and targets: two views of one image are to be found again (SimCLR).

isometry check examples/own_step.py:build
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry import Task

TEMPERATURE = 0.2  # of cosines, dimensionless


def step(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    first = F.normalize(model(images), dim=1)
    second = F.normalize(model(images + 0.1 * torch.randn_like(images)), dim=1)
    return F.cross_entropy(first @ second.T / TEMPERATURE, torch.arange(len(images)))


def build() -> Task:
    encoder = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(32),
    )
    images = torch.randn(64, 3, 16, 16)
    encoder(images)  # gives the lazy layer its size
    return Task(model=encoder, batch=images, step=step)
