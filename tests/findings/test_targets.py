"""Targets outside of what their loss takes, or in another shape, and those next door that are meant."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from isometry.anatomy.task import make_task
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.probes.evidence import gather
from isometry.report.finding import Finding
from tests.findings.networks import stack

Loss = Callable[[Tensor, Tensor], Tensor]
LABELS = torch.arange(64) % 4
BINARY = (LABELS % 2).float()[:, None]
MANY = torch.stack([LABELS == 0, LABELS > 0, LABELS > 1, LABELS > 2], 1).float()
NORMAL = torch.randn(64, 1, generator=torch.Generator().manual_seed(1))
SCORES = torch.randn(64, 4, generator=torch.Generator().manual_seed(2))

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own word on some of these


def found(code: str, loss: Loss, targets: Tensor, outputs: int = 1) -> list[Finding]:
    torch.manual_seed(0)
    task = make_task(stack(8, 16, outputs), torch.randn(64, 8), targets, loss=loss)
    findings, _ = run_rules([RULES[code]], gather(task, RULES[code].measurements))
    return findings


def divergence(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.kl_div(outputs.log_softmax(1), targets, reduction="batchmean")


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "severity"),
    [
        pytest.param(F.binary_cross_entropy_with_logits, BINARY + 1, 1, "error", id="labels 1 and 2"),
        pytest.param(F.binary_cross_entropy_with_logits, 2 * BINARY - 1, 1, "error", id="labels -1 and 1"),
        pytest.param(F.soft_margin_loss, BINARY, 1, "error", id="margins of 0 and 1"),
        pytest.param(F.hinge_embedding_loss, BINARY, 1, "error", id="pairs of 0 and 1"),
        pytest.param(lambda out, y: (1 - out * y).clamp(min=0).mean(), BINARY, 1, "error", id="hinge by hand"),
        pytest.param(F.poisson_nll_loss, NORMAL, 1, "error", id="negative counts"),
        pytest.param(F.cross_entropy, LABELS * 0 - 100, 4, "error", id="all left out"),
        pytest.param(F.cross_entropy, MANY, 4, "warning", id="several labels at once"),
        pytest.param(
            F.cross_entropy, 2 * F.one_hot(LABELS, 4).float() - 1, 4, "error", id="one-hot labels of -1 and 1"
        ),
        pytest.param(F.cross_entropy, SCORES, 4, "error", id="a teacher's logits"),
        pytest.param(F.cross_entropy, SCORES.log_softmax(1), 4, "error", id="logarithms of probabilities"),
        pytest.param(F.cross_entropy, 255 * SCORES.softmax(1), 4, "warning", id="probabilities in bytes"),
        pytest.param(divergence, 2 * MANY, 4, "warning", id="sums other than one"),
        pytest.param(divergence, MANY - 0.5, 4, "error", id="negative probabilities"),
    ],
)
def test_targets_that_a_loss_has_no_meaning_for_are_found(
    loss: Loss, targets: Tensor, outputs: int, severity: str
) -> None:
    (finding,) = found("LOS103", loss, targets, outputs)

    assert (finding.severity, finding.where) == (severity, ("targets",))


@pytest.mark.parametrize(
    ("loss", "targets", "outputs"),
    [
        pytest.param(F.binary_cross_entropy_with_logits, BINARY, 1, id="labels 0 and 1"),
        pytest.param(F.binary_cross_entropy_with_logits, NORMAL.sigmoid(), 1, id="soft labels"),
        pytest.param(F.soft_margin_loss, 2 * BINARY - 1, 1, id="margins of -1 and 1"),
        pytest.param(lambda out, y: (1 - out * y).relu().mean(), 2 * BINARY - 1, 1, id="hinge by hand"),
        pytest.param(lambda out, y: (out * y).relu().mean(), BINARY, 1, id="a mask"),
        pytest.param(F.poisson_nll_loss, NORMAL.exp(), 1, id="amounts that are no counts"),
        pytest.param(F.cross_entropy, LABELS, 4, id="labels"),
        pytest.param(F.cross_entropy, torch.where(LABELS > 0, LABELS, -100), 4, id="some left out"),
        pytest.param(F.cross_entropy, MANY / MANY.sum(1, keepdim=True), 4, id="shared labels"),
        pytest.param(
            F.cross_entropy, NORMAL * F.one_hot(LABELS, 4), 4, id="labels weighted by an advantage, as a policy's"
        ),
        pytest.param(F.cross_entropy, 3 * F.one_hot(LABELS, 4).float(), 4, id="labels with one weight"),
        pytest.param(F.cross_entropy, NORMAL.abs() * SCORES.softmax(1), 4, id="shared labels with weights"),
        pytest.param(F.cross_entropy, 0.9 * F.one_hot(LABELS, 4) + 0.1, 4, id="labels smoothed by hand"),
        pytest.param(divergence, MANY / MANY.sum(1, keepdim=True), 4, id="probabilities"),
        pytest.param(F.mse_loss, 100 * NORMAL, 1, id="any numbers of a regression"),
    ],
)
def test_targets_within_a_losss_domain_are_silent(loss: Loss, targets: Tensor, outputs: int) -> None:
    assert found("LOS103", loss, targets, outputs) == []


def test_a_map_of_probabilities_may_share_them_over_its_places() -> None:
    torch.manual_seed(0)
    goal = torch.randn(64, 4).softmax(1).reshape(64, 2, 2)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.kl_div(outputs.log_softmax(1).reshape(64, 2, 2), targets, reduction="batchmean")

    assert found("LOS103", loss, goal, 4) == []
    assert found("LOS102", loss, goal, 4) == []


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "severity"),
    [
        pytest.param(F.mse_loss, NORMAL[:, 0], 1, "error", id="column against row"),
        pytest.param(lambda out, y: F.l1_loss(out[:, 0], y), NORMAL, 1, "error", id="row against column"),
        pytest.param(lambda out, y: ((out - y) ** 2).mean(), NORMAL[:, 0], 1, "error", id="by hand"),
        pytest.param(lambda out, y: (y - out).abs().mean(), NORMAL[:, 0], 1, "error", id="by hand, turned round"),
        pytest.param(F.smooth_l1_loss, NORMAL, 4, "warning", id="one target for four outputs"),
        pytest.param(lambda out, y: F.mse_loss(out[:, 0], y[:, None]), NORMAL[:, 0], 1, "error", id="an axis too many"),
    ],
)
def test_a_loss_that_compares_each_with_all_is_found(loss: Loss, targets: Tensor, outputs: int, severity: str) -> None:
    (finding,) = found("DAT103", loss, targets, outputs)

    assert (finding.severity, finding.where) == (severity, ("2",))


def quantiles(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((targets - outputs).abs() * torch.tensor([0.1, 0.5, 0.9, 1.0])).mean()


def quantile_differences(outputs: Tensor, targets: Tensor) -> Tensor:
    """Each quantile of a sample's return with each of its target's, as of a distributional value function."""
    return F.smooth_l1_loss(outputs[:, :, None], targets[:, None, :], reduction="none").mean()


def nearest_of_many(outputs: Tensor, targets: Tensor) -> Tensor:
    """The winner takes all of several predictions of one target."""
    guesses = outputs.reshape(len(outputs), 2, 2)
    return F.mse_loss(guesses, targets[:, None], reduction="none").mean(2).amin(1).mean()


def energy_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0][:, None] - targets).abs().mean() - (outputs - outputs.T).abs().mean() / 2


@pytest.mark.parametrize(
    ("loss", "targets", "outputs"),
    [
        pytest.param(F.mse_loss, NORMAL, 1, id="one shape"),
        pytest.param(lambda out, y: F.mse_loss(out[:, 0], y), NORMAL[:, 0], 1, id="squeezed"),
        pytest.param(quantiles, NORMAL, 4, id="quantiles of one target"),
        pytest.param(energy_distance, NORMAL[:, 0], 1, id="all pairs on purpose"),
        pytest.param(quantile_differences, SCORES, 4, id="all quantiles with all of the target's"),
        pytest.param(nearest_of_many, SCORES[:, :2], 4, id="the best of two guesses"),
        pytest.param(lambda out, y: F.mse_loss(out[None], y), SCORES, 4, id="an axis of length one before the samples"),
        pytest.param(lambda out, y: F.mse_loss(out, y.mean()), NORMAL, 1, id="one number for all"),
        pytest.param(lambda out, y: (out - y[None]).square().mean(), NORMAL[0], 1, id="a number with an axis"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_comparisons_that_are_meant_are_silent(loss: Loss, targets: Tensor, outputs: int) -> None:
    assert found("DAT103", loss, targets, outputs) == []
