import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.probes.course import run_course
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.losses import LossReading
from isometry.probes.trial import constant_of
from isometry.probes.trial_result import Failure, TrialResult

Parameters = Iterable[nn.Parameter]


def network(*, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 3))


def task_of(model: nn.Module, factory: OptimizerFactory | None = None) -> Task:
    """Forty examples whose label is that of the largest of three features."""
    inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    return make_task(model, inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy, optimizer_factory=factory)


def trial(task: Task, steps: int = 20) -> TrialResult:
    return measure(gather(task, [TrialResult], steps=steps), TrialResult)


def sgd(rate: float) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def test_the_losses_are_those_of_a_loop_written_by_hand() -> None:
    task, model = task_of(network(), sgd(0.5)), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    expected: list[float] = []
    for _ in range(6):
        loss = F.cross_entropy(model(task.batch.inputs), task.batch.targets)
        expected.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert trial(task, steps=5).losses == pytest.approx(expected)


def test_the_update_ratios_are_those_of_the_first_step() -> None:
    task, model = task_of(network(), sgd(0.5)), network()
    F.cross_entropy(model(task.batch.inputs), task.batch.targets).backward()
    expected = [
        0.5 * float((each.grad.norm() / each.norm()).detach()) for each in model.parameters() if each.grad is not None
    ]

    assert [each.ratio for each in trial(task).updates] == pytest.approx(expected, rel=1e-4)


def test_a_network_that_can_learn_its_batch_learns() -> None:
    assert trial(task_of(network(), sgd(0.5))).learns


def test_outputs_that_are_alike_for_all_samples_never_learn() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(torch.zeros_like(x))

    result = trial(task_of(Blind(), sgd(0.5)), steps=200)

    assert not result.learns
    assert result.constant is not None
    assert result.losses[-1] == pytest.approx(result.constant, rel=1e-2)


def test_outputs_that_tell_samples_apart_by_accident_have_not_learnt() -> None:
    model = network()
    inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    lucky = model(inputs).argmax(1)

    assert not trial(make_task(model, inputs, lucky, loss=F.cross_entropy, optimizer_factory=sgd(1e-9))).learns


@pytest.mark.parametrize(
    ("reading", "least"),
    [
        pytest.param(
            LossReading(0, "cross_entropy", 2.0, math.log(3), 3, prior=(0.5, 0.5, 0.0)), math.log(2), id="labels"
        ),
        pytest.param(
            LossReading(0, "binary_cross_entropy", 1.0, math.log(2), 2, prior=(0.5, 1.0)), math.log(2) / 2, id="bits"
        ),
        pytest.param(LossReading(0, "mse_loss", 9.0, 4.0, target_mean=3.0), 4.0, id="squares"),
    ],
)
def test_the_constant_is_the_least_of_outputs_that_are_alike(reading: LossReading, least: float) -> None:
    assert constant_of(reading) == pytest.approx(least)


def plain(_: nn.Module) -> OptimizerFactory:
    return sgd(0.5)


def fused(_: nn.Module) -> OptimizerFactory:
    return lambda given: torch.optim.Adam(given, lr=0.1, fused=True)


def with_closure(_: nn.Module) -> OptimizerFactory:
    return torch.optim.LBFGS


def in_groups(_: nn.Module) -> OptimizerFactory:
    return lambda given: torch.optim.SGD([{"params": list(given), "lr": 0.5}])


def shared(model: nn.Module) -> OptimizerFactory:
    """A factory that ignores what it is given and takes the model that it knows."""
    return lambda _: torch.optim.SGD(model.parameters(), lr=0.5)


def in_use(model: nn.Module) -> OptimizerFactory:
    """A factory that returns the optimiser that trains the model."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.randn(4, 8)).sum().backward()
    optimizer.step()
    torch.optim.lr_scheduler.StepLR(optimizer, 10)  # replaces optimizer.step
    return lambda _: optimizer


@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(plain, id="SGD"),
        pytest.param(fused, id="fused"),
        pytest.param(with_closure, id="needs a closure"),
        pytest.param(in_groups, id="groups"),
        pytest.param(shared, id="closes over the model"),
        pytest.param(in_use, id="is in use"),
    ],
)
def test_whatever_makes_the_optimiser_the_copy_learns_and_the_model_stays(
    factory: Callable[[nn.Module], OptimizerFactory],
) -> None:
    model = network(dropout=0.1)
    task = task_of(model, factory(model))
    gradients = [None if each.grad is None else each.grad.clone() for each in model.parameters()]
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    result = trial(task)

    assert result.learns
    assert (result.num_strangers, result.missed) == (0, ())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [str(each.grad) for each in model.parameters()] == [str(each) for each in gradients]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_optimiser_in_use_keeps_its_own_state() -> None:
    model = network()
    factory = in_use(model)
    optimizer = factory(())
    before = copy.deepcopy(optimizer.state_dict())
    trial(task_of(model, factory))

    assert str(optimizer.state_dict()) == str(before)


def test_parameters_of_another_model_are_strangers() -> None:
    other = network()
    result = trial(task_of(network(), lambda _: torch.optim.SGD(other.parameters(), lr=0.5)))

    assert result.num_strangers == 4
    assert result.missed == ("0.weight", "0.bias", "3.weight", "3.bias")
    assert not result.learns


def test_a_part_that_the_optimiser_does_not_hold_is_missed() -> None:
    model = network()

    assert trial(task_of(model, lambda _: torch.optim.SGD(model[3].parameters(), lr=0.5))).missed == (
        "0.weight",
        "0.bias",
    )


def test_a_step_that_calls_backward_itself_is_trained_like_any_other() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch.inputs), batch.targets)
        loss.backward()
        return loss.detach()

    task = task_of(network(), sgd(0.5))
    own = Task(model=network(), batch=task.batch, step=step, optimizer_factory=sgd(0.5))

    assert trial(own).losses == trial(task).losses


def test_a_batch_that_a_step_overwrites_comes_anew_to_each() -> None:
    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch.inputs.mul_(2)), batch.targets)

    task = task_of(network())
    inputs = task.batch.inputs.clone()
    course = run_course(Task(model=network(), batch=task.batch, step=step), steps=3, seed=0)

    assert torch.equal(task.batch.inputs, inputs)
    assert course.losses[0] > course.losses[3] > 0.5 * course.losses[0]


@pytest.mark.parametrize(
    ("rate", "failure"),
    [
        pytest.param(1e30, Failure(1, None), id="a loss that overflows"),
        pytest.param(math.inf, Failure(1, "0.weight"), id="a weight that overflows"),
    ],
)
def test_the_first_number_that_is_not_finite_is_told(rate: float, failure: Failure) -> None:
    result = trial(task_of(network(), lambda given: torch.optim.Adam(given, lr=rate)))

    assert result.failure == failure
    assert not math.isfinite(result.losses[-1])
    assert not result.learns


def test_a_smaller_rate_is_a_factor_of_every_groups_own() -> None:
    def factory(given: Parameters) -> torch.optim.Optimizer:
        first, *others = given
        return torch.optim.SGD([{"params": [first], "lr": 2.0}, {"params": others}], lr=0.5)

    task = task_of(network(), factory)
    whole, tenth = (run_course(task, steps=1, seed=0, rate_factor=factor) for factor in (1.0, 0.1))

    assert [each.ratio for each in tenth.updates] == pytest.approx(
        [each.ratio / 10 for each in whole.updates], rel=1e-3
    )


@pytest.mark.parametrize(
    ("task", "steps", "reason"),
    [
        pytest.param(task_of(network()), 0, "switched off", id="no steps"),
        pytest.param(
            task_of(network(), lambda given: torch.optim.SGD(given, lr=-1.0)),
            20,
            "Invalid learning rate",
            id="bad rate",
        ),
        pytest.param(
            Task(model=network(), batch=None, step=lambda m, _: next(m.parameters()).log().sum()),
            20,
            "finite",
            id="nan",
        ),
    ],
)
def test_what_cannot_be_tried_says_why(task: Task, steps: int, reason: str) -> None:
    with pytest.raises(NotMeasuredError, match=reason):
        trial(task, steps)


def test_no_trial_is_made_where_a_step_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.probes.trial.TIME_BUDGET", 0.0)

    with pytest.raises(NotMeasuredError, match=r"a step takes .* seconds, and a trial may take 0"):
        trial(task_of(network()))


@pytest.mark.parametrize(("can_learn", "learns"), [(True, True), (False, False)])
def test_a_loss_that_is_not_known_is_judged_by_targets_of_other_samples(*, can_learn: bool, learns: bool) -> None:
    def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().pow(1.5).mean()

    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    targets = inputs[:, :3].clone()
    task = make_task(network(), inputs if can_learn else torch.ones(64, 8), targets, loss=absolute)

    assert trial(Task(model=task.model, batch=task.batch, step=task.step, optimizer_factory=sgd(0.5))).learns == learns
