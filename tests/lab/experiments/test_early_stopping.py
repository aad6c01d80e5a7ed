from collections.abc import Callable
from math import isnan, nan
from typing import Any

import pytest

from isometry.lab.experiment import Measured
from isometry.lab.experiments.early_stopping import StoppingSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("early-stopping")
TINY = StoppingSettings(num_epochs=2, num_clean_epochs=1, num_probed_epochs=1, num_probe=50)
EPOCHS = 80
BEST = 4  # the epoch at which memorising begins
Columns = dict[str, list[float]]


def memorising(*, top: float, end: float) -> Columns:
    """Return a training that is best at epoch 4, and by its end has learned all wrong labels."""
    learned = [min(1.0, epoch / BEST) for epoch in range(1, EPOCHS + 1)]
    lost = [max(0.0, min(1.0, (epoch - BEST) / 30)) for epoch in range(1, EPOCHS + 1)]
    both = list(zip(learned, lost, strict=True))
    return {
        "step": [50.0 * epoch for epoch in range(1, EPOCHS + 1)],
        "epoch": [float(epoch) for epoch in range(1, EPOCHS + 1)],
        "train_loss": [2 - 0.5 * early - 1.4 * late for early, late in both],
        "train_accuracy": [0.56 * early + 0.43 * late for early, late in both],
        "probe_accuracy": [0.1 + 0.85 * late for late in lost],
        "val_loss": [2 - early + 4 * late for early, late in both],
        "val_error": [0.8 - 0.4 * early + 0.3 * late for early, late in both],
        "test_accuracy": [top * early - (top - end) * late for early, late in both],
        "changed_predictions": [nan, *(0.12 - 0.04 * early + 0.1 * late for early, late in both[1:])],
        "right_fitted": [0.93 * early + 0.06 * late for early, late in both],
        "wrong_fitted": [0.06 * early + 0.93 * late for early, late in both],
        "wrong_seen_through": [0.8 * early * (1 - late) for early, late in both],
    }


def as_before() -> dict[str, Columns]:
    """Return what was measured before, in straight lines; without wrong labels the loss has its end slightly worse."""
    clean = memorising(top=0.945, end=0.95) | {"wrong_fitted": [nan] * EPOCHS, "wrong_seen_through": [nan] * EPOCHS}
    return {"noisy": memorising(top=0.87, end=0.66), "clean": clean, "probed": memorising(top=0.85, end=0.655)}


def test_a_small_run_has_a_column_a_metric_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    assert {name: len(found[0][name]["val_loss"]) for name in found[0]} == {"noisy": 2, "clean": 1, "probed": 1}
    assert found[0]["noisy"]["step"] == [50, 100]
    assert found[0]["probed"]["step"] == [51]
    assert [isnan(found[0][name]["wrong_fitted"][0]) for name in ("noisy", "clean", "probed")] == [False, True, False]
    assert [isnan(found[0][name]["probe_accuracy"][0]) for name in ("noisy", "clean", "probed")] == [True, True, False]
    assert len(EXPERIMENT.judge(TINY, found)) == 8
    require_drawable(EXPERIMENT, TINY, found)


def test_what_was_measured_before_holds_every_claim_and_marks_the_best_epoch() -> None:
    found: list[Measured] = [as_before()]
    claims = claims_of("early-stopping", found)

    assert len(claims) == 8
    assert not_held(claims) == []
    assert EXPERIMENT.draw(EXPERIMENT.quick, found)[0].x_marks == ((BEST, "kept"), (BEST + 5, "stopped"))


def wrong_ones_at_once(found: dict[str, Columns]) -> None:
    found["noisy"]["wrong_fitted"][BEST - 1] = 0.3


def right_ones_never(found: dict[str, Columns]) -> None:
    found["noisy"]["right_fitted"] = [0.1] * EPOCHS
    found["noisy"]["wrong_fitted"] = [0.09] * (EPOCHS - 1) + [0.99]


def wrong_ones_never(found: dict[str, Columns]) -> None:
    found["noisy"]["wrong_fitted"][-1] = 0.5


def a_validation_that_does_not_see_it(found: dict[str, Columns]) -> None:
    found["noisy"]["val_error"] = [1 - 0.001 * epoch for epoch in range(EPOCHS)]


def changes_that_fall_to_the_end(found: dict[str, Columns]) -> None:
    found["noisy"]["changed_predictions"] = [1 - 0.001 * epoch for epoch in range(EPOCHS)]


def a_loss_that_falls_to_the_end(found: dict[str, Columns]) -> None:
    found["noisy"]["val_loss"] = [1 - 0.001 * epoch for epoch in range(EPOCHS)]


def a_clean_training_that_is_spoilt(found: dict[str, Columns]) -> None:
    found["clean"]["test_accuracy"][-1] = 0.9


def a_clean_training_that_gets_better(found: dict[str, Columns]) -> None:
    found["clean"]["test_accuracy"][-1] = 0.99


def a_probe_that_is_late(found: dict[str, Columns]) -> None:
    found["probed"]["probe_accuracy"] = [0.1] * EPOCHS


@pytest.mark.parametrize(
    ("alter", "word"),
    [
        (wrong_ones_at_once, "no more than by chance"),
        (right_ones_never, "no more than by chance"),
        (wrong_ones_never, "in the end"),
        (a_validation_that_does_not_see_it, "every rule on a validation set"),
        (changes_that_fall_to_the_end, "Label Wave"),
        (a_loss_that_falls_to_the_end, "small part of the epochs"),
        (a_clean_training_that_is_spoilt, "no patience gains"),
        (a_clean_training_that_gets_better, "none costs much"),
        (a_probe_that_is_late, "a probe of random labels"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(alter: Callable[[Any], None], word: str) -> None:
    found = as_before()
    alter(found)

    assert any(word in text for text in not_held(claims_of("early-stopping", [found])))


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("early-stopping", 0)
