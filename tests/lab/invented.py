"""Experiments of the tests: they are in the tables only while a test runs, and need no worker of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

from isometry._errors import BuilderError, NotApplicableError
from isometry._phrases import Phrase
from isometry.lab import runner
from isometry.lab.engine.trial import Progress
from isometry.lab.experiment import EXPERIMENTS, ON_TASK, Claim, Experiment, Measured, OnTask, OwnTask
from isometry.lab.figure import Figure, Series

ODD = 4  # outputs, of which the choosy experiment says that their builder is mistaken
MODEL = "import torch\n\n\ndef build():\n    return torch.nn.Linear(3, {outputs}), torch.ones(4, 3)\n"


@dataclass(frozen=True, slots=True)
class Inner:
    depth: int = 2
    rates: tuple[float, ...] = (0.1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class InventedSettings:
    factor: float = 2.0
    width: int = 3
    name: str = "one"
    kind: Literal["plain", "bent"] = "plain"
    is_wide: bool = False
    limit: float | None = None
    sizes: tuple[int, ...] = (1, 2)
    hidden: tuple[tuple[int, ...], ...] = ((4, 4), (8,))
    pair: tuple[int, str] = (1, "a")
    inner: Inner = field(default_factory=Inner)
    broken: tuple[int, ...] = ()


def measure(settings: InventedSettings, seed: int, progress: Progress) -> Measured:
    if seed in settings.broken:
        raise ArithmeticError(f"seed {seed} is broken")
    progress(1.0)
    return {"value": settings.factor * (seed + 1)}


def judge(_: InventedSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    least, most = (end(each["value"] for each in measured) for end in (min, max))
    return (
        Claim(text=Phrase("the network knows no digit at all"), measured=least, low=0.0, unit="decades"),
        Claim(text=Phrase("its value is small"), measured=most, high=7.0),
    )


def draw(_: InventedSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    values = [each["value"] for each in measured]
    curve = Series(name="value <b>", x=range(len(values)), y=values)
    return (Figure(key="values", title="Values & seeds", x_axis="seed", y_axis="value", series=(curve,)),)


def measure_own(_: InventedSettings, own: OwnTask, progress: Progress) -> Measured:
    progress(1.0)
    return {"value": float(sum(each.numel() for each in own.task.model.parameters())) / 100}


def refuse_own(_: InventedSettings, own: OwnTask, __: Progress) -> Measured:
    """Not apply to models of up to three outputs, and find fault with the builder of those of four."""
    outputs = len(own.task.model(own.task.batch.inputs)[0])
    if outputs == ODD:
        raise BuilderError("the loss does not use the targets.")
    if outputs < ODD:
        raise NotApplicableError(Phrase("the model has {count} outputs, and this experiment needs 5.", count=outputs))
    return {"value": 1.0}


def experiment(name: str) -> Experiment[Any]:
    """Return an experiment whose claim fails where the factor is large."""
    return Experiment(
        name=name,
        question=Phrase("How large is a value?"),
        quick=InventedSettings(),
        paper=InventedSettings(width=300),
        measure=measure,
        judge=judge,
        draw=draw,
        source="Nobody 2026.",
    )


OWN: OnTask[Any] = OnTask(
    question=Phrase("How large is this network?"),
    settings=InventedSettings(),
    measure=measure_own,
    judge=judge,
    draw=draw,
)


CHOOSY: OnTask[Any] = OnTask(
    question=Phrase("How large is this network?"),
    settings=InventedSettings(),
    measure=refuse_own,
    judge=judge,
    draw=draw,
)


@contextmanager
def only_invented() -> Iterator[None]:
    """Let the tables hold `first`, which also runs on a model of one's own, and `second`, and nothing else."""
    with (
        mock.patch.object(runner, "load_experiments"),
        mock.patch.object(EXPERIMENTS, "_things", {name: experiment(name) for name in ("first", "second")}),
        mock.patch.object(ON_TASK, "_things", {"first": OWN}),
    ):
        yield
