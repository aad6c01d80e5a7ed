"""Small trainings for the tests of watched runs, and sinks that keep what they are given."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isometry.report.run.facts import RunFacts
from isometry.training.watching.run import Run
from isometry.training.watching.sink import Entry

Change = Callable[[int, Tensor], Tensor]  # of a step's inputs, by the number of the step


@dataclass
class Kept:
    """A sink that keeps everything."""

    started: list[RunFacts] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    closed: list[RunFacts] = field(default_factory=list)
    is_view: bool = True  # no lines on the error stream

    def start(self, facts: RunFacts) -> None:
        self.started.append(facts)

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)

    def close(self, facts: RunFacts) -> None:
        self.closed.append(facts)


def network(*, seed: int = 0) -> nn.Sequential:
    """Batch norm for its buffers, dropout for its random numbers."""
    generator = torch.random.fork_rng(devices=[])
    with generator:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    """Batches that can be learnt, the same for every call."""
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(16, 8, generator=generator) for _ in range(count)]
    return [(each, each[:, :4].argmax(1)) for each in inputs]


def corrupted(step: int, *, at: int) -> Tensor:
    """What is added to the inputs of a step: NaN in one number at the steps named, else nothing."""
    return torch.full((), float("nan")) if step == at else torch.zeros(())


def train(
    run: Run | None,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    bad: tuple[int, ...] = (),
    after: Callable[[int], None] = lambda _: None,
) -> None:
    """Train by the plainest loop; `bad` steps, counted from 1, are given a NaN among their inputs."""
    for step, (inputs, targets) in enumerate(batches(steps), 1):
        given = inputs.clone()
        if step in bad:
            given[0, 0] = float("nan")
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(given), targets)
        loss.backward()
        optimizer.step()
        if run is not None:
            run.step(loss)
        after(step)


def weights(model: nn.Module) -> list[list[float]]:
    """All parameters and buffers, exactly."""
    return [each.detach().clone().flatten().tolist() for each in model.state_dict().values()]
