"""Runs a task once for all probes that are needed, and hands each of them the same evidence."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.reading import Anatomy, read
from isometry.anatomy.record import Step, record_step
from isometry.anatomy.recorder import Observer
from isometry.anatomy.task import Task
from isometry.probes.statistics import OutputNumbers, OutputStatistics

M = TypeVar("M")


class NotMeasuredError(Exception):
    """A probe cannot measure this task; its argument says why, and the rule is skipped with that reason."""

    @property
    def reason(self) -> str:
        """Why, as it was given: a Phrase stays one, which `str` of the error would not leave it."""
        return self.args[0]


class NoSubjectError(NotMeasuredError):
    """A probe cannot measure this task since the task has nothing of the kind, however it starts and runs."""


class Evidence:
    """One recorded step of a task, with what its observers saw.

    Attributes:
        task: The task that ran.
        seed: Seed of its random numbers.
        steps: Most optimiser steps of a trial on a copy; 0 if none may be made.
        step: The recorded forward and backward pass.
        anatomy: What the tape means.
        is_meta: Whether the model lies on the meta device or holds fake tensors, which have shapes but no numbers.
        is_finite: Whether the loss is finite.
        measured: The measurements made so far, by kind.
        failed: Why others could not be made, by kind; none of them is tried again.
        start: When the work began, in seconds of `time.perf_counter`.
    """

    def __init__(self, task: Task, *, seed: int, observers: Iterable[type[Any]], steps: int = 0) -> None:
        self.start = time.perf_counter()
        self.task = task
        self.seed = seed
        self.steps = steps
        wanted = dict.fromkeys([OutputStatistics, *observers])
        self._observers = {kind: kind() for kind in wanted}
        self.step: Step = record_step(task, cast("list[Observer]", list(self._observers.values())), seed=seed)
        self.anatomy: Anatomy = read(self.step.tape)
        self.measured: dict[type[Any], Any] = {}
        self.failed: dict[type[Any], NotMeasuredError] = {}
        self.is_meta = not has_numbers(self.step.loss)
        self.is_finite = self.is_meta or bool(self.step.loss.isfinite())

    @cached_property
    def numbers(self) -> dict[int, OutputNumbers]:
        """What each operation's output was reduced to, by its index."""
        return self.observer(OutputStatistics).numbers()

    def observer(self, kind: type[M]) -> M:
        """Return the observer of a kind that a probe asked for."""
        return cast("M", self._observers[kind])


@dataclass(frozen=True, slots=True)
class Probe:
    """How one kind of measurement is made: which observers must have watched, and what is read from them."""

    measurement: type[Any]
    observers: tuple[type[Any], ...]
    measure: Callable[[Evidence], Any]


PROBES: dict[type[Any], Probe] = {}
STRUCTURAL: set[type[Any]] = set()  # kinds of measurement that need shapes and no numbers


def structural(measurement: type[M]) -> type[M]:
    """Mark a kind of measurement that can be made on the meta device."""
    STRUCTURAL.add(measurement)
    return measurement


def probe(measurement: type[M], *observers: type[Any]) -> Callable[[Callable[[Evidence], M]], Callable[[Evidence], M]]:
    """Enter a function as the probe of a kind of measurement."""

    def enter(measure: Callable[[Evidence], M]) -> Callable[[Evidence], M]:
        assert measurement not in PROBES, f"{measurement.__name__} has two probes"
        PROBES[measurement] = Probe(measurement, observers, measure)
        return measure

    return enter


def measure(evidence: Evidence, measurement: type[M]) -> M:
    """Return one kind of measurement, made when it is first asked for.

    Raises:
        NotMeasuredError: If this task does not allow it, with the reason.
    """
    if evidence.is_meta and measurement not in STRUCTURAL:
        raise NotMeasuredError("the model is on the meta device, which has shapes but no numbers")
    if measurement in evidence.failed:
        raise evidence.failed[measurement]
    if measurement not in evidence.measured:
        try:
            evidence.measured[measurement] = PROBES[measurement].measure(evidence)
        except NotMeasuredError as reason:
            evidence.failed[measurement] = reason
            raise
    return cast("M", evidence.measured[measurement])


def gather(task: Task, measurements: Iterable[type[Any]], *, seed: int = 0, steps: int = 0) -> Evidence:
    """Run a task once, watched by the observers that these measurements need and by no others.

    Args:
        task: The task; nothing in it is changed.
        measurements: The kinds of measurement that will be asked of the evidence.
        seed: Seed of the random numbers of the forward pass.
        steps: Most optimiser steps of a trial on a copy of the model, made when a rule asks for it; counts.

    Returns:
        What `measure` reads.

    Raises:
        ModelError: If the model fails on its batch.
    """
    observers = [observer for kind in measurements for observer in PROBES[kind].observers]
    return Evidence(task, seed=seed, observers=observers, steps=steps)
