"""A gradient that fades by less than its bound is noted where new weights alone begin to learn, and nowhere else."""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.checking.check import check, gather_for
from isometry.checking.doubts import doubted
from isometry.checking.settings import DEFAULT, Settings
from isometry.findings import RULES
from isometry.findings.gradients import SAFE_TOTAL_DECAY
from isometry.probes.courses import GradientCourse
from isometry.probes.evidence import measure
from isometry.probes.recurrence import TimeTrace
from isometry.repair import plan
from isometry.report.diagnosis import Diagnosis
from isometry.report.finding import Finding
from isometry.report.terminal import terminal_text

PIXELS, DIGITS = load_digits(return_X_y=True)
IMAGES, LABELS = torch.tensor(PIXELS[:128] / 16).float(), torch.tensor(DIGITS[:128])
WIDTH = 192

Parameters = Iterable[Tensor]
Optimizer = torch.optim.Optimizer


def small(model: nn.Module, deviation: float = 0.01) -> nn.Module:
    """Draw weights as the textbook does first: with one deviation, whatever the fan."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=deviation)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return model


def perceptron(
    depth: int, activation: Callable[[], nn.Module] = nn.ReLU, *, norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise([64, *[WIDTH] * depth]):
        layers += [nn.Linear(into, out), *([norm(out)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH if depth else 64, 10))


def convolutions(depth: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for into, out in itertools.pairwise([1, *[16] * depth]):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))


class Residual(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 10)
        branches = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(depth)]
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x)


def zero_ends() -> nn.Module:
    model = Residual(5)
    for branch in model.branches:
        assert isinstance(branch, nn.Sequential)
        nn.init.zeros_(branch.get_parameter("2.weight"))
    return model


def zero_head(depth: int) -> nn.Module:
    model = perceptron(depth)
    nn.init.zeros_(model[-1].get_parameter("weight"))
    return model


def he(depth: int) -> nn.Module:
    model = perceptron(depth)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def sgd(parameters: Parameters, rate: float = 0.1) -> Optimizer:
    return torch.optim.SGD(parameters, lr=rate)


def gentle(parameters: Parameters) -> Optimizer:
    return sgd(parameters, 0.01)


def slow(parameters: Parameters) -> Optimizer:
    return sgd(parameters, 1e-4)


def with_momentum(parameters: Parameters) -> Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(parameters: Parameters) -> Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3)


def warming_up(parameters: Parameters) -> Optimizer:
    optimizer = sgd(parameters)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5)
    return optimizer


def one_cycle(parameters: Parameters) -> Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=1000)
    return optimizer


def cyclic(parameters: Parameters) -> Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.004, max_lr=0.1)
    return optimizer


def task_of(
    build: Callable[[], nn.Module], factory: Callable[[Parameters], Optimizer] | None = sgd, labels: Tensor = LABELS
) -> Task:
    torch.manual_seed(0)
    return make_task(build(), IMAGES, labels, loss=F.cross_entropy, optimizer_factory=factory)


def doubts_in(diagnosis: Diagnosis) -> list[Finding]:
    return [each for each in diagnosis.findings if "do not teach it" in each.cause]


@pytest.mark.parametrize(
    ("build", "factory"),
    [
        pytest.param(lambda: small(perceptron(3)), sgd, id="three layers of deviation a hundredth"),
        pytest.param(lambda: small(perceptron(4)), with_momentum, id="four, with momentum"),
        pytest.param(lambda: perceptron(8), gentle, id="eight rectified layers of torch's own start"),
        pytest.param(lambda: perceptron(4, nn.Sigmoid), sgd, id="four sigmoid layers"),
        pytest.param(lambda: perceptron(12, nn.Tanh), sgd, id="twelve tanh layers"),
        pytest.param(lambda: small(convolutions(3)), sgd, id="three convolutions"),
    ],
)
def test_a_start_from_which_new_weights_alone_begin_to_learn_is_noted(
    build: Callable[[], nn.Module], factory: Callable[[Parameters], Optimizer]
) -> None:
    diagnosis = check(task_of(build, factory))

    (found,) = doubts_in(diagnosis)
    assert diagnosis.verdict == "healthy"
    assert (found.code, found.severity, found.because, found.proof) == ("BWD101", "note", None, None)
    assert found.measured is not None
    assert found.measured < SAFE_TOTAL_DECAY
    assert "80 steps of SGD" in found.cause
    assert "20 from new weights" in found.cause
    assert "80 steps of SGD" in terminal_text(diagnosis, width=1000)


def test_the_remedy_of_a_doubt_begins_to_learn_at_once() -> None:
    task = task_of(lambda: small(perceptron(3)))
    (found,) = doubts_in(check(task))

    assert "isometry init" in found.remedy.text
    plan(task).apply(task.model)
    trial = check(task).trial
    assert trial is not None
    assert trial.learns


@pytest.mark.parametrize(
    ("build", "factory"),
    [
        pytest.param(lambda: small(perceptron(3)), adam, id="Adam learns from it"),
        pytest.param(lambda: small(perceptron(3)), None, id="no optimiser was given"),
        pytest.param(lambda: small(perceptron(3)), with_momentum, id="in four times the steps it learns"),
        pytest.param(lambda: small(perceptron(3)), warming_up, id="a rate that is still to rise"),
        pytest.param(lambda: perceptron(8, nn.Tanh), one_cycle, id="one cycle of the rate"),
        pytest.param(lambda: perceptron(8, nn.Tanh), cyclic, id="cycles of the rate"),
        pytest.param(lambda: small(perceptron(0)), sgd, id="a softmax regression"),
        pytest.param(lambda: small(perceptron(1)), sgd, id="one hidden layer"),
        pytest.param(lambda: small(perceptron(2)), sgd, id="two hidden layers"),
        pytest.param(lambda: he(4), sgd, id="He's start"),
        pytest.param(lambda: he(4), slow, id="He's start at a low rate"),
        pytest.param(lambda: small(perceptron(5, norm=nn.BatchNorm1d)), sgd, id="batch norms"),
        pytest.param(lambda: small(perceptron(5, norm=nn.LayerNorm)), gentle, id="layer norms"),
        pytest.param(lambda: small(Residual(5)), sgd, id="residual branches"),
        pytest.param(zero_ends, sgd, id="branches that end in zeros"),
        pytest.param(lambda: zero_head(3), sgd, id="a head of zeros"),
        pytest.param(lambda: perceptron(4), with_momentum, id="a fall that little harm comes of"),
    ],
)
def test_what_learns_or_would_not_learn_from_another_start_either_is_left_in_peace(
    build: Callable[[], nn.Module], factory: Callable[[Parameters], Optimizer] | None
) -> None:
    diagnosis = check(task_of(build, factory))

    assert diagnosis.verdict == "healthy"
    assert not doubts_in(diagnosis)


@pytest.mark.parametrize(
    ("factory", "labels", "code"),
    [
        pytest.param(sgd, torch.zeros_like(LABELS), "DAT102", id="one class"),
        pytest.param(slow, LABELS, "TRN102", id="a rate at which no start learns"),
    ],
)
def test_what_has_another_cause_raises_no_doubt(
    factory: Callable[[Parameters], Optimizer], labels: Tensor, code: str
) -> None:
    diagnosis = check(task_of(lambda: small(perceptron(3)), factory, labels))

    assert [each.code for each in diagnosis.findings if each.severity != "note"] == [code]
    assert not doubts_in(diagnosis)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Settings(proofs=0), id="no proofs"),
        pytest.param(Settings(steps=0), id="no trial"),
        pytest.param(Settings(ignore=("BWD101",)), id="the rule does not run"),
        pytest.param(Settings(thresholds={"BWD101": {"safe-decay": 6.4}}), id="a bound of one's own"),
    ],
)
def test_a_doubt_needs_the_rule_its_bound_a_trial_and_experiments(settings: Settings) -> None:
    assert not doubts_in(check(task_of(lambda: small(perceptron(3))), settings=settings))


def test_pretrained_weights_raise_no_doubt() -> None:
    assert not doubts_in(check(replace(task_of(lambda: small(perceptron(3))), is_fresh=False)))


def test_where_a_check_has_no_time_left_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.checking.doubts.TIME_BUDGET", 0.0)
    monkeypatch.delattr("isometry.checking.doubts.run_course")  # nor is a step made

    assert not doubts_in(check(task_of(lambda: small(perceptron(3)))))


def test_steps_that_a_busy_machine_cuts_short_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(time.perf_counter(), 1e7)  # beyond the budget after the first look
    monkeypatch.setattr("isometry.checking.doubts.time", SimpleNamespace(perf_counter=lambda: next(clock)))

    assert not doubts_in(check(task_of(lambda: small(perceptron(3)))))


def test_what_fades_through_time_is_left_to_its_own_bounds() -> None:
    evidence = gather_for(task_of(lambda: small(perceptron(3))), [RULES["BWD101"]], settings=DEFAULT)
    course = measure(evidence, GradientCourse)
    trace = TimeTrace("rnn", gradient=(1.0, 1e-3, 1e-6), signal=(1.0, 1.0, 1.0), is_gated=False)
    evidence.measured[GradientCourse] = replace(course, time=(trace,))

    (found,) = doubted([], [RULES["BWD101"]], evidence, proofs=1)

    assert found.where != ("rnn",)


def test_beside_a_warning_there_is_no_doubt() -> None:
    evidence = gather_for(task_of(lambda: small(perceptron(3))), [RULES["BWD101"]], settings=DEFAULT)
    (note,) = doubted([], [RULES["BWD101"]], evidence, proofs=1)
    warning = replace(note, severity="warning")

    assert doubted([warning], [RULES["BWD101"]], evidence, proofs=1) == [warning]
    assert doubted([note], [RULES["BWD101"]], evidence, proofs=1) == [note, note]
