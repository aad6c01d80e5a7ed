"""When a change makes a course of training better or worse."""

import math

import pytest

from isometry.checking.experiments import Losses

NAN = math.nan


@pytest.mark.parametrize(
    ("start", "end", "least", "same", "is_better", "is_worse"),
    [
        pytest.param((2.3, 2.3), (2.2, 1.5), (2.2, 1.5), True, True, False, id="clearly lower"),
        pytest.param((2.3, 2.3), (2.2, 2.19), (2.2, 2.19), True, False, False, id="as before"),
        pytest.param((2.3, 2.3), (2.2, 2.6), (2.2, 2.5), True, False, True, id="higher"),
        pytest.param((2.3, 2.3), (2.2, 2.6), (2.2, 2.1), True, False, False, id="higher at the end, lower on the way"),
        pytest.param((2.3, 2.3), (NAN, 2.2), (2.3, 2.2), True, True, False, id="finite now"),
        pytest.param((2.3, 2.3), (2.2, NAN), (2.2, 2.3), True, False, True, id="diverges now"),
        pytest.param((2.3, 2.3), (NAN, NAN), (2.3, 2.3), True, False, False, id="diverges as before"),
        pytest.param((72.0, 76.0), (71.8, 73.0), (71.8, 73.0), True, True, False, id="falls faster from further off"),
        pytest.param((9e9, 1.0), (8e9, 0.9), (8e9, 0.9), False, True, False, id="another quantity falls"),
        pytest.param((-1.0, 2.0), (-9.0, 1.99), (-9.0, 1.99), False, False, False, id="another quantity stands still"),
        pytest.param((-1.0, -2.0), (-1.1, -3.0), (-1.1, -3.0), True, True, False, id="below zero"),
    ],
)
def test_losses_are_compared_after_the_same_steps(
    *,
    start: tuple[float, float],
    end: tuple[float, float],
    least: tuple[float, float],
    same: bool,
    is_better: bool,
    is_worse: bool,
) -> None:
    losses = Losses(start, end, least)

    assert losses.is_better(same_quantity=same) is is_better
    assert losses.is_worse(0.02, same_quantity=same) is is_worse
