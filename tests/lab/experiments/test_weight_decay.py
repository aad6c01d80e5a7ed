import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from isometry.lab.experiments.weight_decay import DecaySettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("weight-decay")
TINY = DecaySettings(
    num_train=100, width=8, decays=(0.0, 0.1, 3.0), num_epochs=2, num_features=(20, 100), strengths=(0.0, 1.0)
)
QUICK: DecaySettings = EXPERIMENT.quick
Found = dict[str, Any]
# Errors over the decays 0, 0.01, 0.1, 0.3, 1, 2, 3, 5, 10, 30, and ridge's over the features: of no strength and of all
# others. Those in validation are least where ours are best.
FITTED = [0, 0, 0, 0.002, 0.04, 0.14, 0.2, 0.26, 0.31, 0.54]
CLEAN_TEST = [0.08, 0.08, 0.075, 0.078, 0.07, 0.08, 0.09, 0.1, 0.13, 0.36]
NOISY_TEST = [0.22, 0.22, 0.2, 0.19, 0.16, 0.13, 0.115, 0.13, 0.17, 0.46]
PLAIN = [0.2, 0.19, 0.24, 0.42, 0.6, 0.88, 0.62, 0.47, 0.4, 0.26]
TUNED = [0.19, 0.15, 0.12, 0.11, 0.1, 0.095, 0.09, 0.09, 0.09, 0.091]


def as_before() -> Found:
    """Return what was measured before, with a validation that agrees with the test."""
    ridge = [[plain, tuned, *[0.5] * 7] for plain, tuned in zip(PLAIN, TUNED, strict=True)]
    return {
        "train_error": [[0.0] * 10, list(FITTED)],
        "valid_error": [list(CLEAN_TEST), list(NOISY_TEST)],
        "test_error": [list(CLEAN_TEST), list(NOISY_TEST)],
        "ridge_valid_error": copy.deepcopy(ridge),
        "ridge_test_error": ridge,
    }


def test_a_small_run_has_an_error_a_network_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    assert [len(row) for row in found[0]["test_error"]] == [3, 3]
    assert [len(row) for row in found[0]["ridge_test_error"]] == [2, 2]
    require_drawable(EXPERIMENT, TINY, found)


def test_each_share_of_wrong_labels_has_its_own_networks_images_and_labels() -> None:
    settings = replace(
        TINY, num_train=200, noise=(0.0, 1.0), width=64, decays=(0.0, 0.01), num_epochs=20, num_features=(50,)
    )
    [found] = measured(EXPERIMENT, settings, 0)

    for name in ("train", "valid"):  # and the second row learns labels that are all wrong
        assert max(found[f"{name}_error"][0]) < 0.3
    assert max(found["train_error"][1]) < 0.6
    assert max(found["test_error"][0]) < 0.3
    assert min(found["test_error"][1]) > 0.9


def test_validation_labels_are_as_wrong_as_those_in_training_and_its_images_are_not_the_tests() -> None:
    settings = replace(TINY, num_train=1000, noise=(0.0, 0.4), num_features=(200,), strengths=(0.0, 100.0))
    [found] = measured(EXPERIMENT, settings, 0)
    valid, test = (found[f"ridge_{name}_error"][0][1] for name in ("valid", "test"))

    assert valid - test == pytest.approx(0.4 * (1 - test), abs=0.08)  # of what is known, the share with a wrong label
    [clean] = measured(EXPERIMENT, replace(settings, noise=(0.0,)), 0)
    assert clean["ridge_valid_error"] != clean["ridge_test_error"]
    assert clean["valid_error"] != clean["test_error"]


def test_what_was_measured_before_holds_every_claim() -> None:
    claims = claims_of("weight-decay", [as_before()])

    assert len(claims) == 7
    assert not_held(claims) == []


def no_fit_under_usual_decay(found: Found) -> None:
    found["train_error"][1][2] = 0.03


def no_gain_under_noise(found: Found) -> None:
    found["test_error"][1][0] = 0.13


def fitted_under_best_decay(found: Found) -> None:
    found["train_error"][1][6] = 0.02


def gain_without_noise(found: Found) -> None:
    found["test_error"][0][0] = 0.12


def peak_elsewhere(found: Found) -> None:
    found["ridge_test_error"][8][0] = 0.9


def peak_under_ridge(found: Found) -> None:
    found["ridge_test_error"][5][1] = 0.6


def rise_under_ridge(found: Found) -> None:
    found["ridge_test_error"][9][1] = 0.13


@pytest.mark.parametrize(
    ("alter", "word"),
    [
        (no_fit_under_usual_decay, "under usual decays"),
        (no_gain_under_noise, "with wrong labels"),
        (fitted_under_best_decay, "about as many labels"),
        (gain_without_noise, "without wrong labels"),
        (peak_elsewhere, "least squares has its peak"),
        (peak_under_ridge, "takes the peak away"),
        (rise_under_ridge, "hardly rises"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(alter: Callable[[Found], None], word: str) -> None:
    found = as_before()
    alter(found)

    assert any(word in text for text in not_held(claims_of("weight-decay", [found])))


def test_strengths_are_chosen_in_validation_and_not_in_the_test() -> None:
    found = as_before()
    found["test_error"][1][9] = 0.01
    found["ridge_test_error"][5][8] = 0.0
    before, after = (claims_of("weight-decay", [each]) for each in (as_before(), found))

    assert [claim.measured for claim in before] == [claim.measured for claim in after]


def test_without_a_clean_training_nothing_is_said_of_it() -> None:
    found = as_before()
    claims = claims_of("weight-decay", [found], noise=(0.1, 0.2))

    assert not any("without wrong labels" in claim.text for claim in claims)


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("weight-decay", 0)
