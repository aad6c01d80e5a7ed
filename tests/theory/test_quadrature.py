"""Closed forms and scipy's adaptive quadrature are the independent answers; tolerances are the promised ones."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erf

from isometry._errors import DomainError
from isometry.theory.quadrature import FloatArray, Function, gaussian_mean, gaussian_slope_mean_square, sample

STDS = st.floats(-4, 2).map(lambda exponent: 10**exponent)
NEAR_STDS = st.floats(-1, 1).map(lambda exponent: 10**exponent)  # scipy's quad keeps its own promise here
patient = settings(deadline=None, max_examples=50)  # the machine may be busy


def density(z: float) -> float:
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def hard_tanh(x: FloatArray) -> FloatArray:
    return np.clip(x, -1, 1)


def gelu(x: FloatArray) -> FloatArray:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_mean(std: float) -> float:
    return std**2 / math.sqrt(2 * math.pi * (1 + std**2))


def erf_second_moment(std: float) -> float:
    return 2 / math.pi * math.asin(2 * std**2 / (1 + 2 * std**2))


def hard_tanh_second_moment(std: float) -> float:
    edge = 1 / std
    return std**2 * (1 - 2 * tail(edge)) - 2 * std * density(edge) + 2 * tail(edge)


def relu6_mean(std: float) -> float:
    edge = 6 / std
    return std * (density(0) - density(edge)) + 6 * tail(edge)


MEANS = [
    pytest.param(lambda x: np.maximum(x, 0) ** 2, lambda std: std**2 / 2, id="relu, second moment"),
    pytest.param(lambda x: np.maximum(x, 0), lambda std: std * density(0), id="relu, mean"),
    pytest.param(lambda x: np.where(x > 0, x, 0.2 * x) ** 2, lambda std: 0.52 * std**2, id="leaky relu"),
    pytest.param(gelu, gelu_mean, id="gelu, mean"),
    pytest.param(lambda x: erf(x) ** 2, erf_second_moment, id="erf, second moment"),
    pytest.param(lambda x: hard_tanh(x) ** 2, hard_tanh_second_moment, id="hard-tanh, second moment"),
    pytest.param(lambda x: np.clip(x, 0, 6), relu6_mean, id="relu6, mean"),
    pytest.param(lambda x: np.sin(x) ** 2, lambda std: (1 - math.exp(-2 * std**2)) / 2, id="sine, second moment"),
    pytest.param(lambda x: np.where(x > 0.3, 2.0, -1.0), lambda std: 3 * tail(0.3 / std) - 1, id="step off the origin"),
    pytest.param(lambda x: x**6, lambda std: 15 * std**6, id="polynomial"),
]

SLOPES = [
    pytest.param(lambda x: np.maximum(x, 0), lambda _: 0.5, id="relu"),
    pytest.param(np.sin, lambda std: (1 + math.exp(-2 * std**2)) / 2, id="sine"),
    pytest.param(erf, lambda std: 4 / math.pi / math.sqrt(1 + 4 * std**2), id="erf"),
    pytest.param(hard_tanh, lambda std: 1 - 2 * tail(1 / std), id="hard-tanh"),
    pytest.param(lambda x: np.where(x > 0.3, 5 - x, x), lambda _: 1.0, id="a jump counts for nothing"),
]


@pytest.mark.parametrize(("function", "closed_form"), MEANS)
@given(std=STDS)
@patient
def test_means_equal_their_closed_form(function: Function, closed_form: Callable[[float], float], std: float) -> None:
    expected = closed_form(std)

    assert gaussian_mean(function, std) == pytest.approx(expected, rel=1e-11, abs=1e-8)


@pytest.mark.parametrize(("function", "closed_form"), SLOPES)
@given(std=STDS)
@patient
def test_slopes_equal_their_closed_form(function: Function, closed_form: Callable[[float], float], std: float) -> None:
    assert gaussian_slope_mean_square(function, std) == pytest.approx(closed_form(std), rel=1e-7)


@given(std=NEAR_STDS)
@patient
def test_tanh_agrees_with_an_adaptive_rule(std: float) -> None:
    expected, _ = quad(lambda z: math.tanh(std * z) ** 2 * density(z), -12, 12, epsabs=1e-12, limit=400)

    assert gaussian_mean(lambda x: np.tanh(x) ** 2, std) == pytest.approx(expected, abs=1e-10)


@given(std=NEAR_STDS, threshold=st.floats(-3, 3), slope=st.floats(-2, 2))
@patient
def test_a_kink_is_found_wherever_it_is(std: float, threshold: float, slope: float) -> None:
    edge = threshold / std
    expected = std * (1 - slope) * (density(edge) - edge * tail(edge)) - slope * threshold

    mean = gaussian_mean(lambda x: np.where(x > threshold, x - threshold, slope * (x - threshold)), std)

    assert mean == pytest.approx(expected, abs=1e-10)


@given(std=NEAR_STDS, mean=st.floats(-5, 5))
@patient
def test_a_shifted_variable_has_the_moments_of_a_shifted_gaussian(std: float, mean: float) -> None:
    assert gaussian_mean(lambda x: x, std, mean=mean) == pytest.approx(mean, abs=1e-9)
    assert gaussian_mean(lambda x: x**2, std, mean=mean) == pytest.approx(mean**2 + std**2, rel=1e-10)


@given(std=NEAR_STDS, factor=st.floats(0.1, 10))
@patient
def test_stretching_the_function_is_stretching_the_gaussian(std: float, factor: float) -> None:
    stretched = gaussian_slope_mean_square(lambda x: np.tanh(factor * x), std)

    assert stretched == pytest.approx(factor**2 * gaussian_slope_mean_square(np.tanh, factor * std), rel=1e-9)


def test_no_spread_leaves_the_value_at_the_mean() -> None:
    assert gaussian_mean(np.exp, 0.0, mean=0.7) == math.exp(0.7)


def test_samples_ascend_and_their_weights_fill_the_interval() -> None:
    samples = sample(lambda x: np.clip(x, -0.3, 6.0), reach=10.0)

    assert (np.diff(samples.points) >= 0).all()
    assert samples.weights.sum() == pytest.approx(20.0, rel=1e-12)


def test_an_overflow_inside_the_function_is_silent_if_its_value_is_finite() -> None:
    mean = gaussian_mean(lambda x: 1 / (1 + np.exp(-x)), 100.0)

    assert mean == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("std", [-1.0, math.inf, math.nan])
def test_a_std_that_is_none_is_refused(std: float) -> None:
    with pytest.raises(DomainError, match="must be positive and finite"):
        gaussian_mean(np.tanh, std)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        pytest.param(np.log, "not finite at -", id="undefined on half the line"),
        pytest.param(lambda x: np.random.default_rng(0).normal(size=x.shape), "rough on", id="random"),
        pytest.param(lambda x: np.tanh(x.astype(np.float32)), "computes in float64", id="half the digits"),
        pytest.param(lambda x: np.array([x.sum()]), "act on each point alone", id="a reduction"),
    ],
)
def test_functions_without_a_gaussian_mean_are_refused_with_a_reason(function: Function, sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence):
        gaussian_mean(function, 1.0)
