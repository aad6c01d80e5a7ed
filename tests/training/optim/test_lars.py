import pytest
import torch
from pytorch_optimizer import LARS as TheirLARS  # noqa: N811 - it has our name
from torch import nn

from isometry.training.optim.groups import param_groups
from isometry.training.optim.lars import LARS
from tests.training.optim import plain
from tests.training.optim.driven import RATES, SHAPES, drawn, drive, gradients, weights

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64; the order of the sums differs


@pytest.mark.parametrize(("m", "beta", "eta"), [(0.9, 5e-4, 0.001), (0.0, 0.0, 0.02), (0.5, 0.3, 1.0)])
def test_steps_are_those_of_the_papers_algorithm_one(m: float, beta: float, eta: float) -> None:
    parameters, given = weights(), gradients()
    expected = [
        plain.lars(parameter.detach().clone(), column, RATES, m=m, beta=beta, eta=eta)
        for parameter, column in zip(parameters, given, strict=True)
    ]
    optimizer = LARS(parameters, 1.0, momentum=m, weight_decay=beta, trust_coefficient=eta)

    drive(optimizer, parameters, zip(*given, strict=True))

    for parameter, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, **CLOSE)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_matrices_at_a_constant_rate_move_as_in_pytorch_optimizer(decay: float) -> None:
    """Elsewhere it differs on purpose: its velocity is without the rate, and its vectors are never adapted."""
    ours, theirs = weights()[:2], weights()[:2]
    settings = {"lr": 0.4, "momentum": 0.8, "weight_decay": decay, "trust_coefficient": 0.01}
    pairs = [(LARS(ours, **settings), ours), (TheirLARS(theirs, **settings), theirs)]

    for optimizer, parameters in pairs:
        for row in zip(*gradients()[:2], strict=True):
            for parameter, gradient in zip(parameters, row, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()

    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **CLOSE)


def test_groups_that_are_not_adapted_move_by_plain_momentum() -> None:
    parameters, given = weights(), gradients()
    expected = [
        plain.momentum(each.detach().clone(), column, RATES, m=0.9)
        for each, column in zip(parameters, given, strict=True)
    ]
    optimizer = LARS([{"params": parameters, "is_adapted": False}], 1.0)

    drive(optimizer, parameters, zip(*given, strict=True))

    for parameter, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, **CLOSE)
    assert optimizer.trust_ratios() == {}


def test_gains_and_biases_move_at_the_rate_of_their_own_group() -> None:
    """As the example has it: at a rate that suits the ratio plain momentum diverges."""
    losses = {share: trained(10.0 if share is None else share) for share in (None, 0.1)}

    assert losses[0.1] < 1
    assert not losses[None] < 1e3


def trained(rate: float) -> float:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1))
    inputs, groups = drawn(64, 4, seed=1, dtype=torch.float32), param_groups(model, weight_decay=0.0)
    for group in groups:
        group["lr"] = 10.0 if group["is_adapted"] else rate
    optimizer = LARS(groups, lr=10.0)
    loss = torch.tensor(torch.nan)
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), inputs.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_the_trust_ratios_of_the_last_step_are_those_of_the_formula() -> None:
    parameters = weights()
    optimizer = LARS(
        [{"params": parameters[:2]}, {"params": parameters[2:], "weight_decay": 0.0}], 0.1, weight_decay=0.2
    )
    expected: dict[nn.Parameter, float] = {}
    for index, parameter in enumerate(parameters):
        parameter.grad = drawn(*SHAPES[index], seed=index + 50)
        size, slope = float(parameter.detach().norm()), float(parameter.grad.norm())
        expected[parameter] = 0.001 * size / (slope + (0.2 if index < 2 else 0.0) * size)

    optimizer.step()

    assert optimizer.trust_ratios() == pytest.approx(expected, rel=1e-12)
