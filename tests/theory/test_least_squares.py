"""Risks of least squares against closed forms of the Marchenko-Pastur law, exact means, and simulation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError
from isometry.theory.least_squares import (
    LinearProblem,
    TwoScales,
    descent_risk,
    least_norm_risk,
    marchenko_pastur,
    tuned_ridge_risk,
    two_scale_risk,
)

PROBLEM = LinearProblem(signal=2.0, noise=0.3)
aspects = st.floats(0.05, 0.9) | st.floats(1.1, 8.0)


def stieltjes(aspect: float, penalty: float) -> float:
    """Return ∫ dμ / (λ + penalty), the root of the law's quadratic equation."""
    middle = 1 - aspect + penalty
    return (-middle + math.sqrt(middle**2 + 4 * aspect * penalty)) / (2 * aspect * penalty)


@given(aspect=aspects)
def test_the_law_has_the_moments_and_the_mass_at_zero_of_marchenko_and_pastur(aspect: float) -> None:
    places, weights = marchenko_pastur(aspect)

    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert weights @ places == pytest.approx(1, abs=1e-9)
    assert weights @ places**2 == pytest.approx(1 + aspect, abs=1e-8)
    assert weights[places == 0].sum() == pytest.approx(max(0, 1 - 1 / aspect), abs=1e-12)


@given(aspect=aspects, penalty=st.floats(0.01, 5))
def test_the_law_has_the_stieltjes_transform_of_its_quadratic_equation(aspect: float, penalty: float) -> None:
    places, weights = marchenko_pastur(aspect)

    assert weights @ (1 / (places + penalty)) == pytest.approx(stieltjes(aspect, penalty), rel=1e-6)


@pytest.mark.parametrize("num_examples", [5, 14, 26, 60], ids=lambda count: f"{count} examples")
def test_the_least_norm_has_the_mean_risk_of_many_draws(num_examples: int) -> None:
    num_features, generator, found = 20, np.random.default_rng(0), []
    truth = np.full(num_features, math.sqrt(PROBLEM.signal / num_features))
    for _ in range(1500):
        features = generator.standard_normal((num_examples, num_features))
        targets = features @ truth + math.sqrt(PROBLEM.noise) * generator.standard_normal(num_examples)
        fitted = np.linalg.lstsq(features, targets, rcond=None)[0]
        found.append(np.square(fitted - truth).sum() + PROBLEM.noise)

    error = float(np.std(found)) / math.sqrt(len(found))

    assert np.mean(found) == pytest.approx(least_norm_risk(num_examples, num_features, PROBLEM), abs=4 * error)


@pytest.mark.parametrize("num_examples", [19, 20, 21])
def test_next_to_the_threshold_the_mean_risk_is_infinite(num_examples: int) -> None:
    assert least_norm_risk(num_examples, 20, PROBLEM) == math.inf


@given(num_examples=st.integers(1, 300))
def test_without_noise_more_data_never_hurt(num_examples: int) -> None:
    clean = LinearProblem(signal=1.0, noise=0.0)
    here, later = (least_norm_risk(num_examples + more, 100, clean) for more in (0, 5))

    assert later <= here or later == math.inf


@given(aspect=aspects, noise=st.floats(0.01, 3))
def test_tuned_ridge_has_the_closed_form(aspect: float, noise: float) -> None:
    told = noise * (1 + aspect * stieltjes(aspect, aspect * noise / 2))

    assert tuned_ridge_risk(aspect, LinearProblem(signal=2.0, noise=noise)) == pytest.approx(told, rel=1e-6)


@given(aspect=aspects, noise=st.floats(0.01, 3), factor=st.floats(1.01, 3))
def test_with_a_tuned_penalty_more_data_help_and_beat_the_least_norm(
    aspect: float, noise: float, factor: float
) -> None:
    problem = LinearProblem(signal=2.0, noise=noise)
    fewer, more = tuned_ridge_risk(aspect * factor, problem), tuned_ridge_risk(aspect, problem)

    assert more <= fewer * (1 + 1e-9)
    assert more <= least_norm_risk(10**6, round(aspect * 10**6), problem) * (1 + 1e-4)


def test_nothing_to_learn_leaves_the_noise() -> None:
    assert tuned_ridge_risk(0.5, LinearProblem(signal=0.0, noise=0.4)) == 0.4


@given(aspect=aspects)
def test_descent_begins_at_the_targets_variance_and_ends_at_the_least_norm(aspect: float) -> None:
    begin, end = descent_risk(aspect, PROBLEM, step=0.1, times=(0, 1e6))
    size = 10**7

    assert begin == pytest.approx(2.3)
    assert end == pytest.approx(least_norm_risk(size, round(aspect * size), PROBLEM), rel=1e-4)


def test_descent_has_the_risk_of_steps_that_are_run() -> None:
    rows, columns, generator = 1500, 900, np.random.default_rng(1)
    truth = np.full(columns, math.sqrt(PROBLEM.signal / columns))
    features = generator.standard_normal((rows, columns))
    targets = features @ truth + math.sqrt(PROBLEM.noise) * generator.standard_normal(rows)
    weights, found = np.zeros(columns), [PROBLEM.signal + PROBLEM.noise]
    for _ in range(60):
        weights = weights - 0.3 * features.T @ (features @ weights - targets) / rows
        found.append(np.square(weights - truth).sum() + PROBLEM.noise)

    assert found == pytest.approx(descent_risk(0.6, PROBLEM, step=0.3, times=range(61)).tolist(), rel=0.05)


def groups(scale: float) -> TwoScales:
    return TwoScales(num_examples=210, num_fast=120, num_slow=20, scale=scale, fast=1.0, slow=0.7, noise=0.2, step=0.2)


def test_two_scales_begin_with_the_fast_group_alone_and_end_with_both() -> None:
    alone = descent_risk(120 / 210, LinearProblem(signal=1.0, noise=0.9), step=0.2, times=(0, 3, 30))
    exact = 0.2 / (1 - 140 / 210)

    assert two_scale_risk(groups(1e-6), (0, 3, 30)) == pytest.approx(alone.tolist(), rel=1e-6)
    assert two_scale_risk(groups(1e-3), (1e9,))[0] == pytest.approx(exact, rel=1e-3)


def test_two_scales_have_the_risk_of_draws_whose_steps_are_multiplied_out() -> None:
    times, generator, found = (0, 1, 10, 100, 1000, 8000), np.random.default_rng(2), []
    scale = np.r_[np.ones(120), np.full(20, 0.03)]
    truth = np.r_[np.full(120, 120**-0.5), np.full(20, math.sqrt(0.7 / 20))]
    for _ in range(80):
        features = generator.standard_normal((210, 140))
        targets = features @ truth + math.sqrt(0.2) * generator.standard_normal(210)
        solution = np.linalg.lstsq(features, targets, rcond=None)[0] / scale
        stepped = np.eye(140) - 0.2 * (features * scale).T @ (features * scale) / 210
        left = (np.linalg.matrix_power(stepped, time) @ solution for time in times)
        found.append([np.square((solution - each) * scale - truth).sum() + 0.2 for each in left])

    assert np.mean(found, 0).tolist() == pytest.approx(two_scale_risk(groups(0.03), times).tolist(), rel=0.08)


@pytest.mark.parametrize("step", [0.0, -0.1, 0.7])
def test_a_step_that_diverges_is_refused_with_the_largest_that_does_not(step: float) -> None:
    with pytest.raises(DomainError, match=r"needs one between 0 and 0\.686"):
        descent_risk(0.5, PROBLEM, step=step, times=(1,))


@pytest.mark.parametrize("aspect", [0.0, -1.0, math.inf])
def test_an_aspect_that_is_none_is_refused(aspect: float) -> None:
    with pytest.raises(DomainError, match="features over examples"):
        marchenko_pastur(aspect)


@pytest.mark.parametrize("values", [(-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_variances_that_are_none_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(DomainError, match="variances are finite"):
        LinearProblem(signal=values[0], noise=values[1])


@pytest.mark.parametrize(("aspect", "risk"), [(2.0, 0.5), (0.5, 0.0), (1.0, 0.0)])
def test_tuned_ridge_without_noise_has_the_risk_of_the_least_norm(aspect: float, risk: float) -> None:
    assert tuned_ridge_risk(aspect, LinearProblem(signal=1.0, noise=0.0)) == pytest.approx(risk)


def test_no_features_leave_targets_as_they_are_and_counts_below_zero_are_refused() -> None:
    assert least_norm_risk(1, 0, PROBLEM) == PROBLEM.signal + PROBLEM.noise
    with pytest.raises(DomainError, match="num_examples=-5"):
        least_norm_risk(-5, 3, PROBLEM)


def test_near_the_threshold_descent_still_ends_at_the_least_norm() -> None:
    (end,) = descent_risk(0.999, LinearProblem(signal=1.0, noise=0.1), step=0.1, times=(1e9,))

    assert end == pytest.approx(0.1 / (1 - 0.999), rel=1e-3)


@pytest.mark.parametrize("time", [0.5, -1.0])
def test_a_time_that_is_no_number_of_steps_is_refused(time: float) -> None:
    with pytest.raises(DomainError, match="whole numbers"):
        descent_risk(0.5, PROBLEM, step=0.6, times=(time,))


@pytest.mark.parametrize("changed", [{"num_fast": 220}, {"num_slow": 100}, {"num_fast": 0}, {"noise": -1.0}])
def test_groups_that_do_not_fit_are_refused_by_their_names(changed: dict[str, int]) -> None:
    with pytest.raises(DomainError, match=next(iter(changed))):
        replace(groups(0.1), **changed)
