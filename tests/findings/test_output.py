"""Outputs that do not belong to their loss, and those next door that do, from a whole step."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.probes.evidence import gather
from isometry.report.finding import Finding
from tests.findings.networks import stack

Loss = Callable[[Tensor, Tensor], Tensor]
RULE = RULES["LOS102"]
CLASSES = torch.arange(128) % 10
ONE_HOT = F.one_hot(CLASSES, 10).float()
NORMAL = torch.randn(128, 10, generator=torch.Generator().manual_seed(1))


def found(loss: Loss, targets: Tensor, outputs: int = 10) -> list[Finding]:
    torch.manual_seed(0)
    task = make_task(stack(16, 32, outputs), torch.randn(128, 16), targets, loss=loss)
    findings, _ = run_rules([RULE], gather(task, RULE.measurements))
    return findings


def log_likelihood(log_shares: Tensor, labels: Tensor) -> Tensor:
    return -log_shares.gather(1, labels[:, None]).mean()


@pytest.mark.parametrize(
    ("loss", "targets", "severity"),
    [
        pytest.param(lambda out, y: F.cross_entropy(out.softmax(1), y), CLASSES, "error", id="softmax twice"),
        pytest.param(
            lambda out, y: F.cross_entropy(out.exp() / out.exp().sum(1, keepdim=True), y),
            CLASSES,
            "error",
            id="softmax by hand",
        ),
        pytest.param(
            lambda out, y: log_likelihood(out.softmax(1).log_softmax(1), y), CLASSES, "error", id="loss by hand"
        ),
        pytest.param(lambda out, y: F.cross_entropy(out.tanh(), y), CLASSES, "error", id="tanh before logits"),
        pytest.param(lambda out, y: F.cross_entropy(out.relu(), y), CLASSES, "warning", id="ReLU before logits"),
        pytest.param(
            lambda out, y: F.binary_cross_entropy_with_logits(out.sigmoid(), y), ONE_HOT, "error", id="sigmoid twice"
        ),
        pytest.param(
            lambda out, y: F.binary_cross_entropy(out.relu().sigmoid(), y), ONE_HOT, "error", id="ReLU before a sigmoid"
        ),
        pytest.param(F.nll_loss, CLASSES, "error", id="raw numbers as logarithms"),
        pytest.param(lambda out, y: F.nll_loss(out.softmax(1), y), CLASSES, "error", id="probabilities as logarithms"),
        pytest.param(lambda out, y: F.nll_loss(out.log_softmax(0), y), CLASSES, "error", id="over the samples"),
        pytest.param(
            lambda out, y: F.kl_div(out.softmax(1), y, reduction="batchmean"), ONE_HOT, "error", id="divergence"
        ),
        pytest.param(
            lambda out, y: F.binary_cross_entropy(out.softmax(1), y), (NORMAL > 0).float(), "error", id="many labels"
        ),
        pytest.param(lambda out, y: F.mse_loss(out.relu(), y), NORMAL, "error", id="ReLU behind a regression"),
        pytest.param(
            lambda out, y: (out.sigmoid() - y).square().mean(), 5 + NORMAL, "error", id="squares by hand out of reach"
        ),
        pytest.param(lambda out, y: F.l1_loss(2 * out.tanh(), y), 3 * NORMAL, "error", id="scaled, still too small"),
        pytest.param(
            lambda out, y: F.poisson_nll_loss(-out.abs(), y), 8 + NORMAL.round(), "error", id="rates below one"
        ),
    ],
)
def test_an_activation_that_its_loss_cannot_use_is_found(loss: Loss, targets: Tensor, severity: str) -> None:
    (finding,) = found(loss, targets)

    assert finding.severity == severity
    assert finding.where == ("2",)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        pytest.param(F.cross_entropy, CLASSES, id="logits"),
        pytest.param(lambda out, y: F.cross_entropy(out.log_softmax(1), y), CLASSES, id="log-softmax changes nothing"),
        pytest.param(lambda out, y: F.nll_loss(out.log_softmax(1), y), CLASSES, id="logarithms"),
        pytest.param(
            lambda out, y: F.nll_loss((out.softmax(1) + 1e-6).log(), y), CLASSES, id="logarithms with a constant"
        ),
        pytest.param(lambda out, y: log_likelihood(out.log_softmax(1), y), CLASSES, id="loss by hand"),
        pytest.param(lambda out, y: F.cross_entropy(30 * (out / 30).tanh(), y), CLASSES, id="a soft cap"),
        pytest.param(lambda out, y: F.cross_entropy(F.elu(out), y), CLASSES, id="slopes below zero"),
        pytest.param(F.cross_entropy, ONE_HOT, id="soft labels"),
        pytest.param(lambda out, y: F.binary_cross_entropy(out.sigmoid(), y), ONE_HOT, id="sigmoid once"),
        pytest.param(lambda out, y: F.binary_cross_entropy(out.softmax(1), y), ONE_HOT, id="one label of each"),
        pytest.param(
            lambda out, y: F.binary_cross_entropy(out.sigmoid().clamp(1e-4, 1 - 1e-4), y), ONE_HOT, id="clamped a bit"
        ),
        pytest.param(lambda out, y: F.mse_loss(out.softmax(1), y), ONE_HOT, id="Brier score"),
        pytest.param(lambda out, y: F.mse_loss(out.sigmoid(), y), NORMAL.sigmoid(), id="targets within reach"),
        pytest.param(lambda out, y: F.mse_loss(5 * out.sigmoid(), y), NORMAL.sigmoid() * 5, id="stretched to reach"),
        pytest.param(lambda out, y: F.mse_loss(out.relu(), y), NORMAL.abs(), id="positive targets"),
        pytest.param(lambda out, y: F.mse_loss(F.leaky_relu(out), y), NORMAL, id="a slope below zero"),
        pytest.param(F.poisson_nll_loss, NORMAL.abs().round(), id="counts"),
        pytest.param(
            lambda out, y: F.kl_div(out.log_softmax(1), y, reduction="batchmean"), NORMAL.softmax(1), id="divergence"
        ),
    ],
)
def test_outputs_that_belong_to_their_loss_are_silent(loss: Loss, targets: Tensor) -> None:
    assert found(loss, targets) == []


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda out, y: F.binary_cross_entropy(out.softmax(1), y), id="softmax of one unit"),
        pytest.param(F.cross_entropy, id="cross-entropy over one class"),
    ],
)
def test_one_output_has_nothing_to_be_normalised_with(loss: Loss) -> None:
    (finding,) = found(loss, (CLASSES % 2).float()[:, None], outputs=1)

    assert "over one number" in finding.cause


def test_rectified_maps_that_are_averaged_are_no_cut_logits() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    task = make_task(model, torch.randn(10, 3, 8, 8), torch.arange(10), loss=F.cross_entropy)

    assert run_rules([RULE], gather(task, RULE.measurements))[0] == []


def test_the_module_that_applies_it_is_named_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(stack(16, 32, 10), nn.Softmax(dim=-1))
    task = make_task(model, torch.randn(128, 16), CLASSES, loss=F.cross_entropy)
    (finding,) = run_rules([RULE], gather(task, RULE.measurements))[0]

    assert finding.where == ("1", "0.2")
    assert finding.measured == pytest.approx(1.4612 / 2.3026, abs=1e-3)


@pytest.mark.parametrize(
    ("shift", "severities"),
    [
        # Of a normal distribution about the shift, the part below zero, over its variance: 0.5, 0.075 and 0.006.
        pytest.param(0.0, ["error"], id="half of the targets"),
        pytest.param(1.0, ["warning"], id="a sixth of them, and near"),
        pytest.param(2.0, [], id="few"),
    ],
)
def test_how_far_targets_lie_out_of_reach_decides_on_the_severity(shift: float, severities: list[str]) -> None:
    assert [each.severity for each in found(lambda out, y: F.mse_loss(out.relu(), y), NORMAL + shift)] == severities


def test_the_bound_can_be_set() -> None:
    torch.manual_seed(0)
    task = make_task(
        stack(16, 32, 2), torch.randn(128, 16), CLASSES % 2, loss=lambda out, y: F.cross_entropy(out.tanh(), y)
    )
    evidence = gather(task, RULE.measurements)
    loose = RULE.with_thresholds({"max-least-loss": 0.25})

    assert [finding.severity for finding in run_rules([RULE], evidence)[0]] == ["warning"]
    assert run_rules([loose], evidence)[0] == []


@pytest.mark.parametrize(
    ("loss", "targets", "remedy"),
    [
        pytest.param(
            lambda out, y: F.cross_entropy(out.softmax(1), y),
            CLASSES,
            "Leave softmax out, and give cross_entropy the outputs of the last layer as they are.",
            id="classes",
        ),
        pytest.param(
            lambda out, y: F.binary_cross_entropy_with_logits(out.sigmoid(), y),
            ONE_HOT,
            "Leave sigmoid out, and give binary_cross_entropy_with_logits the outputs of the last layer as they are.",
            id="labels",
        ),
    ],
)
def test_the_remedy_names_what_is_there_and_what_takes_it(loss: Loss, targets: Tensor, remedy: str) -> None:
    (finding,) = found(loss, targets)

    assert finding.remedy.text == remedy
