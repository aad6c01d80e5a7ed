"""What a batch must not be, and batches next door that train."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.probes.evidence import gather
from isometry.report.finding import Finding
from tests.findings.networks import Function, stack

Loss = Callable[[Tensor, Tensor], Tensor]
NUMBERS = torch.Generator().manual_seed(1)
NORMAL = torch.randn(64, 8, generator=NUMBERS)
LABELS = torch.arange(64) % 4
RARE = (torch.rand(64, 8, generator=NUMBERS) < 0.02).float()


def found(code: str, task: Task) -> list[Finding]:
    findings, _ = run_rules([RULES[code]], gather(task, RULES[code].measurements))
    return findings


def reading(inputs: Tensor, *first: nn.Module) -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(*(first or (nn.Identity(),)), stack(inputs.shape[1], 16, 4))
    return make_task(model, inputs, LABELS, loss=F.cross_entropy)


def with_a_column(factor: float) -> Tensor:
    return NORMAL * torch.tensor([1.0, factor, *[1.0] * 6])


@pytest.mark.parametrize(
    ("inputs", "severity"),
    [
        pytest.param(255 * NORMAL.sigmoid(), "error", id="raw pixels"),
        pytest.param(40 * NORMAL, "warning", id="forty times as large"),
        pytest.param(with_a_column(400.0), "warning", id="one large column"),
        pytest.param(with_a_column(1e5), "error", id="one huge column"),
        pytest.param(2000 + 10 * NORMAL, "error", id="calendar years"),
        pytest.param(5 + 0.1 * NORMAL, "warning", id="an offset of fifty deviations"),
        pytest.param(1e-4 * NORMAL, "warning", id="tiny"),
    ],
)
def test_inputs_of_a_size_that_hurts_are_found(inputs: Tensor, severity: str) -> None:
    (finding,) = found("DAT101", reading(inputs))

    assert (finding.severity, finding.where[0]) == (severity, "inputs")


@pytest.mark.parametrize(
    ("inputs", "first"),
    [
        pytest.param(NORMAL, (), id="standardised"),
        pytest.param(NORMAL.sigmoid(), (), id="pictures in [0, 1]"),
        pytest.param(torch.poisson(3 * NORMAL.abs()), (), id="counts"),
        pytest.param(0.05 * NORMAL, (), id="columns of length one"),
        pytest.param(F.one_hot(torch.arange(64), 500).float(), (), id="one-hot words"),
        pytest.param(torch.cat([torch.ones(64, 1), RARE], 1), (), id="a column of ones beside rare marks"),
        pytest.param(torch.cat([NORMAL[:, :1].sign(), 0.01 * NORMAL], 1), (), id="signs beside small numbers"),
        pytest.param(torch.tensor([5.8, 3.0, 3.7, 1.2] * 2) + NORMAL, (), id="centimetres of a flower"),
        pytest.param(300 + 50 * NORMAL, (nn.BatchNorm1d(8),), id="a norm first"),
        pytest.param(300 + 50 * NORMAL, (nn.Linear(8, 8), nn.BatchNorm1d(8)), id="a norm behind the first layer"),
        pytest.param(1e3 * NORMAL.abs(), (Function(torch.log1p),), id="a logarithm first"),
        pytest.param(300 + 50 * NORMAL, (Function(lambda x: (x - x.mean(0)) / x.std(0)),), id="standardised inside"),
    ],
)
def test_inputs_that_the_network_can_read_are_silent(inputs: Tensor, first: tuple[nn.Module, ...]) -> None:
    assert found("DAT101", reading(inputs, *first)) == []


class Beside(nn.Module):
    """An amount beside an embedding of what it is of; as one more layer may have made it."""

    def __init__(self, made_by: nn.Module | None = None) -> None:
        super().__init__()
        self.kind, self.made_by = nn.Embedding(4, 8), made_by or nn.Identity()
        self.body = stack(9, 16, 4)

    def forward(self, kind: Tensor, amount: Tensor) -> Tensor:
        return self.body(torch.cat([self.kind(kind), self.made_by(amount)], dim=1))


@pytest.mark.parametrize(
    ("amounts", "made_by", "severities"),
    [
        pytest.param(10 ** (2 + NORMAL[:, :1]), None, ["error"], id="raw amounts"),
        pytest.param(40 * NORMAL[:, :1], None, ["warning"], id="forty times as large"),
        pytest.param(NORMAL[:, :1], None, [], id="standardised"),
        pytest.param(torch.ones(64, 1), None, [], id="a constant"),
        pytest.param(1e-4 * NORMAL[:, :1], None, [], id="small, beside numbers that are not"),
        pytest.param(3 * NORMAL[:, :1], nn.Linear(1, 1), [], id="as another layer gives it"),
    ],
)
def test_data_beside_an_embedding_are_read_as_data(
    amounts: Tensor, made_by: nn.Module | None, severities: list[str]
) -> None:
    torch.manual_seed(0)
    task = make_task(Beside(made_by), (LABELS, amounts), LABELS, loss=F.cross_entropy)

    assert [finding.severity for finding in found("DAT101", task)] == severities


@pytest.mark.parametrize(
    ("targets", "num_hidden", "count"),
    [
        pytest.param(2e5 + 1e5 * NORMAL[:, :1], 1, 1, id="prices"),
        pytest.param(150 + 75 * NORMAL[:, :1], 1, 1, id="progress of a disease"),
        pytest.param(40 + 12 * NORMAL[:, :1], 1, 0, id="ages"),
        pytest.param(NORMAL[:, :1], 1, 0, id="standardised"),
        pytest.param(2e5 + 1e5 * NORMAL[:, :1], 0, 0, id="a convex problem"),
    ],
)
def test_targets_that_outputs_reach_late_are_found(targets: Tensor, num_hidden: int, count: int) -> None:
    torch.manual_seed(0)
    task = make_task(stack(8, *[16] * num_hidden, 1), NORMAL, targets, loss=F.mse_loss)

    assert [finding.where[0] for finding in found("DAT101", task)] == ["targets"] * count


@pytest.mark.parametrize(
    ("inputs", "targets", "severities"),
    [
        pytest.param(NORMAL[:1].expand(64, 8), LABELS, ["error"], id="equal inputs"),
        pytest.param(NORMAL, LABELS * 0 + 2, ["warning"], id="equal labels"),
        pytest.param(NORMAL[:1].expand(64, 8), LABELS * 0, ["warning"], id="all equal"),
        pytest.param(NORMAL[:8], LABELS[:8] * 0, [], id="eight may be alike"),
        pytest.param(NORMAL, LABELS, [], id="both differ"),
    ],
)
def test_data_that_do_not_vary_are_found(inputs: Tensor, targets: Tensor, severities: list[str]) -> None:
    torch.manual_seed(0)
    task = make_task(stack(8, 16, 4), inputs, targets, loss=F.cross_entropy)

    assert [finding.severity for finding in found("DAT102", task)] == severities


MAPS = torch.randn(256, 1, 6, 6, generator=NUMBERS)


@pytest.mark.parametrize(
    ("count", "outputs", "loss", "severity"),
    [
        pytest.param(64, 1, F.binary_cross_entropy_with_logits, "note", id="one of two classes is rare"),
        pytest.param(256, 1, F.binary_cross_entropy_with_logits, "warning", id="one of two classes"),
        pytest.param(64, 4, F.cross_entropy, "warning", id="one of four"),
        pytest.param(32, 4, F.cross_entropy, "note", id="one of four, of few samples"),
    ],
)
def test_rare_classes_may_be_missing_from_a_batch(count: int, outputs: int, loss: Loss, severity: str) -> None:
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(count, 1) if outputs == 1 else torch.zeros(count).long()
    task = make_task(stack(8, 16, outputs), inputs, labels, loss=loss)

    assert [finding.severity for finding in found("DAT102", task)] == [severity]


@pytest.mark.parametrize(
    ("count", "mask", "severity"),
    [
        pytest.param(64, torch.zeros(6, 6), "note", id="background"),
        pytest.param(256, torch.zeros(6, 6), "warning", id="background alone in many"),
        pytest.param(64, torch.arange(36).reshape(6, 6) % 3, "warning", id="one mask for all"),
    ],
)
def test_masks_may_be_all_background(count: int, mask: Tensor, severity: str) -> None:
    targets = mask.long().expand(count, 6, 6)
    task = make_task(nn.Conv2d(1, 3, 3, padding=1), MAPS[:count], targets, loss=F.cross_entropy)

    assert [finding.severity for finding in found("DAT102", task)] == [severity]


@pytest.mark.parametrize(
    ("is_frozen", "severity"), [pytest.param(True, "note", id="judged"), pytest.param(False, "warning", id="learnt")]
)
def test_a_frozen_critic_may_be_asked_for_one_answer(*, is_frozen: bool, severity: str) -> None:
    critic = stack(2, 16, 1).requires_grad_(not is_frozen)
    task = make_task(nn.Sequential(stack(8, 16, 2), critic), NORMAL, torch.ones(64, 1), loss=F.mse_loss)

    assert [finding.severity for finding in found("DAT102", task)] == [severity]


@pytest.mark.parametrize(
    ("factor", "severity"), [pytest.param(1.0, "note", id="there"), pytest.param(-3.0, "warning", id="elsewhere")]
)
def test_a_centre_at_which_the_outputs_begin_is_meant(factor: float, severity: str) -> None:
    torch.manual_seed(0)
    model = stack(8, 16, 4)
    with torch.no_grad():
        centre = factor * model(NORMAL).mean(0)
    task = make_task(model, NORMAL, centre.expand(64, 4).clone(), loss=F.mse_loss)

    assert [finding.severity for finding in found("DAT102", task)] == [severity]


def test_a_loss_that_replaces_its_targets_by_one_number_is_found() -> None:
    task = make_task(
        stack(8, 16, 1), NORMAL, NORMAL[:, :1], loss=lambda out, y: F.mse_loss(out, y.mean().expand_as(out))
    )

    assert [finding.where for finding in found("DAT102", task)] == [("targets",)]


def test_a_residual_that_is_to_vanish_may_have_targets_of_zero() -> None:
    task = make_task(stack(8, 16, 1), NORMAL, torch.zeros(64, 1), loss=lambda out, y: F.mse_loss(out.square() - out, y))

    assert [finding.severity for finding in found("DAT102", task)] == ["note"]


@pytest.mark.parametrize(
    ("norm", "severities"),
    [
        pytest.param(nn.GroupNorm(16, 16), ["error"], id="a group for each unit"),
        pytest.param(nn.GroupNorm(4, 16), [], id="four units in a group"),
        pytest.param(nn.LayerNorm(16), [], id="all units"),
        pytest.param(nn.BatchNorm1d(16), [], id="over the batch"),
        pytest.param(Function(lambda x: x - x.mean(0, keepdim=True)), [], id="by hand over the batch"),
        pytest.param(Function(lambda x: x[:, :, None] - x[:, :, None].mean(2)[:, :, None]), [], id="not its own mean"),
    ],
)
def test_norms_over_one_number_are_found(norm: nn.Module, severities: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    task = make_task(model, NORMAL, LABELS, loss=F.cross_entropy)

    assert [finding.severity for finding in found("DAT104", task)] == severities


def test_a_norm_by_hand_over_a_batch_of_one_is_found() -> None:
    torch.manual_seed(0)
    centre = Function(lambda x: x - x.mean(0))
    task = make_task(
        nn.Sequential(nn.Linear(8, 16), centre, nn.Linear(16, 4)), NORMAL[:1], LABELS[:1], loss=F.cross_entropy
    )

    assert [finding.severity for finding in found("DAT104", task)] == ["error"]


def test_a_batch_norm_over_the_places_of_one_sample_is_a_note() -> None:
    model = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 1, 1))
    task = make_task(model, torch.randn(1, 3, 20, generator=NUMBERS))

    assert [finding.severity for finding in found("DAT104", task)] == ["note"]
