"""A gradient that fades by less than its bound is named where it alone keeps a network from learning, nowhere else."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.checking.check import check
from isometry.checking.settings import DEFAULT, Settings
from isometry.findings.gradients import SAFE_TOTAL_DECAY
from isometry.report.finding import Finding

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


def doubts_on(
    build: Callable[[], nn.Module],
    factory: Callable[[Parameters], Optimizer] | None = sgd,
    *,
    labels: Tensor = LABELS,
    settings: Settings = DEFAULT,
    is_fresh: bool = True,
) -> list[Finding]:
    torch.manual_seed(0)
    task = make_task(build(), IMAGES, labels, loss=F.cross_entropy, optimizer_factory=factory)
    return [
        each for each in check(replace(task, is_fresh=is_fresh), settings=settings).findings if each.severity != "note"
    ]


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
def test_a_start_that_alone_keeps_a_network_from_learning_is_a_proved_warning(
    build: Callable[[], nn.Module], factory: Callable[[Parameters], Optimizer]
) -> None:
    (found,) = doubts_on(build, factory)

    assert (found.code, found.severity, found.because) == ("BWD101", "warning", None)
    assert found.measured is not None
    assert found.measured < SAFE_TOTAL_DECAY
    assert "80 steps of SGD" in found.cause
    assert found.proof is not None
    assert found.proof.confirmed


@pytest.mark.parametrize(
    ("build", "factory"),
    [
        pytest.param(lambda: small(perceptron(3)), adam, id="Adam learns from it"),
        pytest.param(lambda: small(perceptron(3)), None, id="no optimiser was given"),
        pytest.param(lambda: small(perceptron(3)), warming_up, id="a rate that is still to rise"),
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
    assert not doubts_on(build, factory)


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
    assert [each.code for each in doubts_on(lambda: small(perceptron(3)), factory, labels=labels)] == [code]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"settings": Settings(proofs=0)}, id="no proofs"),
        pytest.param({"settings": Settings(steps=0)}, id="no trial"),
        pytest.param({"settings": Settings(ignore=("BWD101",))}, id="the rule does not run"),
        pytest.param({"settings": Settings(thresholds={"BWD101": {"safe-decay": 6.4}})}, id="a bound of one's own"),
        pytest.param({"is_fresh": False}, id="pretrained"),
    ],
)
def test_a_doubt_needs_the_rule_its_bound_a_trial_a_proof_and_new_weights(arguments: dict[str, object]) -> None:
    assert not doubts_on(lambda: small(perceptron(3)), **arguments)  # pyright: ignore[reportArgumentType] - by name
