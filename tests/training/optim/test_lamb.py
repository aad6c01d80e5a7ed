import math

import pytest
import torch
from pytorch_optimizer import Lamb as TheirLamb

from isometry._errors import DomainError
from isometry.training.optim.lamb import LAMB
from tests.training.optim import plain
from tests.training.optim.driven import RATES, drive, gradients, weights

CLOSE = {"rtol": 1e-11, "atol": 1e-13}  # float64; factors are taken out of the brackets


@pytest.mark.parametrize(
    ("betas", "eps", "decay", "bounds"),
    [
        pytest.param((0.9, 0.999), 1e-6, 0.01, (0.0, math.inf), id="the paper's"),
        pytest.param((0.0, 0.5), 1e-1, 0.0, (0.0, math.inf), id="without decay"),
        pytest.param((0.8, 0.9), 1e-3, 0.4, (1.5, 3.0), id="bounded norms"),
    ],
)
def test_steps_are_those_of_the_papers_algorithm_two(
    betas: tuple[float, float], eps: float, decay: float, bounds: tuple[float, float]
) -> None:
    parameters, given = weights(), gradients()
    settings = {"beta1": betas[0], "beta2": betas[1], "eps": eps, "decay": decay, "low": bounds[0], "high": bounds[1]}
    expected = [
        plain.lamb(parameter.detach().clone(), column, RATES, **settings)
        for parameter, column in zip(parameters, given, strict=True)
    ]
    optimizer = LAMB(parameters, 1.0, betas=betas, eps=eps, weight_decay=decay, norm_bounds=bounds)

    drive(optimizer, parameters, zip(*given, strict=True))

    for parameter, wanted in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), wanted, **CLOSE)


def test_steps_without_decay_are_those_of_pytorch_optimizer() -> None:
    """With decay they differ: it corrects no bias of the moments, which without decay the ratio cancels.

    `adam_debias` keeps it from dividing the rate by the first moment's correction, which the ratio has cancelled.
    """
    ours, theirs = weights(), weights()
    settings = {"eps": 1e-30, "weight_decouple": False, "adam_debias": True}

    drive(LAMB(ours, 1.0, eps=1e-30, norm_bounds=(0.0, 10.0)), ours, zip(*gradients(), strict=True))
    drive(TheirLamb(theirs, 1.0, **settings), theirs, zip(*gradients(), strict=True))

    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **CLOSE)


def test_groups_that_are_not_adapted_move_as_by_adamw() -> None:
    ours, theirs = weights(), weights()
    settings = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}

    drive(LAMB([{"params": ours, "is_adapted": False}], 1.0, **settings), ours, zip(*gradients(), strict=True))
    drive(torch.optim.AdamW(theirs, 1.0, **settings), theirs, zip(*gradients(), strict=True))

    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **CLOSE)


def test_a_step_is_as_long_as_the_rate_says() -> None:
    parameters = weights()
    before = [each.detach().clone() for each in parameters]
    optimizer = LAMB(parameters, 0.03, weight_decay=0.1)
    for parameter, column in zip(parameters, gradients(), strict=True):
        parameter.grad = column[0]

    optimizer.step()

    for old, new in zip(before, parameters, strict=True):
        assert float((new.detach() - old).norm() / old.norm()) == pytest.approx(0.03, rel=1e-9)


@pytest.mark.parametrize("bounds", [(3.0, 1.0), (-1.0, 2.0), (2.0, 2.0)])
def test_bounds_that_hold_no_norm_are_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(DomainError, match=r"norm_bounds=.* hold no norm; give"):
        LAMB(weights(), 0.1, norm_bounds=bounds)
