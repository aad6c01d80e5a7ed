"""Steps that are too long or too short."""

from dataclasses import replace

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Reading
from tests.findings.watched.histories import (
    PARAMETERS,
    falling,
    flat,
    history,
    noise,
    severities,
    with_updates,
)

LEAP = np.concatenate([[2.3, 40, 90, 60, 30, 12, 6, 3], flat(60)])
RECOVERED = np.concatenate([[2.3, 40, 90, 60, 30, 12, 6, 3], falling(60)])
LUCKY = np.abs(noise(100, 1.0)) ** 2  # of single samples; the first is small by chance
LUCKY[0] = 1e-2
CLIMBING = 2.3 * 1.04 ** np.arange(110)  # to seventy times its start
VALUES = 1e-4 * 1.09 ** np.arange(110)  # to ten thousand times its start


@pytest.mark.parametrize(
    ("losses", "ratio", "found"),
    [
        pytest.param([2.3, *flat(60, 8.0)], 0.5, ["error"], id="it stays above its start"),
        pytest.param([2.3, *flat(14, 80.0)], 0.5, ["error"], id="thirty times its start needs no patience"),
        pytest.param([2.3, *flat(14, 8.0)], 0.5, [], id="three times its start does"),
        pytest.param(LEAP, 0.5, ["error"], id="a leap, and nothing learnt after it"),
        pytest.param(RECOVERED, 0.5, [], id="a leap, and it learns"),
        pytest.param([2.3, *flat(60, 8.0)], 0.01, [], id="the steps are not long"),
        pytest.param(falling(80), 0.5, [], id="long steps that learn"),
        pytest.param(LUCKY, 0.5, [], id="noise about a first loss that was low by chance"),
        pytest.param(CLIMBING, 0.01, ["error"], id="uphill by short steps"),
        pytest.param(CLIMBING[:90], 0.01, [], id="too early to tell without a long step"),
        pytest.param([*CLIMBING, *flat(64, CLIMBING[-1])], 0.01, [], id="it has come to rest, and no step was long"),
        pytest.param(VALUES, 0.01, ["note"], id="values that are learnt from next to nothing"),
        pytest.param(VALUES, 0.5, ["error"], id="they blow up at long steps"),
        pytest.param([*flat(40), *(8 + noise(64, 1.5))], 0.5, ["error"], id="the noise that came with the rise"),
        pytest.param(-0.01 + noise(100, 0.3), 0.5, [], id="a policy gradient about zero"),
    ],
)
def test_a_rate_is_too_high_where_long_steps_raise_the_loss(losses: np.ndarray, ratio: float, found: list[str]) -> None:
    assert severities("TRN101", history(losses, with_updates(ratio))) == found


@pytest.mark.parametrize(
    ("losses", "ratio", "found"),
    [
        pytest.param(flat(120), 1e-7, ["error"], id="nothing moves"),
        pytest.param(flat(120), 0.0, ["error"], id="the updates are rounded away"),
        pytest.param(flat(90), 1e-7, [], id="too early to tell"),
        pytest.param(flat(120), 1e-5, [], id="it moves"),
        pytest.param(falling(120), 1e-7, [], id="it learns"),
    ],
)
def test_a_rate_is_too_low_where_short_steps_leave_the_loss(losses: np.ndarray, ratio: float, found: list[str]) -> None:
    assert severities("TRN102", history(losses, with_updates(ratio))) == found


def test_the_rate_is_not_to_blame_where_the_gradient_has_vanished() -> None:
    def converged(each: Reading) -> Reading:
        return replace(each, parameters=tuple(replace(p, gradient_rms=1e-9, update_rms=1e-10) for p in each.parameters))

    assert severities("TRN102", history(flat(120), converged)) == []


def test_a_rate_that_a_schedule_holds_low_is_left_in_peace() -> None:
    def warming(each: Reading) -> Reading:
        return replace(with_updates(1e-7)(each), learning_rates=(1e-8 * each.step,))

    assert severities("TRN102", history(flat(120), warming)) == []


def test_parameters_that_started_at_zero_say_nothing_of_the_rate() -> None:
    def edit(each: Reading) -> Reading:  # as of Adam: biases that are as large as the steps that made them
        biases = [
            replace(one, name=f"{one.name}.bias", weight_rms=1e-3 * (each.step - 1), update_rms=1e-3)
            for one in PARAMETERS
        ]
        return replace(each, parameters=(*PARAMETERS, *biases))

    losses = [2.3, *flat(60, 8.0)]

    assert severities("TRN101", history(losses, edit)) == []
    assert severities(
        "TRN101", history(losses, lambda each: replace(edit(each), parameters=edit(each).parameters[8:]))
    ) == ["error"]


def test_parameters_that_do_not_move_say_nothing_of_the_rate() -> None:
    def frozen(each: Reading) -> Reading:
        still = tuple(replace(one, update_rms=0.0) for one in each.parameters[:6])
        return replace(each, parameters=(*still, *each.parameters[6:]))

    assert severities("TRN102", history(flat(120), frozen)) == []


def test_a_rate_too_high_explains_the_gradient_that_explodes() -> None:
    def edit(each: Reading) -> Reading:
        return replace(with_updates(0.5)(each), gradient_norm=10.0**each.step)

    found = judge(history(10.0 ** np.arange(20), edit))

    assert [(each.code, each.because) for each in found] == [("TRN101", None), ("BWD102", "TRN101")]


def test_a_leap_is_told_with_where_the_loss_stands_now() -> None:
    (found,) = judge(history(LEAP, with_updates(0.5)), [WATCH_RULES["TRN101"]])

    assert found.message == "The steps are too long: the loss leapt from 2.3 to 50 and stands at 2.306."
    assert found.cause.startswith("the loss began at 2.3 and stands at 2.306 after")


def test_what_is_said_has_the_numbers() -> None:
    (found,) = judge(history([2.0, *[8.0] * 60], with_updates(0.5)), [WATCH_RULES["TRN101"]])

    assert found.message == "The steps are too long: the loss went from 2 up to 8."
    assert found.cause == "the loss began at 2 and stands at 8 after 61 steps; the updates came to 0.5 of the weights"
