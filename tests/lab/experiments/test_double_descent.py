import copy
from collections.abc import Callable
from typing import Any

import pytest

from isometry.lab.experiments.double_descent import DoubleDescentSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("double-descent")
TINY = DoubleDescentSettings(num_train=60, num_features=(10, 30, 60, 120, 480))
Found = dict[str, Any]
# Test errors at 50, 200, 400, 800, 950, 1000, 1050, 1200, 2000, 4000 and 8000 features, as measured before.
FEATURES = (50, 200, 400, 800, 950, 1000, 1050, 1200, 2000, 4000, 8000)
TRUE = (0.256, 0.129, 0.113, 0.224, 0.486, 0.849, 0.475, 0.232, 0.093, 0.062, 0.057)
WRONG = (0.272, 0.189, 0.244, 0.530, 0.736, 0.889, 0.770, 0.608, 0.379, 0.262, 0.226)


def as_before() -> Found:
    """Return what was measured before."""
    rows = [list(pair) for pair in zip(TRUE, WRONG, strict=True)]
    return {"test_error": rows, "train_error": copy.deepcopy(rows)}


def test_a_small_run_interpolates_from_as_many_features_as_images_on_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert found[0] == found[1] != found[2]
    assert found[0]["train_error"][2:] == [[0.0, 0.0]] * 3
    assert found[0]["train_error"][0][1] > 0
    require_drawable(EXPERIMENT, TINY, found)


def test_what_was_measured_before_holds_every_claim() -> None:
    claims = claims_of("double-descent", [as_before()], num_features=FEATURES)

    assert len(claims) == 6
    assert not_held(claims) == []


def peak_before_the_threshold(found: Found) -> None:
    found["test_error"][3][0] = 0.9


def no_second_descent(found: Found) -> None:
    found["test_error"][-1][1] = 0.45


def second_descent_is_not_lower(found: Found) -> None:
    found["test_error"][-1][0] = 0.11


def second_descent_is_lower_under_noise(found: Found) -> None:
    found["test_error"][-1][1] = 0.18


@pytest.mark.parametrize(
    ("alter", "word"),
    [
        pytest.param(peak_before_the_threshold, "with true labels the error peaks", id="peak elsewhere"),
        pytest.param(no_second_descent, "with 20% wrong labels it falls again", id="it hardly falls again"),
        pytest.param(second_descent_is_not_lower, "with true labels the second", id="the second is no lower"),
        pytest.param(
            second_descent_is_lower_under_noise,
            "with 20% wrong labels the second descent ends above",
            id="noise is no bar",
        ),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(alter: Callable[[Found], None], word: str) -> None:
    found = as_before()
    alter(found)
    (refuted,) = not_held(claims_of("double-descent", [found], num_features=FEATURES))

    assert word in refuted


def test_the_peak_is_that_of_the_mean_over_seeds() -> None:
    low, high = as_before(), as_before()
    low["test_error"][5][0] -= 0.05
    high["test_error"][5][0] += 0.05
    falls = claims_of("double-descent", [as_before()], num_features=FEATURES)[1]

    assert claims_of("double-descent", [low, high], num_features=FEATURES)[1].measured == pytest.approx(falls.measured)


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("double-descent", 0)
