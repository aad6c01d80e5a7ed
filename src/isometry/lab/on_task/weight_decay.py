"""What weight decay does to somebody's own network: whether it still fits, and what it is worth on new examples."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import nn

from isometry._errors import DomainError, NotApplicableError
from isometry._phrases import Phrase
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import OptimizerFactory, Task
from isometry.lab.apparatus.own_data import SURE, Schooling, accuracy, noise_of, own_data, require_classes, train
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.probes.training import LEARNING_RATE, Training
from isometry.training.labels.learner import Learner

# Decays up to these are what libraries set and people use: of optimisers that take decay from the weights themselves,
# such as AdamW, and of those that add it to the gradient, such as SGD and Adam, of which it is another unit.
DECOUPLED, COUPLED = 0.1, 1e-3
MAX_LOST = 2.0  # points of training accuracy beyond noise; on mnist_5k typical decays cost none
MAX_GAINED = (
    5.0  # points of held-out accuracy beyond noise; with a fifth of the labels wrong the best decay gained 10, else 0.6
)
LEAST = 0.3  # of the smallest decay: where 0 is drawn on a logarithmic axis


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWeightDecaySettings:
    """Settings.

    Attributes:
        decays: Strengths, each a copy, beside one without; in the unit of the task's own optimiser, else of AdamW.
        max_examples: Largest number of examples, a fifth of which is held out, counts.
        num_epochs: Passes over the others, counts.
        batch_size: Examples of a step, counts.
    """

    decays: tuple[float, ...] = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0)
    max_examples: int = 1000
    num_epochs: int = 40
    batch_size: int = 50

    def __post_init__(self) -> None:
        if not self.tried[1:] or not all(0 <= decay < math.inf for decay in self.decays):
            raise DomainError(
                f"decays={self.decays!r}: positive numbers are needed, and 0 is always tried beside them."
            )

    @property
    def tried(self) -> tuple[float, ...]:
        """The strengths, growing; the first is 0, which all others are held against."""
        return tuple(sorted({0.0, *self.decays}))


def measure(settings: OwnWeightDecaySettings, own: OwnTask, progress: Progress) -> Measured:
    """Train a copy with every decay."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed)
    require_classes(own.task, data)
    schooling = Schooling(num_epochs=settings.num_epochs, batch_size=settings.batch_size, seed=own.seed)
    found: dict[str, list[float]] = {"train": [], "held_out": []}
    with preserved(own.task.model, seed=own.seed) as guard:
        optimizer = Training(
            replace(own.task, optimizer_factory=_decayed(own.task, 0.0)), own.task.model, guard
        ).optimizer
    typical = DECOUPLED if _is_decoupled(optimizer) else COUPLED
    for number, decay in enumerate(settings.tried):

        def look(learner: Learner, epoch: int, *, number: int = number) -> None:
            progress((number + epoch / settings.num_epochs) / len(settings.tried))
            if epoch == settings.num_epochs:
                found["train"].append(accuracy(learner, data, data.train))
                found["held_out"].append(accuracy(learner, data, data.held_out))

        train(replace(own.task, optimizer_factory=_decayed(own.task, decay)), data, schooling, look=look)
    counts = {"num_train": len(data.train), "num_held_out": len(data.held_out)}
    return {**found, **counts, "typical": typical}


def judge(settings: OwnWeightDecaySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold that typical decays are a bias and no limit, and that none is worth much where labels are right."""
    claims: list[Claim] = []
    most = min(each["typical"] for each in measured)
    typical = [place for place, decay in enumerate(settings.tried) if 0 < decay <= most]
    if typical:
        lost, noise = max(_difference(measured, "train", (0, place)) for place in typical)
        claims.append(
            Claim(
                text=Phrase("decays up to {decay} take nothing from the fit: they are no limit", decay=most),
                measured=lost,
                high=MAX_LOST + SURE * noise,
                unit="points",
            )
        )
    gained, noise = max(_difference(measured, "held_out", (place, 0)) for place in range(len(settings.tried)))
    claims.append(
        Claim(
            text=Phrase("no decay is worth much on held-out examples, as where labels are right"),
            measured=gained,
            high=MAX_GAINED + SURE * noise,
            unit="points",
        )
    )
    return tuple(claims)


def _difference(measured: Sequence[Measured], key: str, places: tuple[int, int]) -> tuple[float, float]:
    """Return by how much the accuracy with one decay is above that with another, and the noise of that, points."""
    one, other = ([each[key][place] for each in measured] for place in places)
    return fmean(one) - fmean(other), noise_of(one, other, [each[f"num_{key}"] for each in measured])


def draw(settings: OwnWeightDecaySettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw accuracy over decay."""
    places = [LEAST * settings.tried[1], *settings.tried[1:]]
    names = {"train": "trained on", "held_out": "held out"}
    return (
        Figure(
            key="accuracy",
            title="Accuracy by weight decay",
            x_axis="weight decay, the first is 0",
            y_axis="accuracy, %",
            x_scale="log",
            series=tuple(Series(name=name, x=places, y=each[key]) for key, name in names.items() for each in measured),
        ),
    )


def _is_decoupled(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether decay is taken from the weights themselves; that of optimisers not known is taken for added."""
    is_marked = any(group.get("decoupled_weight_decay") for group in optimizer.param_groups)
    return is_marked or isinstance(optimizer, torch.optim.AdamW)


def _decayed(task: Task, decay: float) -> OptimizerFactory:
    """Return the task's own optimiser with another decay where it decays anything, else AdamW."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if task.optimizer_factory is None:
            return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=decay)
        optimizer = task.optimizer_factory(parameters)
        groups = [group for group in optimizer.param_groups if group.get("weight_decay")]
        for group in groups or optimizer.param_groups:
            if "weight_decay" not in group:
                raise NotApplicableError(
                    Phrase(
                        "{optimizer} has no weight_decay, and this experiment sets it. Leave the optimiser out of the "
                        "builder for AdamW, or give one that decays.",
                        optimizer=type(optimizer).__name__,
                    )
                )
            group["weight_decay"] = decay
        return optimizer

    return make


ON_TASK.add("weight-decay")(
    OnTask(
        question=Phrase("Does weight decay keep this network from fitting, and is it worth anything on new examples?"),
        settings=OwnWeightDecaySettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
