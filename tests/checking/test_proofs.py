"""What experiments on a copy say of the leading cause, and what folds under it."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.checking.check import diagnose
from isometry.checking.settings import Settings
from isometry.report.diagnosis import Diagnosis
from isometry.report.finding import Finding
from tests.findings.broken import BROKEN, with_biases
from tests.findings.networks import Function, classify, he, stack

WITHOUT_STEPS = Settings(steps=0)
WITHOUT_PROOFS = Settings(proofs=0)


def separable(model: nn.Module, *, scale: float = 1.0, shift: float = 0.0, count: int = 256) -> Task:
    """A task that a network can learn: which of three numbers is the largest."""
    inputs = torch.randn(count, 8)
    return make_task(model, shift + scale * inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy)


def with_rate(task: Task, rate: float) -> Task:
    return replace(task, optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9))


def regression(model: nn.Module, change: Callable[[Tensor], Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> Task:
    inputs = torch.randn(256, 8)
    return make_task(model, inputs, change(inputs[:, :2].sum(1, keepdim=True)), loss=loss)


PROVED: dict[str, tuple[str, str, Callable[[], Task]]] = {
    "softmax before cross-entropy": (
        "wrong-output-activation",
        "the softmax at the output left out",
        lambda: separable(nn.Sequential(*stack(8, 64, 3), nn.Softmax(1))),
    ),
    "sigmoid behind a regression": (
        "wrong-output-activation",
        "the sigmoid at the output left out",
        lambda: regression(nn.Sequential(*stack(8, 64, 1), nn.Sigmoid()), lambda y: 3 * y + 8, F.mse_loss),
    ),
    "targets in a row": (
        "broadcast-targets",
        "the targets in the shape of the outputs",
        lambda: regression(stack(8, 64, 1), lambda y: 3 * y.flatten(), lambda out, y: (out - y).square().mean()),
    ),
    "inputs in the thousands": (
        "unnormalised-input",
        "the inputs standardised",
        lambda: separable(stack(8, 64, 64, 3, activation=nn.Tanh), scale=100.0, shift=3000.0),
    ),
    "constant weights": (
        "constant-weights",
        "'0', '2' drawn anew",
        BROKEN["all-weights-a-twentieth"][1],
    ),
    "dead units": ("dying-relu", "'0', '2' drawn anew", lambda: separable(with_biases(stack(8, 64, 64, 3), -9.0))),
    "a step": (
        "no-gradient",
        "the gradient let through sign",
        lambda: separable(nn.Sequential(nn.Linear(8, 64), Function(torch.sign), nn.Linear(64, 3))),
    ),
    "a missing value": ("nan-inf", "zeros in the place", BROKEN["nan-in-the-batch"][1]),
    "a logarithm of zero": (
        "nan-inf",
        "what log reads kept off the edge",
        lambda: separable(nn.Sequential(*stack(8, 64, 3), nn.ReLU(), Function(torch.log))),
    ),
    "too large a step": (
        "learning-rate-too-high",
        "a learning rate of 0.5",
        lambda: with_rate(separable(stack(8, 64, 64, 3)), 5.0),
    ),
    "too small a step": (
        "learning-rate-too-low",
        "a learning rate of ",
        lambda: with_rate(separable(stack(8, 64, 64, 3)), 1e-7),
    ),
}


def leading(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.because is None and finding.severity != "note"]


@pytest.mark.parametrize("name", PROVED)
def test_a_true_cause_is_confirmed_by_an_experiment(name: str) -> None:
    finding, change, build = PROVED[name]
    torch.manual_seed(0)
    (cause,) = leading(diagnose(build()))

    assert cause.name == finding
    assert cause.proof is not None
    assert cause.proof.change.startswith(change)
    assert cause.proof.confirmed
    assert cause.proof.loss_after is not None
    assert math.isfinite(cause.proof.loss_after)


def test_a_proof_shows_the_number_of_its_finding_and_the_loss() -> None:
    torch.manual_seed(0)
    (cause,) = leading(diagnose(separable(with_biases(stack(8, 64, 64, 3), -9.0))))

    assert cause.proof is not None
    assert (cause.proof.before, cause.proof.unit) == (cause.measured, "")
    assert cause.allowed is not None
    assert cause.proof.after < cause.allowed
    assert cause.proof.loss_before is not None
    assert cause.proof.loss_after is not None
    assert cause.proof.loss_after < cause.proof.loss_before


def test_a_proof_without_a_number_shows_the_loss_alone() -> None:
    torch.manual_seed(0)
    (cause,) = leading(diagnose(BROKEN["all-weights-a-twentieth"][1]()))

    assert cause.proof is not None
    assert cause.proof.unit == "loss after 20 steps"
    assert (cause.proof.before, cause.proof.after) == (cause.proof.loss_before, cause.proof.loss_after)


def test_what_new_weights_do_not_change_gets_another_change_and_another_remedy() -> None:
    torch.manual_seed(0)
    loud = nn.Sequential(nn.Linear(8, 64), Function(lambda x: torch.tanh(1000 * x)), nn.Linear(64, 3))
    (cause,) = leading(diagnose(make_task(loud, torch.randn(64, 8), torch.randint(3, (64,)), loss=F.cross_entropy)))

    assert cause.name == "saturated-activation"
    assert cause.proof is not None
    assert cause.proof.change == "what tanh reads divided by its deviation"
    assert cause.proof.confirmed
    assert cause.remedy.kind == "model"
    assert "New weights do not cure" in cause.remedy.text


def test_a_cause_that_no_change_removes_is_not_confirmed() -> None:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()) for _ in range(60)]
    model = nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 10))
    (cause,) = leading(diagnose(classify(he(model)), settings=WITHOUT_STEPS))

    assert cause.name == "exploding-gradient"
    assert cause.proof is not None
    assert not cause.proof.confirmed
    assert cause.allowed is not None
    assert cause.proof.after > cause.allowed


def test_what_goes_away_with_a_confirmed_change_folds_under_it() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(8, 64), *(nn.Linear(64, 64) for _ in range(3)), nn.Linear(64, 4)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.3)
    inputs = torch.randn(256, 8)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
    diagnosis = diagnose(make_task(nn.Sequential(*layers), inputs, labels, loss=F.cross_entropy))
    (cause,) = leading(diagnosis)

    assert cause.name == "missing-nonlinearity"
    assert {finding.name: finding.because for finding in diagnosis.findings}["start-loss"] == "FWD106"


def test_new_weights_that_leave_the_network_at_the_constant_predictor_are_no_proof() -> None:
    torch.manual_seed(0)
    hidden = [layer for _ in range(40) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    model = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), *hidden, nn.Linear(16, 4))
    inputs, labels = torch.randn(256, 8), torch.arange(256) % 4
    found = diagnose(make_task(model, inputs, labels, loss=F.cross_entropy)).findings
    drawn = [each for each in found if each.proof is not None and "drawn anew" in each.proof.change]

    assert drawn
    for finding in drawn:
        assert finding.proof is not None
        assert not finding.proof.confirmed or (finding.proof.loss_after or 0.0) < 0.95 * math.log(4)


@pytest.mark.parametrize("name", ["softmax before cross-entropy", "constant weights"])
def test_no_proof_is_made_where_none_is_wanted(name: str) -> None:
    torch.manual_seed(0)
    (cause,) = leading(diagnose(PROVED[name][2](), settings=WITHOUT_PROOFS))

    assert cause.proof is None


def test_no_proof_is_made_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.checking.experiments.TIME_BUDGET", 0.0)

    assert leading(diagnose(PROVED["softmax before cross-entropy"][2]()))[0].proof is None


def test_without_steps_a_statistic_is_proved_by_its_own_number_and_an_evident_change_is_not() -> None:
    torch.manual_seed(0)
    (dead,) = leading(diagnose(PROVED["dead units"][2](), settings=WITHOUT_STEPS))
    (doubled,) = leading(diagnose(PROVED["softmax before cross-entropy"][2](), settings=WITHOUT_STEPS))

    assert dead.proof is not None
    assert dead.proof.confirmed
    assert dead.proof.loss_after is None
    assert doubled.proof is None or not doubled.proof.confirmed


def test_a_line_of_code_is_given_for_what_initialisation_cannot_change_also_without_a_proof() -> None:
    torch.manual_seed(0)
    (cause,) = leading(diagnose(PROVED["inputs in the thousands"][2](), settings=WITHOUT_PROOFS))

    assert cause.remedy.suggestion.startswith("x = inputs.double(); inputs = ((x - x.mean(0))")


@pytest.mark.parametrize("name", ["softmax before cross-entropy", "constant weights", "a step", "too large a step"])
def test_experiments_leave_model_batch_and_random_state_as_they_were(name: str) -> None:
    torch.manual_seed(0)
    task = PROVED[name][2]()
    before = {key: tensor.clone() for key, tensor in task.model.state_dict().items()}
    inputs, state = task.batch.inputs.clone(), torch.random.get_rng_state()
    diagnose(task)

    assert all(torch.equal(tensor, before[key]) for key, tensor in task.model.state_dict().items())
    assert all(parameter.grad is None for parameter in task.model.parameters())
    assert torch.equal(task.batch.inputs, inputs)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_model_that_cannot_be_copied_gets_its_findings_without_a_proof() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*stack(8, 64, 3), nn.Softmax(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def __deepcopy__(self, memo: dict[int, object]) -> "Alone":
            raise TypeError("this model is one of a kind")

    torch.manual_seed(0)
    (cause,) = leading(diagnose(separable(Alone())))

    assert cause.name == "wrong-output-activation"
    assert cause.proof is None
