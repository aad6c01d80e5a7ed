import math
from typing import Any

import numpy as np
import pytest

from isometry._errors import DomainError
from isometry.lab.experiments.random_product import RandomProductSettings
from isometry.lab.runner import find_experiment
from isometry.theory.products import lyapunov_exponents, product_growth
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("random-product")
BOOK = RandomProductSettings()
MEAN, DEVIATION = product_growth(4, variance=1.0).after(100)
SOUND = {
    "mean": [0.0, MEAN],
    "deviation": DEVIATION,
    "exponents": lyapunov_exponents(4, variance=1.0).tolist(),
    "largest_entry": [0.0, 24 * math.log(10)],
    "stretch": [24.0, -30.0],
    "allowed": [45.0, -60.0],
    "eigenvalues_above": 0.4,
}


def test_one_matrix_is_followed_by_hand() -> None:
    settings = RandomProductSettings(width=3, num_matrices=1, num_draws=2, variance=4.0)
    (found,) = measured(EXPERIMENT, settings, 5)

    matrices = 2 * np.random.default_rng(5).standard_normal((2, 3, 3))
    singular = np.linalg.svd(matrices[0], compute_uv=False)
    assert found["mean"][1] == pytest.approx(np.log(np.linalg.norm(matrices[:, :, 0], axis=1)).mean())
    assert sum(found["exponents"]) == pytest.approx(np.log(np.abs(np.linalg.det(matrices))).mean())
    assert found["largest_entry"] == pytest.approx([0.0, math.log(np.abs(matrices[0]).max())])
    assert found["stretch"] == pytest.approx(np.log10(singular[[0, -1]]))
    assert found["stretch"] == pytest.approx(found["allowed"])


@pytest.mark.parametrize(
    ("width", "variance", "num_matrices", "num_draws"),
    [(3, 1.0, 30, 100), (8, 0.125, 30, 100), (2, 1e-8, 300, 30), (4, 1e8, 120, 5), (24, 1.0, 400, 2)],
)
def test_products_of_any_size_and_variance_hold(width: int, variance: float, num_matrices: int, num_draws: int) -> None:
    settings = RandomProductSettings(width=width, variance=variance, num_matrices=num_matrices, num_draws=num_draws)
    found = measured(EXPERIMENT, settings, 0, 1)

    assert not_held(EXPERIMENT.judge(settings, found)) == []
    require_drawable(EXPERIMENT, settings, found)


def test_the_bounds_are_those_of_theory() -> None:
    (found,) = measured(EXPERIMENT, RandomProductSettings(width=3, num_matrices=5, num_draws=2), 1)
    generator = np.random.default_rng(1)
    factors = [generator.standard_normal((2, 3, 3))[0] for _ in range(5)]

    largest, smallest = (math.prod(float(np.linalg.norm(each, order)) for each in factors) for order in (2, -2))
    assert found["allowed"] == pytest.approx(np.log10([largest, smallest]))


@pytest.mark.parametrize("change", [{"width": 1}, {"num_draws": 1}, {"variance": 0.0}, {"num_matrices": 0}])
def test_settings_of_which_nothing_can_be_said_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match="2 at least"):
        RandomProductSettings(**change)


def test_the_prediction_is_drawn_over_what_was_seen() -> None:
    growth, _ = EXPERIMENT.draw(BOOK, [SOUND | {"mean": [0.0] * 101}])

    assert growth.series[-1].name == "Lyapunov exponent"


def test_only_the_books_own_product_is_held_against_its_words() -> None:
    book, other = claims_of("random-product", [SOUND]), claims_of("random-product", [SOUND], num_draws=100)

    assert not_held(book) == []
    assert {claim.text for claim in book} - {claim.text for claim in other} == {
        "the book's product of 100 matrices has entries beyond all use"
    }


@pytest.mark.parametrize(
    ("change", "word"),
    [
        pytest.param({"mean": [0.0, MEAN + DEVIATION]}, "Lyapunov exponent", id="faster"),
        pytest.param({"deviation": 1.3 * DEVIATION}, "stray from it", id="wider"),
        pytest.param({"exponents": [0.558, 0.3, 0.1, 0.0]}, "its own exponent", id="nearer to one another"),
        pytest.param({"exponents": [0.558] * 4}, "condition number", id="all alike"),
        pytest.param({"largest_entry": [0.0, 20.0]}, "entries beyond", id="small entries"),
        pytest.param({"stretch": [46.0, -30.0]}, "largest singular value", id="above the bound"),
        pytest.param({"stretch": [24.0, -61.0]}, "smallest", id="below the bound"),
        pytest.param({"eigenvalues_above": 0.0}, "no such bound", id="eigenvalues bounded"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(change: dict[str, object], word: str) -> None:
    refuted = not_held(claims_of("random-product", [SOUND | change]))

    assert any(word in text for text in refuted)


def test_the_quick_preset_holds() -> None:
    require_held("random-product", 0)
