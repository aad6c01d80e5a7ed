"""What `check`, `fix` and the command make of a model that torch refuses to run, for a reason that a rule names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import ModelError, RefusedError
from isometry.anatomy.task import Task, make_task
from isometry.checking.check import check, diagnose
from isometry.checking.settings import Settings
from isometry.checking.trainable import assert_trainable
from isometry.findings.rule import RULES
from isometry.repair import fix

LABELS = torch.tensor([0, 1, 2, 3])
Loss = Callable[[Tensor, Tensor], Tensor]


def normalised(samples: int) -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    return make_task(model, torch.randn(samples, 3), torch.zeros(samples, dtype=torch.long), loss=F.cross_entropy)


def compared(loss: Loss, targets: Tensor) -> Task:
    torch.manual_seed(0)
    return make_task(nn.Sequential(nn.Linear(3, 5)), 3 * torch.randn(4, 3), targets, loss=loss)


def sigmoid_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy(outputs.sigmoid(), targets)


def loss_of_logarithms(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy(outputs.log().sigmoid(), targets)


def constant_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.tensor(F.cross_entropy(outputs, targets).item())


def beyond_the_end(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[len(targets)].sum()


@pytest.mark.parametrize(
    ("task", "code", "where", "measured"),
    [
        pytest.param(normalised(1), "DAT104", ("1",), 1.0, id="a batch of one under batch norm"),
        pytest.param(compared(F.cross_entropy, LABELS + 2), "LOS103", ("targets",), 0.25, id="a label too many"),
        pytest.param(compared(F.nll_loss, LABELS - 1), "LOS103", ("targets",), 0.25, id="a label below zero"),
        pytest.param(
            compared(sigmoid_loss, torch.full((4, 5), 2.0)), "LOS103", ("targets",), 1.0, id="targets beyond one"
        ),
        pytest.param(
            compared(F.binary_cross_entropy, torch.ones(4, 5)),
            "LOS102",
            ("0",),
            None,
            id="raw numbers as probabilities",
        ),
        pytest.param(
            compared(loss_of_logarithms, torch.ones(4, 5)), "NUM101", ("0",), None, id="probabilities that are NaN"
        ),
        pytest.param(
            compared(sigmoid_loss, torch.full((4, 5), torch.nan)),
            "NUM101",
            ("targets",),
            20.0,
            id="targets that are NaN",
        ),
        pytest.param(compared(constant_loss, LABELS), "PAR101", ("0.weight", "0.bias"), 2.0, id="a constant loss"),
    ],
)
def test_a_failure_that_a_rule_names_is_its_one_finding(
    task: Task, code: str, where: tuple[str, ...], measured: float | None
) -> None:
    diagnosis = check(task)

    assert [(finding.code, finding.severity, finding.where) for finding in diagnosis.findings] == [
        (code, "error", where)
    ]
    assert diagnosis.verdict == "broken"
    assert measured is None or diagnosis.findings[0].measured == pytest.approx(measured)
    assert {skipped.code for skipped in diagnosis.skipped} == set(RULES) - {code}


def test_a_network_without_anything_to_train_gets_no_gradient() -> None:
    task = normalised(4)
    task.model.requires_grad_(False)

    assert [finding.name for finding in check(task).findings] == ["no-gradient"]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(compared(F.cross_entropy, LABELS[:3]), id="rows that do not match"),
        pytest.param(compared(F.nll_loss, LABELS[:, None]), id="labels in a column"),
        pytest.param(compared(beyond_the_end, LABELS), id="an index beyond the end"),
    ],
)
def test_any_other_failure_is_raised(task: Task) -> None:
    with pytest.raises(ModelError) as caught:
        check(task)

    assert not isinstance(caught.value, RefusedError)


def test_a_failure_is_raised_where_its_rule_was_not_to_run() -> None:
    with pytest.raises(RefusedError, match="more than 1 value"):
        diagnose(normalised(1), settings=Settings(ignore=("DAT104",)))


def test_such_a_diagnosis_can_be_shown_in_every_form(tmp_path: Path) -> None:
    diagnosis = check(normalised(1))
    diagnosis.save_html(tmp_path / "report.html")

    assert json.loads(diagnosis.to_json())["findings"][0]["name"] == "single-sample-norm"
    assert "single-sample-norm" in (tmp_path / "report.html").read_text()
    assert "drop_last=True" in diagnosis.to_text()


def test_fix_changes_nothing_and_tells_the_remedy() -> None:
    task = normalised(1)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    repair = fix(task)

    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())
    assert "drop_last=True" in repair.summary
    assert repair.after.verdict == "broken"
    assert json.loads(repair.to_json())["plan"] == []


def test_an_assertion_shows_it() -> None:
    with pytest.raises(AssertionError, match="single-sample-norm"):
        assert_trainable(normalised(1))

    assert assert_trainable(normalised(4), worst="at-risk").verdict != "broken"
