from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.step_size import RateCourse, StepSize, does_harm, is_restless, stands_still


def regression(factory: OptimizerFactory | None) -> Task:
    """Least squares with a Hessian of 2: gradient descent is stable below a rate of 1."""
    inputs = torch.eye(4).repeat(8, 1) * 2
    model = nn.Linear(4, 1, bias=False)
    nn.init.constant_(model.weight, 0.1)
    return make_task(
        model, inputs, inputs @ torch.tensor([[1.0], [2.0], [3.0], [4.0]]), loss=F.mse_loss, optimizer_factory=factory
    )


def sgd(rate: float, momentum: float = 0.0) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=momentum)


def sizes(factory: OptimizerFactory | None) -> StepSize:
    return measure(gather(regression(factory), [StepSize], steps=20), StepSize)


@pytest.mark.parametrize("rate", [1.05, 3.0, 30.0])
def test_above_the_bound_the_given_rate_does_harm_and_smaller_ones_are_tried(rate: float) -> None:
    found = sizes(sgd(rate))

    assert does_harm(found.given)
    assert found.smaller
    assert found.bound == pytest.approx(1.0, rel=1e-2)
    assert min(each.rate for each in found.smaller) >= rate * 1e-4


def test_without_time_no_other_rate_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.probes.step_size.TIME_BUDGET", 0.0)

    assert not sizes(sgd(3.0)).smaller


@pytest.mark.parametrize("rate", [0.95, 0.1, 0.01])
def test_below_the_bound_no_other_rate_is_tried(rate: float) -> None:
    found = sizes(sgd(rate))

    assert not does_harm(found.given)
    assert found.smaller == found.larger == ()
    assert found.bound is None


def test_momentum_doubles_the_bound_almost() -> None:
    assert sizes(sgd(5.0, 0.9)).bound == pytest.approx(1.9, rel=1e-2)


@pytest.mark.parametrize("rate", [1e-7, 1e-8])
def test_a_rate_that_moves_nothing_is_tried_larger_until_that_is_worse(rate: float) -> None:
    found = sizes(sgd(rate))

    assert found.smaller == ()
    assert any(each.learns for each in found.larger)
    assert all(before.rate < after.rate for before, after in zip(found.larger, found.larger[1:], strict=False))
    assert found.larger[-1].end > min(each.end for each in found.larger)


@pytest.mark.parametrize(
    ("course", "harm", "restless"),
    [
        pytest.param(RateCourse(0.1, 2.0, 1.0, 0.0, learns=True), False, False, id="falls"),
        pytest.param(RateCourse(0.1, 2.0, 2.0, 0.0, learns=False), True, False, id="stands"),
        pytest.param(RateCourse(0.1, 2.0, 1.9, 0.6, learns=False), True, True, id="jumps and learns nothing"),
        pytest.param(RateCourse(0.1, 2.0, 1.9, 0.6, learns=True), False, True, id="jumps and learns"),
        pytest.param(RateCourse(0.1, 2.0, 1.9, 0.1, learns=False), False, False, id="slow"),
    ],
)
def test_harm_is_told_from_slowness(course: RateCourse, *, harm: bool, restless: bool) -> None:
    assert (does_harm(course), is_restless(course)) == (harm, restless)


@pytest.mark.parametrize(
    ("course", "still"),
    [
        pytest.param(RateCourse(1e-9, 2.0, 2.0, 1e-7, learns=False), True, id="rounding"),
        pytest.param(RateCourse(1e-9, 2.0, 2.0 + 1e-6, 1e-6, learns=False), True, id="rounding upwards"),
        pytest.param(RateCourse(1e-3, 2.0, 1.99, 0.0, learns=False), False, id="falls slowly"),
        pytest.param(RateCourse(1.0, 2.0, 2.0, 0.5, learns=False), False, id="jumps and comes back"),
        pytest.param(RateCourse(1.0, 2.0, float("inf"), float("inf"), learns=False), False, id="diverges"),
    ],
)
def test_a_loss_that_stands_still_is_told_from_one_that_comes_back(course: RateCourse, *, still: bool) -> None:
    assert stands_still(course) == still


def strange(_: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)


def scheduled(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
    return optimizer


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        pytest.param(lambda: None, "no optimiser was given", id="none"),
        pytest.param(lambda: scheduled, "a schedule holds the learning rate", id="warm-up"),
        pytest.param(lambda: strange, "does not hold", id="another model's"),
    ],
)
def test_a_step_that_cannot_be_judged_says_why(factory: Callable[[], OptimizerFactory | None], reason: str) -> None:
    with pytest.raises(NotMeasuredError, match=reason):
        sizes(factory())
