import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.checking.check import check
from isometry.findings import RULES
from isometry.probes.losses import LossReading
from isometry.probes.start import LossStart
from tests.findings.networks import stack


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


def test_a_linear_regression_on_raw_targets_is_healthy() -> None:
    torch.manual_seed(0)

    assert check(nn.Linear(8, 1), torch.randn(64, 8), 500 + torch.randn(64, 1), loss=F.mse_loss).verdict == "healthy"
