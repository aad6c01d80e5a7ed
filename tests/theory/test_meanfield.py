import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.criticality import critical_point, length_map
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


def test_near_the_line_correlations_settle_where_their_map_leads_and_as_fast() -> None:
    # the map by the closed form of erf, Williams 1997, eq. 11; in a band of 1 % around the line both are still finite
    weight, bias = 1.4, 0.05
    deep = depths(erf, weight_variance=weight, bias_variance=bias)
    gaps, correlation = [math.inf], deep.correlation - 0.01
    for _ in range(6000):
        inner = math.asin(2 * correlation * deep.length / (1 + 2 * deep.length))
        correlation = (weight * 2 / math.pi * inner + bias) / deep.length
        gaps.append(abs(correlation - deep.correlation))

    assert deep.phase == "critical"
    assert correlation == pytest.approx(deep.correlation, abs=1e-6)
    assert -1 / math.log(gaps[400] / gaps[399]) == pytest.approx(deep.depth_scale, rel=0.05)


@pytest.mark.parametrize(("weight_variance", "depth_scale"), [(1.1, 731.4), (1.2, 216.8)])
def test_without_biases_tanh_in_weak_chaos_forgets_what_was_alike(weight_variance: float, depth_scale: float) -> None:
    deep = depths(np.tanh, weight_variance=weight_variance, bias_variance=0.0)

    assert deep.correlation == pytest.approx(0.0, abs=1e-9)
    assert deep.depth_scale == pytest.approx(depth_scale, rel=1e-3)


@pytest.mark.parametrize(
    ("weight_variance", "bias_variance", "phase", "slope"),
    [(3.0, 0.0, "exploding", 1.5), (3.0, 0.1, "exploding", 1.5), (1.0, 0.0, "vanishing", 0.5)],
)
def test_relu_signals_that_die_or_grow_still_become_one(
    weight_variance: float, bias_variance: float, phase: str, slope: float
) -> None:
    deep = depths(relu, weight_variance=weight_variance, bias_variance=bias_variance)

    assert (deep.phase, deep.correlation) == (phase, 1.0)
    assert deep.depth_scale == deep.length_scale == pytest.approx(1 / abs(math.log(slope)))


def test_where_tanh_is_linear_correlations_stay_what_they_were() -> None:
    deep = depths(np.tanh, weight_variance=0.5, bias_variance=0.0)

    assert (deep.phase, deep.length) == ("vanishing", 0.0)
    assert math.isnan(deep.correlation)


def test_lengths_settle_at_the_rate_of_their_own_depth_scale() -> None:
    deep = depths(np.tanh, weight_variance=1.3, bias_variance=0.05)
    length, gaps = 1.02 * deep.length, [math.inf]
    for _ in range(5):
        length = length_map(np.tanh, length, weight_variance=1.3, bias_variance=0.05)
        gaps.append(length - deep.length)

    assert -1 / math.log(gaps[-1] / gaps[-2]) == pytest.approx(deep.length_scale, rel=0.01)


@pytest.mark.parametrize(("start", "length"), [(1.0, 0.0), (1e-3, 0.0)])
def test_a_length_that_dies_out_ever_more_slowly_is_followed_to_its_end(start: float, length: float) -> None:
    assert settled_length(np.tanh, weight_variance=1.0, bias_variance=0.0, start=start) == length


def test_a_half_stable_length_is_reached_from_above_and_missed_from_below() -> None:
    def gelu(x: Array) -> Array:
        return x * (1 + erf(x / math.sqrt(2))) / 2

    point = critical_point(gelu)
    weight, bias = point.gain**2, point.bias_variance
    below, above = (
        settled_length(gelu, weight_variance=weight, bias_variance=bias, start=start) for start in (1.0, 5.0)
    )

    assert above == pytest.approx(point.variance, rel=1e-4)
    assert below < 3.1  # where the map has another fixed point, which the next line checks
    assert length_map(gelu, below, weight_variance=weight, bias_variance=bias) == pytest.approx(below, rel=1e-9)


def test_relu_on_the_line_with_biases_grows_without_end() -> None:
    assert settled_length(relu, weight_variance=2.0, bias_variance=0.1) == math.inf


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"weight_variance": -1.3}, "weight_variance=-1.3"),
        ({"weight_variance": math.nan}, "weight_variance=nan"),
        ({"bias_variance": -1.0}, "bias_variance=-1.0"),
        ({"start": -1.0}, "start=-1.0"),
    ],
)
def test_numbers_that_no_layer_has_are_refused_by_their_names(changed: dict[str, float], word: str) -> None:
    with pytest.raises(DomainError, match=word):
        depths(np.tanh, **{"weight_variance": 1.3, "bias_variance": 0.1, **changed})


@pytest.mark.parametrize(("correlation", "variance", "word"), [(1.5, 1.0, "correlation=1.5"), (0.5, 0.0, "variance=0")])
def test_a_correlation_beyond_one_or_of_no_signal_is_refused(correlation: float, variance: float, word: str) -> None:
    with pytest.raises(DomainError, match=word):
        correlation_map(np.tanh, correlation, variance, weight_variance=1.0)
