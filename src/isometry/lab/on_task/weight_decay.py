"""What weight decay does to somebody's own network: whether it still fits, and what it is worth on new examples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import nn

from isometry._errors import LabError
from isometry._phrases import Phrase
from isometry.anatomy.task import OptimizerFactory, Task
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.lab.own_data import Schooling, accuracy, own_data, require_classes, train
from isometry.probes.training import LEARNING_RATE
from isometry.training.labels.learner import Learner

TYPICAL = 0.1  # decays up to it are what libraries set and people use
MAX_LOST = 2.0  # points of training accuracy; on mnist_5k typical decays cost none
MAX_GAINED = 5.0  # points of held-out accuracy; with a fifth of the labels wrong the best decay gained 10, else 0.6
LEAST = 0.3  # of the smallest decay: where 0 is drawn on a logarithmic axis


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWeightDecaySettings:
    """Settings.

    Attributes:
        decays: Strengths, each a copy, the first 0; in the unit of the task's own optimiser, else of AdamW.
        max_examples: Largest number of examples, a fifth of which is held out, counts.
        num_epochs: Passes over the others, counts.
        batch_size: Examples of a step, counts.
    """

    decays: tuple[float, ...] = (0.0, 0.01, 0.1, 1.0, 10.0)
    max_examples: int = 1000
    num_epochs: int = 40
    batch_size: int = 50


def measure(settings: OwnWeightDecaySettings, own: OwnTask, progress: Progress) -> Measured:
    """Train a copy with every decay."""
    data = own_data(own.task, most=settings.max_examples, seed=own.seed)
    require_classes(own.task, data)
    schooling = Schooling(num_epochs=settings.num_epochs, batch_size=settings.batch_size, seed=own.seed)
    found: dict[str, list[float]] = {"train": [], "held_out": []}
    for number, decay in enumerate(settings.decays):

        def look(learner: Learner, epoch: int, *, number: int = number) -> None:
            progress((number + epoch / settings.num_epochs) / len(settings.decays))
            if epoch == settings.num_epochs:
                found["train"].append(accuracy(learner, data, data.train))
                found["held_out"].append(accuracy(learner, data, data.held_out))

        train(replace(own.task, optimizer_factory=_decayed(own.task, decay)), data, schooling, look=look)
    return found


def judge(settings: OwnWeightDecaySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold that typical decays are a bias and no limit, and that none is worth much where labels are right."""
    claims: list[Claim] = []
    typical = [place for place, decay in enumerate(settings.decays) if 0 < decay <= TYPICAL]
    if typical:
        claims.append(
            Claim(
                text=Phrase("decays up to {decay} take nothing from the fit: they are no limit", decay=TYPICAL),
                measured=max(each["train"][0] - each["train"][place] for each in measured for place in typical),
                high=MAX_LOST,
                unit="points",
            )
        )
    means = [fmean(each["held_out"][place] for each in measured) for place in range(len(settings.decays))]
    claims.append(
        Claim(
            text=Phrase("no decay is worth much on held-out examples, as where labels are right"),
            measured=max(means) - means[0],
            high=MAX_GAINED,
            unit="points",
        )
    )
    return tuple(claims)


def draw(settings: OwnWeightDecaySettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw accuracy over decay."""
    positive = [decay for decay in settings.decays if decay > 0]
    places = [decay if decay > 0 else LEAST * min(positive, default=1.0) for decay in settings.decays]
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


def _decayed(task: Task, decay: float) -> OptimizerFactory:
    """Return the task's own optimiser with another decay where it decays anything, else AdamW."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if task.optimizer_factory is None:
            return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=decay)
        optimizer = task.optimizer_factory(parameters)
        groups = [group for group in optimizer.param_groups if group.get("weight_decay")]
        for group in groups or optimizer.param_groups:
            if "weight_decay" not in group:
                raise LabError(
                    f"{type(optimizer).__name__} has no weight_decay, and this experiment sets it. Leave the optimiser "
                    "out of the builder for AdamW, or give one that decays."
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
