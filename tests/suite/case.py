"""Programs whose fault is known, each beside its repaired twin, and sound programs: what `check` is measured on.

They are written without a look at the rules, as users write them, and each is verified by training: the faulty one
ends clearly worse than its twin, the twin and the sound one learn (`python -m benchmarks.suite verify`).
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from isometry.anatomy.task import OptimizerFactory, Task
from tests.suite.training import Metric, loss_of_batch

FAULTY: "dict[str, Faulty]" = {}
SOUND: "dict[str, Sound]" = {}

Program = Callable[..., Task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """A program that does not train as it should.

    Attributes:
        name: What it is, in words.
        first: The name it was written for.
        labels: Names of findings that are true of it; one of them must lead.
        modules: Modules or parameters, one of which a true finding should name; empty if the fault has no place.
        build: Makes the task; the caller seeds torch's global generator.
        twin: Makes the same task, repaired.
        steps: Steps of training after which the two are told apart, counts.
        metric: What the user looks at, lower is better.
    """

    name: str
    first: str
    labels: frozenset[str]
    modules: tuple[str, ...]
    build: Callable[[], Task]
    twin: Callable[[], Task]
    steps: int
    metric: Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A program that trains: none may get an error or a warning.

    Attributes:
        name: What it is, in words.
        build: Makes the task; the caller seeds torch's global generator.
        steps: Steps of training after which it has visibly learnt, counts.
        metric: What the user looks at, lower is better.
    """

    name: str
    build: Callable[[], Task]
    steps: int
    metric: Metric


def faulty(
    *labels: str, modules: tuple[str, ...] = (), steps: int = 150, metric: Metric = loss_of_batch
) -> Callable[[Program], Program]:
    """Return a decorator that enters a program with an argument `broken`: with it the fault, without it the twin."""

    def enter(program: Program) -> Program:
        name = program.__name__.replace("_", "-")
        assert name not in FAULTY, name
        FAULTY[name] = Faulty(
            name=name,
            first=labels[0],
            labels=frozenset(labels),
            modules=modules,
            build=functools.partial(program, broken=True),
            twin=functools.partial(program, broken=False),
            steps=steps,
            metric=metric,
        )
        return program

    return enter


def sound(*, steps: int = 150, metric: Metric = loss_of_batch) -> Callable[[Program], Program]:
    """Return a decorator that enters a program that trains."""

    def enter(program: Program) -> Program:
        name = program.__name__.replace("_", "-")
        assert name not in SOUND, name
        SOUND[name] = Sound(name=name, build=program, steps=steps, metric=metric)
        return program

    return enter


def adam(rate: float = 1e-3) -> OptimizerFactory:
    return lambda parameters: torch.optim.Adam(trainable(parameters), lr=rate)


def sgd(rate: float, momentum: float = 0.0) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(trainable(parameters), lr=rate, momentum=momentum)


def trainable(parameters: Iterable[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]
