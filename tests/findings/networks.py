"""Parts of the networks that the rules are tried on, and the table of those that train."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task

SOUND: dict[str, Callable[[], Task]] = {}


def sound(build: Callable[[], Task]) -> Callable[[], Task]:
    """Enter a builder under its name; it draws from torch's global generator, which the test seeds."""
    SOUND[build.__name__.replace("_", "-")] = build
    return build


def stack(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A plain network, without an activation behind the last layer."""
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Linear(into, out), activation()]
    return nn.Sequential(*layers[:-1])


def he(model: nn.Module, factor: float = 1.0) -> nn.Module:
    """Draw every matrix and kernel at `factor` times He's deviation, and set biases to zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=factor * math.sqrt(2 / module.weight[0].numel()))
            nn.init.zeros_(module.bias)
    return model


def classify(model: nn.Module, *, width: int = 16, classes: int = 10, count: int = 128) -> Task:
    """Vectors and labels."""
    return make_task(model, torch.randn(count, width), torch.randint(classes, (count,)), loss=F.cross_entropy)


def classify_images(model: nn.Module, *, channels: int = 3, size: int = 16, count: int = 32) -> Task:
    """Images and labels."""
    images = torch.randn(count, channels, size, size)
    return make_task(model, images, torch.randint(10, (count,)), loss=F.cross_entropy)


def restore(model: nn.Module, inputs: Tensor) -> Task:
    """A model that is to give back its inputs."""
    return make_task(model, inputs, inputs.clone(), loss=F.mse_loss)


class Residual(nn.Module):
    """x + scale * f(x), with a scale that may be a parameter."""

    def __init__(self, branch: nn.Module, scale: Tensor | float = 1.0) -> None:
        super().__init__()
        self.branch = branch
        self.scale = nn.Parameter(scale) if isinstance(scale, Tensor) else scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.branch(x)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def residual_net(branch: Callable[[int], nn.Module], *, depth: int, width: int = 32, scale: Any = 1.0) -> nn.Module:
    """A stem, residual blocks and a head."""
    blocks = [Residual(branch(width), scale() if callable(scale) else scale) for _ in range(depth)]
    return nn.Sequential(nn.Linear(16, width), *blocks, nn.Linear(width, 10))


def plain(width: int) -> nn.Sequential:
    """A branch of two layers."""
    return stack(width, width, width)


def pre_norm(width: int) -> nn.Sequential:
    """A branch that normalises what it reads."""
    return nn.Sequential(nn.LayerNorm(width), stack(width, width, width, activation=nn.GELU))


def zero_last(block: nn.Sequential) -> nn.Sequential:
    """Set a block's last layer to zero."""
    nn.init.zeros_(block[-1].weight)
    nn.init.zeros_(block[-1].bias)
    return block


def own_loss(model: nn.Module, batch: Any) -> Task:
    """A model that returns its loss."""
    return Task(model=model, batch=batch, step=lambda model, batch: model(batch))


class LowRank(nn.Module):
    """LoRA: a frozen weight and the product of a random and a zero factor."""

    def __init__(self, into: int, out: int, rank: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(into, out)
        self.base.requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.randn(rank, into) / rank)
        self.up = nn.Parameter(torch.zeros(out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.down), self.up)
