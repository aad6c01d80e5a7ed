"""What is read from errors that are made by hand, with noise of a known size."""

import numpy as np
import pytest

from isometry.lab.curve.reading import Errors, course_of, peak_of, position_of, threshold_of


def errors(means: list[float], *, spread: float = 0.01, examples: int = 400, seed: int = 0) -> Errors:
    """Return errors with three seeds that differ by a spread, on examples of which single ones differ by much more."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 0.3, examples)  # the same examples are hard everywhere
    noise = generator.normal(0, 0.1, (len(means), 3, examples)) + generator.normal(0, spread, (len(means), 3, 1))
    return Errors(np.array(means)[:, None, None] + hard + noise)


@pytest.mark.parametrize(
    ("means", "course", "peak"),
    [
        pytest.param([0.4, 0.3, 0.5, 0.2], "peak", 2, id="a peak"),
        pytest.param([0.5, 0.4, 0.3, 0.2], "falls", None, id="falling"),
        pytest.param([0.2, 0.3, 0.4, 0.5], "rises", None, id="rising"),
        pytest.param([0.5, 0.2, 0.3, 0.4], "rises", None, id="a valley"),
        pytest.param([0.3, 0.3, 0.3, 0.3], "flat", None, id="flat"),
        pytest.param([0.5, 0.4, 0.405, 0.2], "falls", None, id="a bump within noise"),
        pytest.param([0.3, 0.4, 0.2, 0.6, 0.1], "peak", 3, id="the higher of two"),
        pytest.param([0.9, 0.3, 0.5, 0.2], "peak", 2, id="a start that is higher than the peak"),
    ],
)
def test_a_curve_is_read(means: list[float], course: str, peak: int | None) -> None:
    found = errors(means)

    assert course_of(found) == course
    assert peak_of(found) == peak


def test_of_curves_that_are_noise_hardly_any_has_a_peak_or_a_course() -> None:
    courses = [course_of(errors([0.3] * 8, examples=100, seed=seed)) for seed in range(400)]

    assert courses.count("peak") <= 4
    assert courses.count("flat") >= 380


def test_hard_examples_that_all_places_share_hide_no_peak() -> None:
    found = errors([0.3, 0.36, 0.3], spread=0.003)

    assert found.difference(1, 0).error < 0.01 < found.noise(1)
    assert peak_of(found) == 1


def test_seeds_that_agree_by_chance_are_not_believed() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(0.3, 0.05, (3, 2, 1)) + np.zeros((3, 2, 50)) + generator.normal(0, 1e-3, (3, 2, 50))
    rows[1] = 0.4 + generator.normal(0, 1e-3, (2, 50))

    assert Errors(rows).noise(1) > 0.005


@pytest.mark.parametrize(
    ("current", "position"), [(0, "before"), (1, "before"), (2, "at"), (3, "at"), (4, "after"), (5, "after")]
)
def test_places_on_the_top_are_at_the_peak(current: int, position: str) -> None:
    found = errors([0.4, 0.2, 0.5, 0.499, 0.2, 0.1])

    assert position_of(found, 2, current) == position


def test_a_small_member_that_is_as_bad_as_the_peak_is_before_it() -> None:
    assert position_of(errors([0.5, 0.2, 0.5, 0.1]), 2, 0) == "before"


@pytest.mark.parametrize(
    ("train", "falling", "rising"),
    [
        pytest.param([0.3, 0.1, 0.0, 0.0], 2, None, id="over width"),
        pytest.param([0.0, 0.005, 0.2, 0.3], None, 1, id="over samples"),
        pytest.param([0.0, 0.0, 0.0], 0, 2, id="everything everywhere"),
        pytest.param([0.3, 0.2, 0.1], None, None, id="nowhere"),
        pytest.param([0.3, 0.0, 0.1, 0.0], 3, None, id="once, and not again"),
        pytest.param([0.3, float("nan")], None, None, id="no number"),
    ],
)
def test_the_threshold_is_where_everything_is_fitted(
    train: list[float], falling: int | None, rising: int | None
) -> None:
    assert threshold_of(train, is_falling=True) == falling
    assert threshold_of(train, is_falling=False) == rising
