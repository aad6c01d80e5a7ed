"""Published critical points, and Monte Carlo networks, are the independent answers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, expit

from isometry._errors import DomainError
from isometry.theory.criticality import (
    CriticalPoint,
    backward_gain,
    critical_point,
    forward_gain,
    length_map,
    length_slope,
    susceptibility,
)
from isometry.theory.quadrature import FloatArray, Function

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
patient = settings(deadline=None, max_examples=25)


def relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, 0)


def elu(x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def selu(x: FloatArray) -> FloatArray:
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def gelu(x: FloatArray) -> FloatArray:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def silu(x: FloatArray) -> FloatArray:
    return x * expit(x)


def softplus(x: FloatArray) -> FloatArray:
    return np.logaddexp(0, x)


GAINS = [
    pytest.param(lambda x: x, 1.0, "homogeneous", id="identity"),
    pytest.param(relu, math.sqrt(2), "homogeneous", id="relu"),
    pytest.param(lambda x: np.where(x > 0, x, 0.3 * x), math.sqrt(2 / 1.09), "homogeneous", id="leaky relu"),
    pytest.param(np.abs, 1.0, "homogeneous", id="abs"),
    pytest.param(lambda x: np.clip(x, 0, 6), math.sqrt(2), "homogeneous", id="relu6 up to variance 1"),
    pytest.param(lambda x: 3 * x + 1, 1 / 3, "homogeneous", id="line off the origin"),
    pytest.param(np.tanh, 1.0, "origin", id="tanh"),
    pytest.param(np.sin, 1.0, "origin", id="sine"),
    pytest.param(lambda x: np.sin(30 * x), 1 / 30, "origin", id="siren"),
    pytest.param(np.arctan, 1.0, "origin", id="arctan"),
    pytest.param(erf, math.sqrt(math.pi) / 2, "origin", id="erf"),
    pytest.param(lambda x: x / (1 + np.abs(x)), 1.0, "origin", id="softsign"),
    pytest.param(lambda x: np.clip(x, -1, 1), 1.0, "origin", id="hard-tanh"),
    pytest.param(expit, 4.0, "origin", id="sigmoid"),
    pytest.param(lambda x: np.clip(x / 6 + 0.5, 0, 1), 6.0, "origin", id="hard-sigmoid"),
    pytest.param(elu, 1.0, "origin", id="elu"),
    pytest.param(softplus, 2.0, "origin", id="softplus grows away from it"),
    pytest.param(selu, 1.0, "forward", id="selu, whose authors chose the scale so"),
    pytest.param(np.sign, 1.0, "forward", id="sign"),
    pytest.param(lambda x: relu(x) ** 2, math.sqrt(2 / 3), "forward", id="squared relu"),
]

# σ_w² and σ_b² at the half-stable points of GELU and SiLU ("SWISH"): Roberts, Yaida, Hanin, section 5.3.4.
HALF_STABLE = [
    pytest.param(gelu, 1.983, 0.1729, id="gelu"),
    pytest.param(silu, 1.988, 0.5551, id="silu"),
]


@pytest.mark.parametrize(("function", "gain", "kind"), GAINS)
def test_gains_are_the_published_ones(function: Function, gain: float, kind: str) -> None:
    point = critical_point(function)

    assert point.gain == pytest.approx(gain, rel=1e-7)
    assert point.kind == kind
    assert point.bias_variance == 0


@pytest.mark.parametrize(("function", "weight_variance", "bias_variance"), HALF_STABLE)
def test_half_stable_points_are_the_published_ones(
    function: Function, weight_variance: float, bias_variance: float
) -> None:
    point = critical_point(function)

    assert point.kind == "fixed-point"
    assert point.gain**2 == pytest.approx(weight_variance, abs=1e-3)
    assert point.bias_variance == pytest.approx(bias_variance, abs=1e-4)


@pytest.mark.parametrize("function", [relu, gelu, silu, lambda x: x * np.tanh(softplus(x))])
def test_points_that_claim_it_are_fixed_points_with_steady_gradients(function: Function) -> None:
    point = critical_point(function)
    weight_variance = point.gain**2

    onward = length_map(function, point.variance, weight_variance=weight_variance, bias_variance=point.bias_variance)

    assert onward == pytest.approx(point.variance, rel=1e-9)
    assert susceptibility(function, point.variance, weight_variance=weight_variance) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("function", [np.tanh, np.sin, elu, lambda x: np.clip(x, -1, 1)])
def test_at_the_origin_a_layer_loses_at_most_five_percent_and_a_hundred_lose_no_power(function: Function) -> None:
    point = critical_point(function)
    assert susceptibility(function, point.variance, weight_variance=point.gain**2) == pytest.approx(1, abs=0.0501)
    variance = point.variance

    for _ in range(100):
        variance = length_map(function, variance, weight_variance=point.gain**2)

    assert variance / point.variance > 0.9 / (1 + 0.025 * 100) ** 2  # ELU's law, the worst; 0.95**100 would be 0.006


@pytest.mark.parametrize(("function", "value_at_zero"), [(expit, 0.5), (softplus, math.log(2)), (np.cos, 1.0)])
def test_what_is_not_zero_at_zero_is_compensated(function: Function, value_at_zero: float) -> None:
    point = critical_point(function)
    draws = np.random.default_rng(0).normal(size=200_000) * math.sqrt(point.variance)

    assert point.is_compensated
    assert point.mean == pytest.approx(function(draws).mean(), abs=5 * function(draws).std() / math.sqrt(draws.size))
    assert function(np.zeros(1)) == pytest.approx(value_at_zero)


@pytest.mark.parametrize("function", [relu, np.tanh, gelu, selu])
def test_what_is_zero_at_zero_keeps_its_mean(function: Function) -> None:
    assert not critical_point(function).is_compensated


@given(stretch=st.floats(0.3, 3), height=st.floats(0.1, 10))
@patient
def test_the_gain_falls_as_the_slope_rises(stretch: float, height: float) -> None:
    gelu_gain = critical_point(lambda x: height * gelu(stretch * x)).gain

    assert gelu_gain == pytest.approx(critical_point(gelu).gain / (stretch * height), rel=1e-6)
    assert critical_point(lambda x: height * np.tanh(stretch * x)).gain == pytest.approx(1 / (stretch * height))


@given(variance=st.floats(-3, 2).map(lambda exponent: 10**exponent))
@patient
def test_without_a_bias_no_variance_gives_a_bent_function_equal_gains(variance: float) -> None:
    backward_gain = susceptibility(gelu, variance, weight_variance=1.0) ** -0.5

    assert backward_gain < forward_gain(gelu, variance)


def propagate(function: Function, point: CriticalPoint, *, depth: int, width: int = 1000) -> tuple[float, float]:
    """Mean square of the last pre-activations, and of the Jacobian's action on a random direction."""
    random = np.random.default_rng(1)
    signal = random.normal(size=width) * math.sqrt(point.variance)
    direction = random.normal(size=width)
    for _ in range(depth):
        weight = random.normal(size=(width, width)) * point.gain / math.sqrt(width)
        bias = random.normal(size=width) * math.sqrt(point.bias_variance)
        bias -= point.mean * weight.sum(axis=1) if point.is_compensated else 0
        slope = (function(signal + 1e-6) - function(signal - 1e-6)) / 2e-6
        signal, direction = weight @ function(signal) + bias, weight @ (slope * direction)
    return float(np.mean(signal**2)), float(np.mean(direction**2))


@pytest.mark.parametrize("function", [relu, gelu, np.tanh, expit], ids=["relu", "gelu", "tanh", "sigmoid"])
def test_a_wide_network_at_its_critical_point_keeps_signal_and_gradient(function: Function) -> None:
    point = critical_point(function)

    signal, gradient = propagate(function, point, depth=20)

    # At the origin 20 layers lose a factor of 1 + 0.05 · 20; the mean square over 20 layers of 1,000 units spreads by
    # about sqrt(20 · 5 / 1000) = 0.3.
    assert 0.3 < signal / point.variance < 1.9
    assert 0.3 < gradient < 1.9


def test_length_map_and_susceptibility_scale_with_the_weights() -> None:
    assert length_map(relu, 3.0, weight_variance=2.0, bias_variance=0.25) == pytest.approx(3.25)
    assert length_map(expit, 0.0, weight_variance=2.0) == pytest.approx(0.5)
    assert susceptibility(relu, 3.0, weight_variance=1.5) == pytest.approx(0.75)


def test_the_forward_gain_of_tanh_at_variance_one_is_the_empirical_one() -> None:
    assert forward_gain(np.tanh) == pytest.approx(1.5925, abs=1e-4)  # pytorch/pytorch#24991 measures 1.60


@pytest.mark.parametrize("variance", [-0.2, math.nan])
def test_a_negative_mean_square_is_refused(variance: float) -> None:
    with pytest.raises(DomainError, match="is negative; the length map"):
        length_map(relu, variance, weight_variance=1.0)
    with pytest.raises(DomainError, match="is not positive; slopes are means"):
        susceptibility(relu, variance, weight_variance=1.0)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        pytest.param(lambda x: np.full_like(x, 3.0), "a gain needs one that lets a signal through", id="constant"),
        pytest.param(lambda x: relu(x - 60), "a gain needs one that lets a signal through", id="out of reach"),
        pytest.param(np.sqrt, "not finite at -", id="half a line"),
    ],
)
def test_functions_without_a_critical_point_are_refused_with_a_reason(function: Function, sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence):
        critical_point(function)


def test_a_function_that_is_zero_where_the_pre_activations_go_has_no_forward_gain() -> None:
    with pytest.raises(DomainError, match="a gain needs both positive"):
        forward_gain(lambda x: relu(x - 60))


@pytest.mark.parametrize("variance", [0.1, 1.0, 7.0])
def test_the_slope_of_the_length_map_is_its_difference_quotient(variance: float) -> None:
    high, low = (length_map(np.tanh, variance * factor, weight_variance=1.3) for factor in (1.001, 0.999))

    assert length_slope(np.tanh, variance, weight_variance=1.3) == pytest.approx(
        (high - low) / (0.002 * variance), rel=1e-5
    )


def test_the_backward_gain_keeps_the_gradient_and_a_level_function_has_none() -> None:
    gain = backward_gain(np.tanh, 0.7)

    assert susceptibility(np.tanh, 0.7, weight_variance=gain**2) == pytest.approx(1.0)
    with pytest.raises(DomainError, match="level"):
        backward_gain(lambda x: 0 * x)


@pytest.mark.parametrize("function", [math.tanh, torch.tanh, torch.nn.ReLU()])
def test_what_takes_no_arrays_is_refused_in_a_sentence(function: Any) -> None:
    with pytest.raises(DomainError, match=r"such as np\.tanh"):
        critical_point(function)
