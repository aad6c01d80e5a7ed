import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from isometry.lab.experiments.memorise import MemoriseSettings, redrawn
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("memorise")
TINY = MemoriseSettings(num_train=40, width=64, shares=(0.0, 1.0), num_epochs=12, batch_size=10, learning_rate=1e-2)
Found = dict[str, Any]
# Epochs of the first perfect fit and accuracies by share of random labels, as measured before, in one of three seeds;
# and those until 99 % are fitted.
FITTED = [12, 58, 70, 68, 62]
NEARLY = [10, 40, 46, 45, 44]
TEST_ERROR = [0.074, 0.201, 0.4, 0.65, 0.908]


def fitting(fitted: list[int], nearly: list[int]) -> list[list[float]]:
    """Return training errors that are 0 from some epochs on, and 1 % from others."""
    steps = list(zip(fitted, nearly, strict=True))
    return [
        [0.0 if epoch >= last else 0.01 if epoch >= most else 0.3 for last, most in steps] for epoch in range(1, 121)
    ]


def as_before() -> Found:
    """Return what was measured before; an Adam of this rate leaves single labels again after it had them all."""
    train = fitting(FITTED, NEARLY)
    train[-1] = [0.0, 0.001, 0.0, 0.002, 0.0]
    return {"train_error": train, "test_error": [list(TEST_ERROR)] * 120}


def test_a_small_run_fits_random_labels_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert found[0] == found[1] != found[2]
    assert found[0]["train_error"][-1] == [0.0, 0.0]
    assert found[0]["test_error"][-1][1] > found[0]["test_error"][-1][0] > 0  # other images than it was trained on
    require_drawable(EXPERIMENT, TINY, found)


def test_an_exact_share_is_drawn_anew_from_all_classes() -> None:
    labels = torch.full((1000,), 3)
    new = redrawn(labels, 0.5, seed=1)

    assert torch.equal(redrawn(labels, 0.0, seed=1), labels)
    assert 0 < 500 - int((new != labels).sum()) < 100  # a tenth of the drawn ones is what it was
    assert set(redrawn(labels, 1.0, seed=1).tolist()) == set(range(10))


def test_what_was_measured_before_holds_every_claim() -> None:
    claims = claims_of("memorise", [as_before()])

    assert len(claims) == 5
    assert not_held(claims) == []


def one_label_is_left(found: Found) -> None:
    for row in found["train_error"]:
        row[2] = max(row[2], 0.001)


def random_labels_are_as_quick(found: Found) -> None:
    found["train_error"] = fitting(FITTED, [*NEARLY[:-1], 30])


def the_last_random_label_is_as_quick(found: Found) -> None:
    found["train_error"] = fitting([30, *FITTED[1:-1], 59], [10, *NEARLY[1:]])


def nothing_is_learned(found: Found) -> None:
    found["test_error"][-1][0] = 0.2


def random_labels_teach(found: Found) -> None:
    found["test_error"][-1][-1] = 0.7


@pytest.mark.parametrize(
    ("alter", "word"),
    [
        pytest.param(one_label_is_left, "to the last one", id="one label is not fitted"),
        pytest.param(random_labels_are_as_quick, "several times", id="random labels are fitted soon"),
        pytest.param(the_last_random_label_is_as_quick, "a single image", id="so is the last of them"),
        pytest.param(nothing_is_learned, "knows new images", id="true labels teach little"),
        pytest.param(random_labels_teach, "it does not", id="random labels teach"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(alter: Callable[[Found], None], word: str) -> None:
    found = copy.deepcopy(as_before())
    alter(found)
    (refuted,) = not_held(claims_of("memorise", [found]))

    assert word in refuted


def test_epochs_are_compared_by_their_means_over_seeds() -> None:
    quick, slow = as_before(), as_before()
    quick["train_error"], slow["train_error"] = (fitting([28, 9, 9, 9, 60], [each, 9, 9, 9, 60]) for each in (20, 10))

    assert len(not_held(claims_of("memorise", [quick]))) == 1
    assert not_held(claims_of("memorise", [quick, slow])) == []


def test_labels_that_are_never_fitted_count_as_one_epoch_more_than_there_were() -> None:
    found = as_before()
    found["train_error"] = fitting([11, 9, 9, 9, 999], [11, 9, 9, 9, 999])
    claims = claims_of("memorise", [found])

    assert [claims[1].measured, claims[2].measured] == [11.0, 11.0]


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("memorise", 0, 1, 2)
