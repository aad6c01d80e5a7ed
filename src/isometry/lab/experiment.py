"""What an experiment of the lab is: a question, settings, a measurement a seed, and claims with their ranges."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from isometry._phrases import Phrase
from isometry._registry import Registry
from isometry.anatomy.task import Task
from isometry.lab.engine.trial import Progress
from isometry.lab.figure import Figure

Settings = TypeVar("Settings")
Measured = Mapping[str, Any]  # numbers, strings, lists and mappings of them: what JSON can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an experiment must show.

    Attributes:
        text: The claim in a sentence.
        measured: What was seen over all seeds, in `unit`.
        low: Least value that holds it up; minus infinity without.
        high: Largest value that does; infinity without.
        unit: Of the three, such as `%` or `nats a layer`.
    """

    text: Phrase
    measured: float
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the measured value lies in the range; one that is not a number holds up nothing."""
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(Generic[Settings]):
    """One experiment.

    Attributes:
        name: On the command line.
        question: What it answers, in one sentence.
        quick: Settings for seconds to two minutes on two cores, a frozen dataclass of numbers and strings.
        paper: Settings nearer to the source's.
        measure: From settings, seed and progress to what was measured: a pure function at the top of a module.
        judge: From settings and what each seed measured to the claims.
        draw: Likewise to the pictures, the one to show first first.
        source: Where the phenomenon is from.
    """

    name: str
    question: Phrase
    quick: Settings
    paper: Settings
    measure: Callable[[Settings, int, Progress], Measured]
    judge: Callable[[Settings, Sequence[Measured]], tuple[Claim, ...]]
    draw: Callable[[Settings, Sequence[Measured]], tuple[Figure, ...]]
    source: str


@dataclass(frozen=True, slots=True)
class OwnTask:
    """Somebody's own model to be measured, which is left as it was.

    Attributes:
        task: As `load_task` gives it.
        seed: Of all that is drawn for the measurement.
    """

    task: Task
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTask(Generic[Settings]):
    """An experiment as it runs on somebody's own model, under the name of the experiment that it belongs to.

    Attributes:
        question: What it answers about the model, in one sentence.
        settings: A frozen dataclass of numbers and strings.
        measure: From settings, task with seed, and progress to what was measured; the task is left as it was.
        judge: From settings and what each seed measured to what a sound model would show.
        draw: Likewise to the pictures, the one to show first first.
    """

    question: Phrase
    settings: Settings
    measure: Callable[[Settings, OwnTask, Progress], Measured]
    judge: Callable[[Settings, Sequence[Measured]], tuple[Claim, ...]]
    draw: Callable[[Settings, Sequence[Measured]], tuple[Figure, ...]]


EXPERIMENTS = Registry[Experiment[Any]]("experiment")
ON_TASK = Registry[OnTask[Any]]("experiment on a model of one's own")
