import math
from dataclasses import replace
from typing import Any

import pytest

from isometry.lab.apparatus.digits import CLASSES, mnist_5k, split, with_wrong_labels
from isometry.lab.experiments.double_descent_width import WidthSettings
from isometry.lab.members.member import Member
from isometry.lab.members.training import Examples, SideBySide
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("double-descent-width")
TINY = WidthSettings(num_train=60, widths=(2, 8, 16, 64), num_epochs=3, batch_size=20)
Found = dict[str, Any]
# Errors by width, as measured before.
WIDTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 128, 256, 512)
TRAIN = (0.369, 0.214, 0.173, 0.104, 0.078, 0.042, 0.017, 0.003, 0, 0, 0, 0, 0, 0, 0)
TEST = (0.433, 0.318, 0.303, 0.324, 0.345, 0.338, 0.337, 0.337, 0.328, 0.305, 0.280, 0.274, 0.236, 0.206, 0.186)
BEST = (0.411, 0.236, 0.209, 0.201, 0.182, 0.158, 0.168, 0.149, 0.150, 0.145, 0.140, 0.146, 0.141, 0.129, 0.142)


def as_before(key: str = "", width: int = 0, error: float = 0.0) -> Found:
    """Return what was measured before, with one error set otherwise."""
    found: Found = {"train_error": list(TRAIN), "test_error": list(TEST), "best_error": list(BEST)}
    if key:
        found[key][WIDTHS.index(width)] = error
    return found


def test_a_small_run_has_an_error_a_width_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert found[0] == found[1] != found[2]
    assert [len(errors) for errors in found[0].values()] == [4, 4, 4]
    assert all(best <= last for best, last in zip(found[0]["best_error"], found[0]["test_error"], strict=True))
    require_drawable(EXPERIMENT, TINY, found)


def test_errors_are_those_of_networks_with_wrong_labels_on_other_images() -> None:
    settings = replace(TINY, widths=(16,), num_epochs=12, learning_rate=0.03)
    [found] = measured(EXPERIMENT, settings, 5)
    parts = split(mnist_5k(), 60)
    labels = with_wrong_labels(parts.train.labels, 0.2, seed=5).labels
    alone = SideBySide(
        [Member(hidden=(16,), learning_rate=0.03, seed=5)],
        Examples(inputs=parts.train.images, labels=labels, num_classes=10),
    )
    test = Examples(inputs=parts.test.images, labels=parts.test.labels, num_classes=CLASSES)
    errors = [alone.errors(test).item() for _ in alone.train(12, batch_size=20, seed=5)]

    assert found["train_error"] == alone.errors(alone.examples).tolist()
    assert found["test_error"] == [errors[-1]]
    assert found["best_error"] == [min(errors)] < found["test_error"]


def test_what_was_measured_before_holds_every_claim() -> None:
    claims = claims_of("double-descent-width", [as_before()], widths=WIDTHS)

    assert len(claims) == 5
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("key", "width", "error", "word"),
    [
        pytest.param("test_error", 256, 0.40, "at a few units", id="another peak"),
        pytest.param("test_error", 512, 0.246, "far below the peak", id="no second descent"),
        pytest.param("train_error", 10, 0.005, "falls below 1 %", id="fitted before the peak"),
        pytest.param("best_error", 16, 0.2, "no width has a peak", id="stopping does not help"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(key: str, width: int, error: float, word: str) -> None:
    (refuted,) = not_held(claims_of("double-descent-width", [as_before(key, width, error)], widths=WIDTHS))

    assert word in refuted


@pytest.mark.parametrize(
    "changes",
    [{"num_epochs": 4000}, {"num_train": 500}, {"noise": 0.4}, {"batch_size": 10}, {"learning_rate": 0.01}],
)
def test_places_are_judged_in_the_settings_alone_that_their_ranges_are_of(changes: dict[str, Any]) -> None:
    early = [0.005, *TRAIN[1:]], [0.2, 0.44, *TEST[2:]]
    found = as_before() | {"train_error": early[0], "test_error": early[1]}

    assert len(not_held(claims_of("double-descent-width", [found], widths=WIDTHS))) == 2
    assert not_held(claims_of("double-descent-width", [found], widths=WIDTHS, **changes)) == []


def test_an_error_that_falls_with_the_width_has_no_peak() -> None:
    found = as_before() | {"test_error": [0.4 - 0.02 * place for place in range(len(WIDTHS))]}

    assert any(
        "rises with the width" in text for text in not_held(claims_of("double-descent-width", [found], widths=WIDTHS))
    )


def test_the_peak_of_the_last_epoch_is_seen_where_it_is_taken_for_the_best() -> None:
    found = as_before() | {"best_error": list(TEST)}
    (refuted,) = not_held(claims_of("double-descent-width", [found], widths=WIDTHS))

    assert "no width has a peak" in refuted


def test_narrow_networks_that_fail_to_train_are_no_peak() -> None:
    found = as_before("best_error", 4, 0.2)

    assert not_held(claims_of("double-descent-width", [found], widths=WIDTHS)) == []


def test_labels_that_no_width_fits_are_told() -> None:
    found = as_before() | {"train_error": [0.02] * len(WIDTHS)}
    claims = claims_of("double-descent-width", [found], widths=WIDTHS)

    assert [math.isnan(claim.measured) for claim in claims] == [False, False, True, False, False]
    assert len(not_held(claims)) == 1


def test_any_widths_are_judged_and_one_shows_nothing() -> None:
    few = {key: [errors[0], errors[11]] for key, errors in as_before().items()}
    one = {key: errors[:1] for key, errors in as_before().items()}

    assert len(claims_of("double-descent-width", [few], widths=(4, 64))) == 5
    assert len(not_held(claims_of("double-descent-width", [one], widths=(4,)))) == 5


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("double-descent-width", 0)
