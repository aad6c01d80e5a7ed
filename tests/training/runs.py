"""Trainings for the tests: what one is, the tables of sound and of faulty ones, and how one is watched."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import isometry as iso
from isometry._errors import NonFiniteError
from isometry.report.run.facts import RunFacts
from isometry.training import Run
from isometry.training.watching.sink import Entry


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training that is ready to run.

    Attributes:
        model: What is trained.
        optimizer: What trains it.
        step: Makes one step of the optimiser and returns the loss; is given the number of the step, from 0.
        steps: How many are made.
        evaluate: Returns the metrics on held-out data, or None if nothing is held out.
        evaluate_every: Steps between two evaluations.
        watch: Further arguments of `iso.watch`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[int], Tensor]
    steps: int
    evaluate: Callable[[], Mapping[str, float]] | None = None
    evaluate_every: int = 25
    watch: Mapping[str, Any] | None = None


Make = Callable[[int], Training]
HEALTHY: dict[str, Make] = {}
Maker = TypeVar("Maker", bound=Make)


def healthy(function: Maker) -> Maker:
    """Enter a training into the table of sound ones."""
    HEALTHY[function.__name__.replace("_", "-")] = function
    return function


def digits(*, flat: bool = True) -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits, standardised as a whole, in a fixed random order."""
    data: Any = load_digits()
    inputs = torch.tensor(data.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean()) / inputs.std()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(inputs)))
    inputs, targets = inputs[order], torch.tensor(data.target)[order]
    return (inputs if flat else inputs.reshape(-1, 1, 8, 8)), targets


def text() -> Tensor:
    """Return the characters of this project's licence as numbers below 128."""
    words = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    return torch.tensor([min(ord(letter), 127) for letter in words])


def batches(count: int, size: int, *, seed: int) -> Iterator[Tensor]:
    """Yield the indices of batches for ever, every sample once in each pass."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


def windows(count: int, length: int, *, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of stretches of text, and the same one character later, for ever."""
    characters = text()
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(characters) - length - 1, (count,), generator=generator)
        places = starts[:, None] + torch.arange(length + 1)
        yield characters[places[:, :-1]], characters[places[:, 1:]]


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, schedule: Any = None, clip: float = 0.0) -> Tensor:
    """Make a step of the optimiser from a loss, and return the loss."""
    optimizer.zero_grad()
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], clip)
    optimizer.step()
    if schedule is not None:
        schedule.step()
    return loss


def classify(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    seed: int,
    data: tuple[Tensor, Tensor] | None = None,
    size: int = 64,
    train: int = 1297,
    steps: int = 400,
    schedule: Any = None,
    clip: float = 0.0,
    smoothing: float = 0.0,
    held_out: bool = True,
    evaluate_every: int = 25,
    watch: Mapping[str, Any] | None = None,
) -> Training:
    """Return the training of a classifier by cross-entropy, on digits unless other data are given."""
    inputs, targets = digits() if data is None else data
    order = batches(train, size, seed=seed)

    def step(_: int) -> Tensor:
        chosen = next(order)
        loss = functional.cross_entropy(model(inputs[chosen]), targets[chosen], label_smoothing=smoothing)
        return descend(optimizer, loss, schedule=schedule, clip=clip)

    def evaluate() -> Mapping[str, float]:
        model.eval()
        with torch.no_grad():
            outputs = model(inputs[train:])
            loss = functional.cross_entropy(outputs, targets[train:]).item()
            right = (outputs.argmax(1) == targets[train:]).float().mean().item()
        model.train()
        return {"val_loss": loss, "val_accuracy": right}

    return Training(
        model=model,
        optimizer=optimizer,
        step=step,
        steps=steps,
        evaluate=evaluate if held_out else None,
        evaluate_every=evaluate_every,
        watch=watch,
    )


class Listener:
    """A view that shows nothing, so that no line is printed either."""

    is_view = True

    def start(self, facts: RunFacts) -> None: ...

    def write(self, entry: Entry) -> None: ...

    def close(self, facts: RunFacts) -> None: ...


def watched(make: Make, *, seed: int, every: int) -> Run:
    """Return a training that was watched to its end, or to where it was stopped."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        training = make(seed)
        run = iso.watch(
            training.model,
            training.optimizer,
            every=every,
            to=[Listener()],
            snapshot_every=None,
            **(training.watch or {}),
        )
        with suppress(NonFiniteError), run:
            for number in range(training.steps):
                run.step(training.step(number))
                if training.evaluate is not None and (number + 1) % training.evaluate_every == 0:
                    run.evaluate(**training.evaluate())
    return run


def alarms(run: Run) -> list[tuple[int, str, str]]:
    """Return step, code and cause of all that is more than a note."""
    events = run.facts().events
    return [(each.step, each.finding.code, each.finding.cause) for each in events if each.finding.severity != "note"]


def codes(run: Run) -> dict[str, int]:
    """Return the step in which each code was first found, as more than a note."""
    found: dict[str, int] = {}
    for step, code, _ in alarms(run):
        found.setdefault(code, step)
    return found
