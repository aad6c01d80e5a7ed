"""Losses that swing, stay, spike, or part from those on held-out data."""

import math
from dataclasses import replace

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Reading
from tests.findings.watched.histories import evaluated, falling, flat, history, noise, severities, with_updates

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


RISING = [1.5, 1.0, 0.8, 0.7, 0.75, 0.9, 1.05, 1.2, 1.3]
FLAT = [1.5, 1.0, 0.8, 0.7, 0.71, 0.70, 0.71, 0.70, 0.71]
SURE = [1.5, 0.5, 0.1, 0.06, 0.07, 0.07, 0.08, 0.08, 0.08]
NOISY = [1.5, 1.0, 0.7, 1.1, 0.8, 1.2, 0.75, 1.1, 0.9]


@pytest.mark.parametrize(
    ("losses", "values", "accuracy", "found"),
    [
        pytest.param(falling(200), RISING, None, ["warning"], id="it rises while training falls"),
        pytest.param(falling(200), RISING, [0.5] * 9, ["note"], id="surer of as many errors"),
        pytest.param(
            falling(200), RISING, [0.5, 0.6, 0.7, 0.8, 0.8, 0.7, 0.7, 0.7, 0.6], ["warning"], id="more errors"
        ),
        pytest.param(falling(200), FLAT, None, [], id="it stays"),
        pytest.param(falling(200), SURE, None, [], id="a hundredth of what was gained"),
        pytest.param(falling(200), NOISY, None, [], id="noise between evaluations"),
        pytest.param(falling(200), RISING[:6], None, [], id="two evaluations behind the best"),
        pytest.param(np.concatenate([falling(80), flat(120, 2.0)]), RISING, None, [], id="training rises too"),
    ],
)
def test_overfitting_is_a_rise_on_held_out_data_alone(
    losses: np.ndarray, values: list[float], accuracy: list[float] | None, found: list[str]
) -> None:
    others = {} if accuracy is None else {"val_accuracy": accuracy}

    assert severities("TRN105", evaluated(history(losses), values, **others)) == found


def test_overfitting_names_the_best_step_and_what_was_lost() -> None:
    (found,) = judge(evaluated(history(falling(180)), RISING), [WATCH_RULES["TRN105"]])

    assert found.message == "The network overfits: 'val_loss' has risen from 0.7 to 1.2."
    assert found.cause.startswith("val_loss was best at step 80 with 0.7 and stands at 1.2")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("eval/loss", ["warning"]),
        ("loss_val_epoch", ["warning"]),
        ("test_perplexity", ["warning"]),
        ("train_loss", []),
        ("val_kl_loss", []),
        ("val_error", []),
    ],
)
def test_only_whole_losses_on_held_out_data_tell_of_overfitting(name: str, found: list[str]) -> None:
    run = evaluated(history(falling(200)), [1.0] * 9, **{name: RISING})

    assert severities("TRN105", run) == found


def spiked(height: float, *, after: float) -> np.ndarray:
    losses = np.concatenate([falling(120), flat(20, after)])
    losses[120] = height
    return losses


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        pytest.param(spiked(6.0, after=2.0), ["warning"], id="it does not recover"),
        pytest.param(spiked(6.0, after=0.1), ["note"], id="it recovers"),
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
