"""Losses that swing, stay or spike."""

import math
from dataclasses import replace

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Reading
from tests.findings.watched.histories import falling, flat, history, noise, severities, with_ends, with_updates

STEPS = np.arange(200)
TWO = 2.0 + np.where(STEPS % 2, 0.8, -0.8)  # one step up, one step down
SMOOTH = 2.0 + np.sin(2 * np.pi * STEPS / 12)
LN10 = math.log(10)


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        pytest.param(TWO, ["warning"], id="a swing of two steps"),
        pytest.param(SMOOTH, ["warning"], id="a swing of twelve steps"),
        pytest.param(2.0 + 0.1 * np.sin(STEPS), [], id="a small swing"),
        pytest.param(SMOOTH - STEPS / 100, [], id="a swing that falls: the edge of stability"),
        pytest.param(np.concatenate([[8.0], TWO]), [], id="at the bottom of its valley"),
        pytest.param(np.exp(noise(200, 1.0)), [], id="heavy-tailed noise of batches"),
        pytest.param(noise(200, 0.5), [], id="a policy gradient about zero"),
        pytest.param(2.0 + np.sin(2 * np.pi * STEPS / 100), [], id="a slow drift"),
    ],
)
def test_a_loss_oscillates_where_its_swings_follow_a_rule_and_cost_it(losses: np.ndarray, found: list[str]) -> None:
    assert severities("TRN103", history(losses, with_updates(0.1))) == found


def test_a_loss_that_swings_at_short_steps_swings_with_its_batches() -> None:
    assert severities("TRN103", history(TWO, with_updates(0.005))) == []


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_never_taken_for_a_swing_or_a_spike(seed: int) -> None:
    for losses in (1 + noise(300, 0.3, seed=seed), noise(300, 1.0, seed=seed) ** 2, np.exp(noise(300, 1.0, seed=seed))):
        run = history(losses, with_updates(0.1))

        assert severities("TRN103", run) == []
        assert severities("TRN106", run) in ([], ["note"])


@pytest.mark.parametrize(
    ("losses", "baseline", "found"),
    [
        pytest.param(flat(1100, LN10), LN10, ["warning"], id="at the constant predictor"),
        pytest.param(flat(1100, LN10), None, ["note"], id="what can be reached is unknown"),
        pytest.param(flat(900, LN10), LN10, [], id="too early to tell"),
        pytest.param(flat(1100, LN10), 2 * LN10, [], id="below the constant predictor"),
        pytest.param(falling(1100), LN10, [], id="it learns"),
        pytest.param(falling(1100), None, [], id="it learns, and nobody knows what can be reached"),
        pytest.param(np.concatenate([falling(600), flat(500, LN10)]), LN10, [], id="it had learnt"),
    ],
)
def test_a_plateau_is_where_a_constant_prediction_is(
    losses: np.ndarray, baseline: float | None, found: list[str]
) -> None:
    assert severities("TRN104", history(losses, baseline=baseline)) == found


@pytest.mark.parametrize(
    ("losses", "first", "last", "found"),
    [
        pytest.param(flat(60), 0.5, 0.0, ["the inputs differ"], id="nothing of an input reaches the outputs"),
        pytest.param(flat(60), 0.0, 0.0, ["the inputs do not differ"], id="there is one input"),
        pytest.param(flat(60), 0.0, 0.3, ["the inputs do not differ"], id="one input, and dropout behind it"),
        pytest.param(falling(60), 0.0, 0.3, [], id="the first layer is alike, and it learns"),
        pytest.param(flat(60), 0.5, 1e-7, ["the inputs differ"], id="rounding"),
        pytest.param(flat(60), 0.5, 0.05, [], id="they differ by a twentieth"),
        pytest.param(flat(40), 0.5, 0.0, [], id="too early to tell"),
        pytest.param(flat(60), None, None, [], id="a single row, or no output layer"),
    ],
)
def test_outputs_that_are_alike_are_told_without_a_baseline(
    losses: np.ndarray, first: float | None, last: float | None, found: list[str]
) -> None:
    findings = judge(history(losses, with_ends(first, last)), [WATCH_RULES["TRN104"]])

    assert [each.severity for each in findings] == ["warning"] * len(found)
    assert all(str(each.cause).startswith(words) for each, words in zip(findings, found, strict=True))


@pytest.mark.parametrize("losses", [falling(60), noise(60, 0.5)])
def test_constant_outputs_may_be_right_where_the_loss_falls_or_tells_nothing(losses: np.ndarray) -> None:
    assert severities("TRN104", history(losses, with_ends(0.0, 0.0))) == ["note"]


def test_outputs_that_differ_in_one_reading_are_not_constant() -> None:
    def edit(each: Reading) -> Reading:
        return with_ends(0.5, 0.3 if each.step == 55 else 0.0)(each)

    assert severities("TRN104", history(flat(60), edit)) == []


def test_a_plateau_claims_no_constant_output_that_nobody_saw() -> None:
    (found,) = judge(history(flat(1100, LN10), baseline=LN10), [WATCH_RULES["TRN104"]])

    assert "no better than a constant prediction" in found.cause


def spiked(height: float, *, after: float) -> np.ndarray:
    losses = np.concatenate([falling(120), flat(24, after)])
    losses[120] = height
    return losses


BAD_BATCH = np.concatenate([falling(120), [90.0], 2.0 * np.exp(-np.arange(23) / 30)])
LEARNT_AWAY = np.concatenate([falling(120), 5.0 * np.exp(-np.arange(24) / 30)])  # harder data from there on
VALUES = np.concatenate([flat(30, 1e-4, 1e-6), flat(10, 1e-6, 1e-7), flat(24, 1.0)])
OUTLIERS = np.concatenate([falling(100, size=0.001), flat(44, 0.1, 0.001)])
OUTLIERS[[90, 95, 110]] = 1.0
OUTLIERS[120] = 2.5


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        pytest.param(spiked(6.0, after=2.0), ["warning"], id="it does not recover"),
        pytest.param(spiked(6.0, after=0.1), ["note"], id="it recovers"),
        pytest.param(spiked(2.0, after=2.0)[:137], ["note"], id="as high from there on, and early"),
        pytest.param(spiked(2.0, after=2.0), ["warning"], id="as high from there on"),
        pytest.param(spiked(6.0, after=2.0)[:137], ["warning"], id="a single batch needs less time"),
        pytest.param(BAD_BATCH, ["warning"], id="a single batch, and it learns anew"),
        pytest.param(LEARNT_AWAY, ["note"], id="it is learnt away again"),
        pytest.param(VALUES, ["note"], id="values that are learnt from next to nothing"),
        pytest.param(OUTLIERS, [], id="single batches stood out before"),
        pytest.param(spiked(0.4, after=0.1), [], id="small beside what was gained"),
        pytest.param(spiked(6.0, after=2.0)[:125], [], id="too early to tell"),
        pytest.param(falling(140), [], id="none"),
    ],
)
def test_a_spike_is_a_leap_out_of_the_noise(losses: np.ndarray, found: list[str]) -> None:
    assert severities("TRN106", history(losses)) == found


def test_a_warm_restart_is_no_spike() -> None:
    def restarting(each: Reading) -> Reading:
        return replace(each, learning_rates=(0.001 if each.step < 120 else 0.1,))

    losses = spiked(6.0, after=2.0)

    assert severities("TRN106", history(losses, restarting)) == []
