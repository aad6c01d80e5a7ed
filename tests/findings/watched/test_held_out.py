"""Losses on held-out data that part from those on the training data."""

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from tests.findings.watched.histories import evaluated, falling, flat, history, severities

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
        pytest.param(falling(200), RISING, [*[0.8] * 8, 0.79], ["note"], id="as many errors but for a few"),
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
        ("val_error", ["warning"]),
        ("val_mse", ["warning"]),
        ("valid_xent", ["warning"]),
        ("val_nll_loss", ["warning"]),
        ("holdout_loss", ["warning"]),
        ("val_bits_per_byte", ["warning"]),
        ("loss", []),
        ("loss_mean", []),
        ("val_accuracy", []),
    ],
)
def test_only_whole_losses_on_held_out_data_tell_of_overfitting(name: str, found: list[str]) -> None:
    run = evaluated(history(falling(200)), [1.0] * 9, **{name: RISING})

    assert severities("TRN105", run) == found
