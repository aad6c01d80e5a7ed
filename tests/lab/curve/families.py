"""Families of models whose curves are known."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task

LOG = Path("calls.log")
NUM_INPUTS = 10


class RandomFeatures(nn.Module):
    """A linear head on fixed random ReLU features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(NUM_INPUTS, width)
        self.hidden.requires_grad_(False)
        self.head = nn.Linear(width, 1, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.hidden(inputs).relu())


def numbers(count: int) -> tuple[Tensor, Tensor]:
    """Return inputs and noisy linear targets."""
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(count, NUM_INPUTS, generator=generator)
    noise = torch.randn(count, 1, generator=generator)
    return inputs, inputs.sum(1, keepdim=True) / NUM_INPUTS**0.5 + 0.5 * noise


def least_norm(width: int) -> Task:
    """Return a task of which one step of full-batch descent is the least squares of least norm.

    The threshold lies where features are as many as examples: 60, a fifth of 300.
    """
    inputs, targets = numbers(300)
    task = make_task(RandomFeatures(width), inputs, targets, loss=F.mse_loss, optimizer_factory=at_once)
    return replace(task, step=distance_to_solution)


def least_norm_of_sixty() -> Task:
    return least_norm(60)


def at_once(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1.0)  # pyright: ignore[reportArgumentType] - what a task hands over


def distance_to_solution(model: nn.Module, batch: object) -> Tensor:
    """Return a loss whose gradient leads to the solution in one step."""
    assert isinstance(model, RandomFeatures)
    features = model.hidden(batch.inputs).relu().double()  # pyright: ignore[reportAttributeAccessIssue]
    solution = torch.linalg.pinv(features) @ batch.targets.double()  # pyright: ignore[reportAttributeAccessIssue]
    return (model.head.weight - solution.T.float()).square().sum() / 2


def blobs(count: int = 300, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return two classes that lie apart, with a share of wrong labels."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(count) % 2
    inputs = torch.randn(count, NUM_INPUTS, generator=generator) + 3 * labels[:, None]
    is_wrong = torch.rand(count, generator=generator) < noise
    return inputs, torch.where(is_wrong, 1 - labels, labels)


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(NUM_INPUTS, width), nn.ReLU(), nn.Linear(width, 2))


def network_of_eight() -> nn.Module:
    return network(8)


def with_data(width: int) -> tuple[nn.Module, Tensor, Tensor, object]:
    """Return a network with its data; each call is logged where there is a log."""
    if LOG.exists():
        with LOG.open("a") as log:
            log.write(f"{width}\n")
    return (network(width), *blobs(120), F.cross_entropy)


def with_other_data(width: int) -> tuple[nn.Module, Tensor, Tensor, object]:
    return network(width), torch.randn(120, NUM_INPUTS), torch.randint(0, 2, (120,)), F.cross_entropy


def with_other_inputs(width: int) -> tuple[nn.Module, Tensor, Tensor, object]:
    return network(width), torch.randn(120, NUM_INPUTS), LABELLED[1], F.cross_entropy


def refusing(width: int) -> nn.Module:
    raise ValueError(f"no network of {width}")


LABELLED = blobs(120)
