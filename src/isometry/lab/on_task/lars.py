"""Whether somebody's own network learns as well in large batches, with momentum and with LARS at their best rates."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import nn

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.anatomy.task import OptimizerFactory, Task
from isometry.lab.apparatus.own_data import SURE, Schooling, accuracy, noise_of, own_data, require_classes, train
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.training.labels.learner import Learner
from isometry.training.optim.groups import param_groups
from isometry.training.optim.lars import LARS

MOMENTUM = 0.9
PLAIN_RATE = 0.1  # of gains and biases, which LARS does not scale
MAX_BEHIND = 5.0  # points beyond noise; both are tuned on one grid step of three
RUNS = ("small", "large", "lars")
NAMES = {"small": "small batch, momentum", "large": "large batch, momentum", "lars": "large batch, LARS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLarsSettings:
    """Settings.

    Attributes:
        small_batch: Examples of a step, counts.
        large_batch: Likewise.
        rates: Learning rates of momentum.
        lars_rates: Learning rates of LARS.
        max_examples: Largest number of examples, a fifth of which is held out, counts.
        num_epochs: Passes over the others, the same for every batch, counts.
    """

    small_batch: int = 25
    large_batch: int = 400
    rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    lars_rates: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0)
    max_examples: int = 1500
    num_epochs: int = 15

    def __post_init__(self) -> None:
        if not all(rate > 0 for rate in (*self.rates, *self.lars_rates)):
            raise DomainError(f"rates={self.rates!r} and lars_rates={self.lars_rates!r}: positive rates are needed.")


def measure(settings: OwnLarsSettings, own: OwnTask, progress: Progress) -> Measured:
    """Train copies at every rate: small batches and large ones with momentum, large ones with LARS."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed)
    require_classes(own.task, data)
    found: dict[str, list[float]] = {name: [] for name in RUNS}
    plans = [(name, rate) for name in RUNS for rate in _rates(settings, name)]
    for number, (name, rate) in enumerate(plans):

        def look(learner: Learner, epoch: int, *, name: str = name, number: int = number) -> None:
            progress((number + epoch / settings.num_epochs) / len(plans))
            if epoch == settings.num_epochs:
                found[name].append(accuracy(learner, data, data.held_out))

        size = settings.small_batch if name == "small" else settings.large_batch
        factory = _lars(own.task, rate) if name == "lars" else _momentum(rate)
        schooling = Schooling(num_epochs=settings.num_epochs, batch_size=size, seed=own.seed)
        train(replace(own.task, optimizer_factory=factory), data, schooling, look=look)
    return {**found, "num_held_out": len(data.held_out)}


def judge(_settings: OwnLarsSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold LARS against momentum where both may choose their rate, and large batches against small ones."""
    best = {name: [max(each[name]) for each in measured] for name in RUNS}
    counts = [each["num_held_out"] for each in measured]
    small, plain, lars = (fmean(best[name]) for name in RUNS)
    larger = "large" if plain >= lars else "lars"
    return (
        Claim(
            text=Phrase("in large batches LARS is not behind momentum, each at its best rate"),
            measured=plain - lars,
            high=MAX_BEHIND + SURE * noise_of(best["large"], best["lars"], counts),
            unit="points",
        ),
        Claim(
            text=Phrase("in as many epochs large batches come near small ones"),
            measured=small - max(plain, lars),
            high=MAX_BEHIND + SURE * noise_of(best["small"], best[larger], counts),
            unit="points",
        ),
    )


def draw(settings: OwnLarsSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw accuracy over the learning rate."""
    return (
        Figure(
            key="rates",
            title=Phrase(
                "After {epochs} epochs in batches of {small} and {large}",
                epochs=settings.num_epochs,
                small=settings.small_batch,
                large=settings.large_batch,
            ),
            x_axis="learning rate",
            y_axis="accuracy on held-out examples, %",
            x_scale="log",
            series=tuple(
                Series(name=NAMES[name], x=_rates(settings, name), y=each[name]) for name in RUNS for each in measured
            ),
        ),
    )


def _rates(settings: OwnLarsSettings, name: str) -> tuple[float, ...]:
    return settings.lars_rates if name == "lars" else settings.rates


def _momentum(rate: float) -> OptimizerFactory:
    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM)

    return make


def _lars(task: Task, rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    def make(_parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        groups = param_groups(task, weight_decay=0.0)  # of the task's own model; the copy takes their place
        for group in groups:
            group["lr"] = rate if group["is_adapted"] else PLAIN_RATE
        return LARS(groups, lr=rate, momentum=MOMENTUM)

    return make


ON_TASK.add("lars")(
    OnTask(
        question=Phrase("Does this network learn as well in large batches, and does LARS help it there?"),
        settings=OwnLarsSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
