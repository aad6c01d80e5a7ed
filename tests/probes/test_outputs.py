"""Which numbers can stand behind a last layer, whatever makes them."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.probes.comparisons import ComparisonTable
from isometry.probes.evidence import gather, measure
from isometry.probes.outputs import (
    Reach,
    least_binary_loss,
    least_class_loss,
    reach_of,
    share_out_of_reach,
)

TARGETS = torch.linspace(-2, 2, 20).reshape(5, 4)


def chosen_tanh(x: Tensor) -> Tensor:
    return x.tanh().gather(1, torch.tensor([[3, 2, 1, 0]]).repeat(5, 1))


def reach_behind(function: Callable[[Tensor], Tensor]) -> Reach:
    torch.manual_seed(0)
    task = make_task(nn.Linear(3, 4), torch.randn(5, 3), TARGETS, loss=lambda out, y: F.mse_loss(function(out), y))
    evidence = gather(task, [ComparisonTable])
    *_, comparison = measure(evidence, ComparisonTable).comparisons  # a log-softmax is one itself
    assert comparison.prediction is not None
    return reach_of(evidence.anatomy, comparison.prediction)


@pytest.mark.parametrize(
    ("function", "low", "high", "is_cut"),
    [
        pytest.param(lambda x: x, -math.inf, math.inf, False, id="nothing"),
        pytest.param(lambda x: 3 * x + 1, -math.inf, math.inf, False, id="a line"),
        pytest.param(torch.relu, 0, math.inf, True, id="ReLU"),
        pytest.param(lambda x: x.clamp(min=-1), -1, math.inf, True, id="a cut elsewhere"),
        pytest.param(F.leaky_relu, -math.inf, math.inf, False, id="leaky ReLU"),
        pytest.param(F.elu, -1, math.inf, False, id="ELU, which has a slope below"),
        pytest.param(torch.sigmoid, 0, 1, False, id="sigmoid"),
        pytest.param(lambda x: 1 / (1 + (-x).exp()), 0, 1, False, id="sigmoid by hand"),
        pytest.param(lambda x: 5 * x.sigmoid() - 2, -2, 3, False, id="stretched and moved"),
        pytest.param(lambda x: x.tanh().reshape(20).reshape(5, 4), -1, 1, False, id="reshaped"),
        pytest.param(chosen_tanh, -1, 1, False, id="chosen among"),
        pytest.param(lambda x: x.relu().sigmoid(), 0.5, 1, False, id="two in a row"),
        pytest.param(lambda x: x.softmax(1), 0, 1, False, id="softmax"),
        pytest.param(lambda x: 2 * x.softmax(1) - 1, -1, 1, False, id="softmax, stretched"),
        pytest.param(lambda x: x.log_softmax(1), -math.inf, 0, False, id="log-softmax"),
        pytest.param(torch.sin, -1, 1, False, id="sine"),
        pytest.param(torch.exp, 0, math.inf, False, id="exponential"),
        pytest.param(lambda x: x.square(), 0, math.inf, False, id="square"),
        pytest.param(lambda x: x * x.flip(0), -math.inf, math.inf, False, id="two signals"),
    ],
)
def test_the_reach_of_an_output_is_that_of_what_it_passed_through(
    function: Callable[[Tensor], Tensor], low: float, high: float, is_cut: bool
) -> None:
    reach = reach_behind(function)

    assert (reach.low, reach.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    assert reach.is_cut == is_cut


def test_the_axis_of_a_softmax_is_known() -> None:
    reach = reach_behind(lambda x: x.softmax(dim=0))

    assert (reach.softmax_axis, reach.softmax_dim, reach.num_axes) == (0, 5, 2)


def test_targets_out_of_reach_are_counted_with_what_they_cost() -> None:
    share, cost = share_out_of_reach(torch.tensor([-1.0, 0.0, 1.0, 3.0]), Reach("sigmoid", low=0.0, high=1.0))

    assert share == 0.5
    assert cost == pytest.approx(((1 + 4) / 4) / 2.1875)


def test_the_least_loss_of_squeezed_logits_is_that_of_the_best_logits() -> None:
    best = torch.tensor([[1.0, 0.0, 0.0, 0.0]])

    assert least_class_loss(4, 1.0) == pytest.approx(float(F.cross_entropy(best, torch.tensor([0]))) / math.log(4))
    assert least_binary_loss(torch.tensor([1.0]), low=0.5, high=1 / (1 + math.exp(-1))) == pytest.approx(
        float(F.binary_cross_entropy_with_logits(torch.tensor(1.0), torch.tensor(1.0))) / math.log(2)
    )


def test_soft_targets_within_reach_cost_nothing() -> None:
    assert least_binary_loss(torch.tensor([0.3, 0.6]), low=0.2, high=0.8) == pytest.approx(0.0, abs=1e-9)
