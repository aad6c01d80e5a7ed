import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isometry.theory.criticality import length_map
from isometry.theory.meanfield import (
    correlation_map,
    depths,
    hermite_squares,
    relative_spread,
    settled_length,
    slope_moments,
)

Array = NDArray[np.float64]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def erf(x: Array) -> Array:
    return np.array([math.erf(each) for each in x.ravel()]).reshape(x.shape)


@given(correlation=st.floats(0, 0.999))
def test_the_correlation_map_of_relu_is_the_arc_cosine_kernel(correlation: float) -> None:
    # Cho, Saul 2009, Kernel methods for deep learning, the kernel of order 1.
    angle = math.acos(correlation)
    exact = (math.sin(angle) + (math.pi - angle) * correlation) / math.pi

    # the tail of the coefficients is taken as one term: at most 1e-4 near 1
    assert correlation_map(relu, correlation, 1.7, weight_variance=2.0) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.7, 0.95])
@pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
def test_the_correlation_map_of_erf_is_williams_kernel(correlation: float, variance: float) -> None:
    # Williams 1997, Computing with infinite networks, eq. 11.
    kernel = 2 / math.pi * math.asin(2 * correlation * variance / (1 + 2 * variance))

    found = correlation_map(erf, correlation, variance, weight_variance=1.5, bias_variance=0.1)
    assert found == pytest.approx((1.5 * kernel + 0.1) / variance, rel=1e-9)


@given(variance=st.floats(0.01, 50))
def test_hermite_coefficients_add_up_to_the_mean_square(variance: float) -> None:
    mean_square = length_map(np.tanh, variance, weight_variance=1.0)

    assert float(hermite_squares(np.tanh, variance).sum()) == pytest.approx(mean_square, rel=1e-9)


def test_the_published_edge_of_chaos_of_tanh_is_found() -> None:
    # Schoenholz et al. 2017, figure 1: at a bias variance of 0.05 the critical weight variance is 1.76.
    assert depths(np.tanh, weight_variance=1.76, bias_variance=0.05).phase == "critical"
    assert depths(np.tanh, weight_variance=1.6, bias_variance=0.05).phase == "ordered"
    assert depths(np.tanh, weight_variance=1.9, bias_variance=0.05).phase == "chaotic"


def test_the_depth_scale_grows_without_end_towards_the_edge_from_both_sides() -> None:
    ordered = [depths(np.tanh, weight_variance=each, bias_variance=0.05).depth_scale for each in (1.3, 1.5, 1.7)]
    chaotic = [depths(np.tanh, weight_variance=each, bias_variance=0.05).depth_scale for each in (2.5, 2.1, 1.85)]

    assert ordered == sorted(ordered)
    assert chaotic == sorted(chaotic)


@pytest.mark.parametrize(("weight_variance", "bias_variance"), [(1.3, 0.05), (2.5, 0.05), (4.0, 0.3)])
def test_the_depth_scale_is_the_rate_at_which_correlations_settle(weight_variance: float, bias_variance: float) -> None:
    deep = depths(np.tanh, weight_variance=weight_variance, bias_variance=bias_variance)
    gaps: list[float] = []
    correlation = min(deep.correlation + 0.01, 1.0) if deep.phase == "chaotic" else 0.99
    for _ in range(6):
        gaps.append(abs(correlation - deep.correlation))
        correlation = correlation_map(
            np.tanh, correlation, deep.length, weight_variance=weight_variance, bias_variance=bias_variance
        )

    assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(deep.depth_scale, rel=0.05)


@pytest.mark.parametrize(
    ("weight_variance", "length"),
    [
        pytest.param(1.0, 0.0, id="dies out"),
        pytest.param(3.0, math.inf, id="grows"),
        pytest.param(2.0, 1.5, id="stays"),
    ],
)
def test_the_length_of_relu_dies_stays_or_grows(weight_variance: float, length: float) -> None:
    found = settled_length(relu, weight_variance=weight_variance, bias_variance=0.0, start=1.5)

    assert found == pytest.approx(length)


def test_selu_settles_at_one() -> None:
    alpha, scale = 1.6732632423543772, 1.0507009873554805

    def selu(x: Array) -> Array:
        return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))

    # Klambauer et al. 2017, arXiv:1706.02515: the fixed point (0, 1), weights of variance 1 over fan-in
    assert settled_length(selu, weight_variance=1.0, bias_variance=0.0, start=1.3) == pytest.approx(1.0, abs=1e-6)


def test_the_spread_of_simulated_products_is_the_predicted_one() -> None:
    generator = np.random.default_rng(0)
    width, depth = 400, 4
    product = np.eye(width)
    for _ in range(depth):
        gate = generator.random(width) < 0.5
        product = generator.normal(size=(width, width)) * math.sqrt(2 / width) @ (gate[:, None] * product)
    squares = np.linalg.svd(product, compute_uv=False) ** 2
    measured = squares.var() / squares.mean() ** 2

    # finite width: the fourth moment errs by some 1 / sqrt(width)
    assert measured == pytest.approx(relative_spread([(0.5, 0.5)] * depth, is_orthogonal=False), rel=0.15)


def test_slopes_of_relu_are_one_half_in_every_moment() -> None:
    assert slope_moments(relu, 2.0) == pytest.approx((0.5, 0.5))
