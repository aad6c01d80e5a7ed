from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.checking.check import check, diagnose
from isometry.findings import RULES
from isometry.probes.evidence import gather, measure
from isometry.probes.losses import LossReading
from isometry.probes.reductions import SummedReading
from isometry.probes.start import LossStart
from tests.findings.networks import classify, stack


def start(value: float, constant: float, *, has_hidden_layers: bool = True) -> LossStart:
    return LossStart(LossReading(0, "cross_entropy", value, constant), ("head",), has_hidden_layers)


@pytest.mark.parametrize(
    ("reading", "found"),
    [
        pytest.param(start(2.3, 2.3), 0, id="as a constant predictor"),
        pytest.param(start(0.0, 2.3), 0, id="already solved"),
        pytest.param(start(10.0, 2.3), 0, id="four times costs nothing"),
        pytest.param(start(110.0, 10.4), 1, id="T5's vocabulary from scratch"),
        pytest.param(start(110.0, 10.4, has_hidden_layers=False), 0, id="a convex problem"),
    ],
)
def test_start_loss_fires_far_above_the_constant_predictor(reading: LossStart, found: int) -> None:
    assert len(list(RULES["LOS101"](reading))) == found


@pytest.mark.parametrize(
    ("mean", "deviation", "verdict"),
    [
        pytest.param(0.0, 3.0, "healthy", id="centred"),
        pytest.param(0.5, 0.3, "healthy", id="pixels"),
        pytest.param(50.0, 1.0, "at-risk", id="far from zero"),
    ],
)
def test_regressions_are_held_against_the_targets_variance(mean: float, deviation: float, verdict: str) -> None:
    torch.manual_seed(0)
    targets = mean + deviation * torch.randn(128, 1)

    assert check(stack(8, 64, 64, 1), torch.randn(128, 8), targets, loss=F.mse_loss).verdict == verdict


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        pytest.param(lambda head: nn.init.normal_(head.weight, std=10.0), "head-weight", id="a wide head"),
        pytest.param(lambda head: nn.init.normal_(head.bias, std=30.0), "class-offsets", id="biases"),
    ],
)
def test_the_tensor_that_makes_the_gap_is_named(change: Callable[[nn.Linear], object], kind: str) -> None:
    torch.manual_seed(0)
    model = stack(8, 64, 10)
    change(model[2])
    start = measure(gather(classify(model, width=8), [LossStart]), LossStart)

    assert start.gap is not None
    assert (start.gap.kind, start.gap.where) == (kind, ("2",))
    assert start.gap.without < start.reading.value / 3


def test_a_small_temperature_is_told_from_a_wide_head() -> None:
    torch.manual_seed(0)
    task = make_task(
        stack(8, 64, 10), torch.randn(64, 8), torch.arange(64) % 10, loss=lambda out, y: F.cross_entropy(out / 2e-3, y)
    )
    (finding,) = diagnose(task, [RULES["LOS101"]]).findings

    assert "what stands behind '2' multiplies" in finding.cause


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(F.l1_loss, id="absolute"),
        pytest.param(F.smooth_l1_loss, id="smooth"),
        pytest.param(lambda out, y: (out - y).square().mean(), id="squares by hand"),
        pytest.param(lambda out, y: (y - out).abs().sum() / len(y), id="absolute by hand"),
    ],
)
@pytest.mark.parametrize(("mean", "count"), [(60.0, 1), (2.0, 0)])
def test_regressions_with_other_losses_are_held_against_a_constant(
    loss: Callable[[Tensor, Tensor], Tensor], mean: float, count: int
) -> None:
    torch.manual_seed(0)
    task = make_task(stack(8, 64, 1), torch.randn(64, 8), mean + torch.randn(64, 1), loss=loss)
    findings = diagnose(task, [RULES["LOS101"]]).findings

    assert [finding.where for finding in findings] == [("targets", "2")] * count


def summed(optimizer_factory: OptimizerFactory | None, *, reduction: str = "sum") -> Task:
    torch.manual_seed(0)
    inputs = torch.randn(128, 8)
    criterion = nn.MSELoss(reduction=reduction)
    targets = inputs[:, :1] * 3 + 1
    return make_task(stack(8, 64, 1), inputs, targets, loss=criterion, optimizer_factory=optimizer_factory)


def sgd(rate: float) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


@pytest.mark.parametrize(
    ("task", "severities"),
    [
        pytest.param(summed(sgd(0.05)), ["error"], id="the step of a mean"),
        pytest.param(summed(sgd(1e-4)), [], id="a step that suits the sum"),
        pytest.param(summed(sgd(0.05), reduction="mean"), [], id="a mean"),
        pytest.param(summed(torch.optim.Adam), [], id="Adam divides it out"),
        pytest.param(summed(None), ["note"], id="no optimiser"),
    ],
)
def test_a_sum_is_blamed_where_it_hurts(task: Task, severities: list[str]) -> None:
    assert [finding.severity for finding in diagnose(task, [RULES["LOS104"]]).findings] == severities


def test_a_linear_regression_on_raw_targets_is_healthy() -> None:
    torch.manual_seed(0)

    assert check(nn.Linear(8, 1), torch.randn(64, 8), 500 + torch.randn(64, 1), loss=F.mse_loss).verdict == "healthy"


def sum_of(*, end: float, mean_end: float, rises: float) -> SummedReading:
    return SummedReading("cross_entropy", 128.0, "SGD", True, 0.9, end, mean_end, rises)


@pytest.mark.parametrize(
    ("reading", "count"),
    [
        pytest.param(sum_of(end=0.73, mean_end=0.46, rises=3.1), 1, id="jumps, and smaller steps get further"),
        pytest.param(sum_of(end=0.73, mean_end=0.46, rises=0.0), 0, id="falls"),
        pytest.param(sum_of(end=0.73, mean_end=0.6, rises=3.1), 0, id="jumps, and smaller steps get as far"),
        pytest.param(sum_of(end=0.4, mean_end=0.1, rises=3.1), 0, id="jumps and comes down"),
        pytest.param(sum_of(end=1.5, mean_end=0.95, rises=0.0), 1, id="rises, and smaller steps do not"),
    ],
)
def test_a_sum_hurts_if_its_steps_come_to_less_than_those_of_a_mean(reading: SummedReading, count: int) -> None:
    assert len(list(RULES["LOS104"](reading))) == count


class TokenModel(nn.Module):
    """Tokens in, logits of tokens out, with one weight as embedding and head, or two."""

    def __init__(self, *, is_tied: bool) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(50, 64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 50, bias=False)
        self.norm = nn.LayerNorm(64)
        nn.init.normal_(self.head.weight, std=3.0)
        if is_tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.hidden(self.embedding(tokens)).relu()))


@pytest.mark.parametrize(
    ("is_tied", "remedy"),
    [
        pytest.param(True, "Draw the embedding, which is the head as well", id="tied"),
        pytest.param(False, "Make the head small: isometry fix.", id="no bias"),
    ],
)
def test_the_remedy_of_a_wide_head_fits_the_head(is_tied: bool, remedy: str) -> None:
    torch.manual_seed(0)
    tokens = torch.randint(50, (64, 8))
    model = TokenModel(is_tied=is_tied)
    nn.init.normal_(model.head.weight, std=3.0)
    task = make_task(
        model, tokens, tokens.roll(1, 0).flatten(), loss=lambda out, y: F.cross_entropy(out.flatten(0, 1), y)
    )
    (draft,) = RULES["LOS101"](measure(gather(task, [LossStart]), LossStart))

    assert draft.remedy.text.startswith(remedy)
    assert "outputs 24" in draft.cause or "outputs 23.9" in draft.cause or "outputs 24.1" in draft.cause
    assert "an even guess has 3.912" in draft.cause


@pytest.mark.parametrize(
    ("ratio", "severities"),
    [
        pytest.param(0.9, [], id="less than the loss"),
        pytest.param(4.0, ["warning"], id="four times the loss"),
        pytest.param(40.0, ["error"], id="forty times"),
        pytest.param(400.0, [], id="a mean promises too much as well"),
    ],
)
def test_a_sum_hurts_if_its_first_step_promises_more_than_there_is(ratio: float, severities: list[str]) -> None:
    reading = SummedReading("cross_entropy", 128.0, "SGD", has_optimizer=True, step_ratio=ratio)

    assert [draft.severity or RULES["LOS104"].severity for draft in RULES["LOS104"](reading)] == severities
