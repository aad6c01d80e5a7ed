"""A course of training ends with its time, and says whether the rate is still to rise."""

import itertools
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LambdaLR, LinearLR, OneCycleLR, StepLR

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.probes.course import MIN_STEPS, run_course
from isometry.probes.evidence import gather
from isometry.probes.trial import measure_trial


def task_of(factory: OptimizerFactory | None = None) -> Task:
    torch.manual_seed(0)
    return make_task(nn.Linear(4, 1), torch.randn(8, 4), torch.randn(8, 1), loss=F.mse_loss, optimizer_factory=factory)


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass with each look at the clock, of which there is one before each step but the first few."""
    clock = itertools.count()
    monkeypatch.setattr("isometry.probes.course.time", SimpleNamespace(perf_counter=lambda: float(next(clock))))


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, MIN_STEPS), (10.0, 11), (1000.0, 20)])
def test_no_step_is_begun_when_the_time_is_up_but_for_the_first_few(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    ticking(monkeypatch)

    assert len(run_course(task_of(), steps=20, seed=0, seconds=seconds).losses) == steps + 1


def test_without_a_bound_of_its_own_a_course_has_that_of_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    monkeypatch.setattr("isometry.probes.course.TIME_BUDGET", 10.0)

    evidence = gather(task_of(), [], steps=20)

    assert len(measure_trial(evidence).losses) == 12


SCHEDULES: dict[str, tuple[Callable[[Optimizer], object], bool]] = {  # and whether it is to raise the rate
    "steps": (lambda optimizer: StepLR(optimizer, 30), False),
    "cosine": (lambda optimizer: CosineAnnealingLR(optimizer, 100), False),
    "linear": (lambda optimizer: LinearLR(optimizer, 0.5), True),
    "lambda": (lambda optimizer: LambdaLR(optimizer, lambda step: min(1, (step + 1) / 10)), True),
    "one cycle": (lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=100), True),
    "one cycle of the rate alone": (
        lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=100, cycle_momentum=False),
        True,
    ),
    "cycles": (lambda optimizer: CyclicLR(optimizer, 0.004, 0.1), True),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_is_to_raise_the_rate_is_known(name: str) -> None:
    schedule, is_rising = SCHEDULES[name]

    def factory(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        schedule(optimizer)
        return optimizer

    assert run_course(task_of(factory), steps=3, seed=0).is_warming_up is is_rising
