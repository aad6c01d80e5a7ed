"""Closed forms, published points of the critical line, and wide networks that were drawn are independent answers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import erf, expit
from scipy.stats import norm

from isometry._errors import DomainError
from isometry.theory.criticality import critical_point
from isometry.theory.meanfield import depths
from isometry.theory.phases import critical_weight_variances, edge_of_chaos, phase_diagram
from isometry.theory.quadrature import FloatArray, Function

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def relu(x: FloatArray) -> FloatArray:
    return np.maximum(x, 0)


def leaky_relu(x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, 0.1 * x)


def hard_tanh(x: FloatArray) -> FloatArray:
    return np.clip(x, -1, 1)


def selu(x: FloatArray) -> FloatArray:
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def elu(x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def silu(x: FloatArray) -> FloatArray:
    return x * expit(x)


def gelu(x: FloatArray) -> FloatArray:
    return x * (1 + erf(x / math.sqrt(2))) / 2


@given(length=st.floats(1e-3, 1e2))
def test_the_line_of_erf_is_its_closed_form(length: float) -> None:
    # E[φ'²] = 4 / (π √(1 + 4q)) and E[φ²] = 2/π asin(2q / (1 + 2q)), Williams 1997, eq. 11 with equal arguments.
    weight = math.pi / 4 * math.sqrt(1 + 4 * length)
    bias = length - weight * 2 / math.pi * math.asin(2 * length / (1 + 2 * length))

    assert edge_of_chaos(erf, [length]) == (pytest.approx((weight, bias), rel=1e-6, abs=1e-9),)


@given(length=st.floats(0.05, 1e2))
def test_the_line_of_hard_tanh_is_its_closed_form(length: float) -> None:
    # E[φ'²] is the mass within one unit; E[φ²] the second moment there and the mass beyond.
    edge = 1 / math.sqrt(length)
    inside = math.erf(edge / math.sqrt(2))
    density = math.exp(-(edge**2) / 2) / math.sqrt(2 * math.pi)
    square = length * (inside - 2 * edge * density) + 1 - inside

    assert edge_of_chaos(hard_tanh, [length]) == (
        pytest.approx((1 / inside, length - square / inside), rel=1e-6, abs=1e-9),
    )


@pytest.mark.parametrize(
    ("function", "bias_variance", "weight_variance", "within"),
    [
        # Schoenholz et al. 2017, arXiv:1611.01232, figure 1: two decimals.
        pytest.param(np.tanh, 0.05, 1.76, 0.005, id="tanh, as published"),
        # φ'(0)² σ_w² = 1 where the line meets zero bias; of ELU, which bends at 0, both sides have the slope 1.
        pytest.param(np.tanh, 0.0, 1.0, 1e-9, id="tanh without biases"),
        pytest.param(erf, 0.0, math.pi / 4, 1e-9, id="erf without biases"),
        pytest.param(elu, 0.0, 1.0, 1e-9, id="elu without biases"),
        pytest.param(hard_tanh, 0.0, 1.0, 1e-6, id="hard-tanh without biases"),
        # He et al. 2015, arXiv:1502.01852; the line of ReLU is this point: Hayou et al. 2019, arXiv:1902.06853.
        pytest.param(relu, 0.0, 2.0, 1e-6, id="relu"),
        pytest.param(leaky_relu, 0.0, 2 / 1.01, 1e-6, id="leaky relu"),
    ],
)
def test_the_line_crosses_a_bias_variance_where_it_was_published(
    function: Function, bias_variance: float, weight_variance: float, within: float
) -> None:
    (found,) = critical_weight_variances(function, bias_variance=bias_variance)

    assert found == pytest.approx(weight_variance, abs=within)


@pytest.mark.parametrize(
    ("function", "bias_variance", "told"),
    [
        # σ_w² of tanh and ELU at σ_b = 0.2; code that follows Hayou et al. 2018, arXiv:1805.08266, has 1.722 for tanh,
        # which misses both equations of the line by 1 %
        pytest.param(np.tanh, 0.04, 1.7008, id="tanh"),
        pytest.param(elu, 0.04, 1.5111, id="elu"),
        pytest.param(selu, 0.1, 0.9803, id="selu"),
        pytest.param(gelu, 0.2, 1.9707, id="gelu"),
        pytest.param(silu, 1.0, 1.9670, id="silu"),
    ],
)
def test_the_line_solves_both_equations_by_scipy_and_signals_are_critical_on_it(
    function: Function, bias_variance: float, told: float
) -> None:
    (found,) = critical_weight_variances(function, bias_variance=bias_variance)
    deep = depths(function, weight_variance=found, bias_variance=bias_variance)

    assert found == pytest.approx(told, abs=1e-4)
    assert deep.slope == pytest.approx(1.0, abs=1e-6)
    assert found * mean_square(function, deep.length) + bias_variance == pytest.approx(deep.length, rel=1e-6)
    assert found * slope_square(function, deep.length) == pytest.approx(1.0, abs=1e-4)


def mean_square(function: Function, length: float) -> float:
    """Return E[φ²] by scipy, the two sides of 0 apart."""
    return _by_scipy(lambda z: float(function(np.array([math.sqrt(length) * z]))[0]) ** 2)


def slope_square(function: Function, length: float) -> float:
    """Return E[φ'²] likewise, slopes by differences."""

    def slope(z: float) -> float:
        high, low = function(np.array([math.sqrt(length) * z]) + np.array([1e-5, -1e-5]))
        return float((high - low) / 2e-5) ** 2

    return _by_scipy(slope)


def _by_scipy(integrand: Callable[[float], float]) -> float:
    sides = ((-12, 0), (0, 12))
    return sum(quad(lambda z: integrand(z) * float(norm.pdf(z)), *side, epsabs=1e-10)[0] for side in sides)


@pytest.mark.parametrize(("function", "bias_variance"), [(gelu, 0.0), (gelu, 0.04), (silu, 0.04), (silu, 0.3)])
def test_where_no_critical_length_stays_order_turns_into_chaos_in_a_jump(
    function: Function, bias_variance: float
) -> None:
    slopes = [
        depths(function, weight_variance=weight, bias_variance=bias_variance).slope
        for weight in np.linspace(1.6, 4.2, 27).tolist()
    ]

    assert critical_weight_variances(function, bias_variance=bias_variance) == ()
    assert min(abs(slope - 1) for slope in slopes) > 0.005
    assert min(slopes) < 1 < max(slopes)


def test_points_of_the_line_that_no_bias_or_no_length_keeps_are_left_out() -> None:
    # below a variance of 3.56 GELU's lengths stray from the line; 2 + tanh would need a negative bias variance
    assert len(edge_of_chaos(gelu, (0.5, 1.0, 3.0, 4.0))) == 1
    assert edge_of_chaos(lambda x: 2 + np.tanh(x), (1.0,)) == ()


@pytest.mark.parametrize("bias_variance", [-1.0, 100.0, math.nan])
def test_a_bias_variance_out_of_range_is_refused(bias_variance: float) -> None:
    with pytest.raises(DomainError, match="bias_variance="):
        critical_weight_variances(np.tanh, bias_variance=bias_variance)


@pytest.mark.parametrize("length", [0.0, -1.0, math.inf])
def test_a_length_that_is_none_is_refused(length: float) -> None:
    with pytest.raises(DomainError, match="lengths="):
        edge_of_chaos(np.tanh, [length])


def test_a_step_has_no_line() -> None:
    with pytest.raises(DomainError, match="level"):
        edge_of_chaos(np.sign, [1.0])


def test_relu_is_critical_with_no_bias_at_all() -> None:
    assert critical_weight_variances(relu, bias_variance=0.05) == ()


def test_the_half_stable_point_of_gelu_lies_on_its_line() -> None:
    point = critical_point(gelu)
    crossings = critical_weight_variances(gelu, bias_variance=point.bias_variance)

    assert any(each == pytest.approx(point.gain**2, rel=1e-6) for each in crossings)


@settings(max_examples=20)
@given(bias=st.floats(1e-3, 1.0), activation=st.sampled_from([np.tanh, erf, hard_tanh]))
def test_a_wider_spread_of_biases_asks_for_larger_weights_in_a_sigmoidal_network(
    bias: float, activation: Function
) -> None:
    (lower,), (higher,) = (critical_weight_variances(activation, bias_variance=each) for each in (bias, 1.1 * bias))

    assert lower < higher


@settings(max_examples=20)
@given(height=st.floats(0.5, 2), bias=st.floats(0.01, 0.5))
def test_a_function_that_is_twice_as_tall_is_critical_at_a_quarter(height: float, bias: float) -> None:
    (plain,) = critical_weight_variances(np.tanh, bias_variance=bias)
    (tall,) = critical_weight_variances(lambda x: height * np.tanh(x), bias_variance=bias)

    assert tall == pytest.approx(plain / height**2, rel=1e-6)


def test_selu_has_its_published_fixed_point_between_the_phases_of_no_critical_one() -> None:
    # Klambauer et al. 2017, arXiv:1706.02515, eq. 14: mean 0 and variance 1 stay; gradients grow by 1.07 a layer.
    (point,) = phase_diagram(selu, (1.0,), (0.0,)).depths[0]

    assert point.length == pytest.approx(1.0, abs=1e-9)
    assert point.phase == "chaotic"
    assert point.slope == pytest.approx(1.07, abs=0.005)


def test_the_scale_and_alpha_of_selu_are_the_closed_form_that_its_authors_give() -> None:
    # Klambauer et al. 2017, eq. 14: mean 0 and square 1 of the activation at variance 1 determine both.
    root, half = math.sqrt(math.e), math.sqrt(0.5)
    tail = math.erfc(half)
    alpha = -math.sqrt(2 / math.pi) / (tail * root - 1)
    positive, negative = 0.5, (root**4 * math.erfc(math.sqrt(2)) - 2 * root * tail + 1) / 2
    scale = (positive + alpha**2 * negative) ** -0.5

    assert (scale, alpha) == pytest.approx((SELU_SCALE, SELU_ALPHA), rel=1e-9)


def test_a_plane_has_order_on_the_left_of_its_line_and_chaos_on_the_right() -> None:
    plane = phase_diagram(np.tanh, (0.9, 1.2, 3.2, 4.0), (0.02, 0.3))

    assert len(plane.line) == 2
    for row, (critical, bias), expected in zip(plane.depths, plane.line, plane.bias_variances, strict=True):
        assert bias == expected
        assert [point.phase for point in row] == [
            "ordered" if weight < critical else "chaotic" for weight in plane.weight_variances
        ]


@pytest.mark.parametrize(("weight_variance", "bias_variance"), [(1.3, 0.05), (3.2, 0.1), (4.0, 0.3)])
def test_wide_networks_that_are_drawn_settle_where_the_plane_says(weight_variance: float, bias_variance: float) -> None:
    ((point,),) = phase_diagram(np.tanh, (weight_variance,), (bias_variance,)).depths
    lengths, correlations = simulated(np.tanh, weight_variance, bias_variance)

    # 500 units of each of two draws: lengths stray by 5 % a layer, of which ten are taken
    assert np.mean(lengths[-10:]) == pytest.approx(point.length, rel=0.06)
    assert np.mean(correlations[-10:]) == pytest.approx(point.correlation, abs=0.06)


def test_correlations_of_drawn_networks_settle_at_the_rate_of_the_depth_scale() -> None:
    scale = depths(np.tanh, weight_variance=1.3, bias_variance=0.05).depth_scale
    _, correlations = simulated(np.tanh, 1.3, 0.05)
    gaps = np.log([1 - each for each in correlations[8:23]])  # far enough from the start, and from rounding

    assert -1 / np.polyfit(range(15), gaps, 1)[0] == pytest.approx(scale, rel=0.15)


def simulated(activation: Function, weight_variance: float, bias_variance: float) -> tuple[list[float], list[float]]:
    """Return the mean square and the correlation of two signals by layer, over two draws of a network."""
    random, width = np.random.default_rng(3), 500
    pairs = [random.normal(size=(width, 2)) @ np.array([[1, 0.6], [0, 0.8]]) for _ in range(2)]
    lengths: list[float] = []
    correlations: list[float] = []
    for _ in range(36):
        grams: list[FloatArray] = []
        for number, pair in enumerate(pairs):
            weight = random.standard_normal((width, width), dtype=np.float32) * math.sqrt(weight_variance / width)
            bias = random.normal(size=(width, 1)) * math.sqrt(bias_variance)
            pairs[number] = weight @ activation(pair) + bias
            grams.append(pairs[number].T @ pairs[number] / width)
        gram = np.mean(grams, axis=0)
        lengths.append(float(np.trace(gram)) / 2)
        correlations.append(float(gram[0, 1] / math.sqrt(gram[0, 0] * gram[1, 1])))
    return lengths, correlations
