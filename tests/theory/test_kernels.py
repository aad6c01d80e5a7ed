"""Kernels against simulation, against autograd on wide networks, and against one another."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf as scipy_erf
from scipy.special import expit
from scipy.stats import norm

from isometry._errors import DomainError, ShapeError
from isometry.theory.duals import Dual, dual_of, erf, gelu, leaky_relu, sigmoid, silu, tanh
from isometry.theory.kernel_flow import flow_weights, spectrum_of
from isometry.theory.kernels import WideNetwork, kernels_of

Array = NDArray[np.float64]
FORMULAS: dict[str, tuple[Dual, Callable[[Array], Array]]] = {
    "relu": (leaky_relu(), lambda x: np.maximum(x, 0)),
    "leaky": (leaky_relu(0.3), lambda x: np.where(x > 0, x, 0.3 * x)),
    "erf": (erf(), scipy_erf),
    "gelu": (gelu(), lambda x: x * norm.cdf(x)),
    "tanh": (tanh(), np.tanh),
    "sigmoid": (sigmoid(), expit),
    "silu": (silu(), lambda x: x * expit(x)),
}


def fast_sine(points: Array) -> Array:
    """Return the sine of 30 times a number."""
    return np.sin(30 * points)


def grid_mean(function: Callable[[Array], Array], first: float, second: float, covariance: float) -> float:
    """Return E[φ(u) φ(v)] by a fine trapezoid rule over both numbers."""
    z = np.linspace(-9, 9, 1801)
    weight = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    u = math.sqrt(first) * z
    cosine = covariance / math.sqrt(first * second)
    v = math.sqrt(second) * (cosine * z[:, None] + math.sqrt(1 - cosine**2) * z[None, :])
    return float(weight @ (function(u)[:, None] * function(v)) @ weight)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(
    ("first", "second", "cosine"), [(1.0, 1.0, 0.5), (0.4, 2.7, -0.6), (3.0, 0.2, 0.9), (1.3, 1.3, 0.0)]
)
def test_the_closed_forms_are_the_gaussian_means(name: str, first: float, second: float, cosine: float) -> None:
    dual, function = FORMULAS[name]
    covariance = cosine * math.sqrt(first * second)
    found = dual.product(np.array([first]), np.array([second]), np.array([covariance]))

    assert found[0] == pytest.approx(grid_mean(function, first, second, covariance), abs=2e-5)


@pytest.mark.parametrize("name", ["relu", "leaky", "erf", "gelu"])
@given(first=st.floats(0.1, 4), second=st.floats(0.1, 4), cosine=st.floats(-0.95, 0.95))
def test_the_mean_of_slopes_is_the_slope_of_the_mean(name: str, first: float, second: float, cosine: float) -> None:
    # Price's theorem
    dual, _ = FORMULAS[name]
    covariance, step = cosine * math.sqrt(first * second), 1e-5
    ends = [
        dual.product(np.array([first]), np.array([second]), np.array([covariance + side]))[0] for side in (-step, step)
    ]

    assert dual.slopes(np.array([first]), np.array([second]), np.array([covariance]))[0] == pytest.approx(
        (ends[1] - ends[0]) / (2 * step), rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("erf", 1e-8), ("gelu", 1e-8), ("tanh", 1e-8), ("sigmoid", 1e-8), ("silu", 1e-8), ("relu", 2e-4), ("leaky", 2e-4)],
)
def test_the_dual_of_any_function_is_that_of_the_formula(name: str, tolerance: float) -> None:
    dual, function = FORMULAS[name]
    first, second = np.array([0.5, 1.0, 2.0])[:, None], np.array([0.7, 1.0, 3.0])[None, :]
    covariance = np.array([[0.1, -0.3, 0.9], [0.5, 0.99, 0.0], [0.2, -1.0, 2.0]])
    series = dual_of(function)

    assert series.product(first, second, covariance) == pytest.approx(
        dual.product(first, second, covariance), abs=tolerance
    )


@pytest.mark.parametrize("name", ["erf", "gelu", "tanh", "sigmoid", "silu"])
def test_the_slopes_of_a_smooth_function_are_those_of_its_formula(name: str) -> None:
    first, second = np.array([0.5, 1.0]), np.array([0.7, 1.0])
    covariance = np.array([0.3, 0.999])
    dual, function = FORMULAS[name]

    assert dual_of(function).slopes(first, second, covariance) == pytest.approx(
        dual.slopes(first, second, covariance), abs=5e-8
    )


@pytest.mark.parametrize("name", ["erf", "gelu", "relu", "tanh", "sigmoid", "silu"])
def test_numbers_of_any_size_keep_their_means(name: str) -> None:
    # Of u = v there is one number to take the mean over. Far out erf and tanh are signs, gelu and silu are ReLU.
    dual, function = FORMULAS[name]
    for length in (1e-4, 1e4, 1e16, 1e20):
        one, scale = np.array([length]), max(length, 1.0) if name in {"gelu", "relu", "silu"} else 1.0
        points, weights = np.polynomial.hermite_e.hermegauss(160)
        mean = float(weights @ function(math.sqrt(length) * points) ** 2) / math.sqrt(2 * math.pi)

        assert dual.product(one, one, one)[0] / scale == pytest.approx(mean / scale, abs=0.01)
        assert np.isfinite(dual.slopes(one, one, one * (1 + 1e-15))).all()


@pytest.mark.parametrize(
    ("length", "cosine"), [(30.0, 0.3), (30.0, 0.99), (1e2, 0.9), (1e2, -0.97), (1e4, 0.9), (1e4, -1.0), (1e6, 1.0)]
)
def test_a_steep_function_is_right_where_its_coefficients_suffice(length: float, cosine: float) -> None:
    one, covariance = np.array([length]), np.array([cosine * length])
    dual, function = FORMULAS["erf"]
    series = dual_of(function)

    assert series.product(one, one, covariance) == pytest.approx(dual.product(one, one, covariance), rel=1e-6)
    assert series.slopes(one, one, covariance) == pytest.approx(dual.slopes(one, one, covariance), rel=1e-5)


@pytest.mark.parametrize(
    ("function", "length", "cosine"),
    [(scipy_erf, 1e3, 0.999), (scipy_erf, 1e6, 0.999), (fast_sine, 1.0, 0.99)],
)
def test_a_steep_function_is_refused_where_they_do_not(
    function: Callable[[Array], Array], length: float, cosine: float
) -> None:
    one = np.array([length])

    with pytest.raises(DomainError, match=r"erf is too steep .* Scale the inputs"):
        dual_of(function, "erf").product(one, one, one * cosine)


def test_the_kernel_of_many_inputs_is_that_of_few_whatever_lies_beside_them() -> None:
    inputs = np.random.default_rng(5).standard_normal((600, 3))
    inputs[0] *= 100
    network = WideNetwork(activation=dual_of(FORMULAS["gelu"][1]), bias_variance=0.1)
    whole = kernels_of(network, inputs, inputs[:3])

    assert whole.ntk == pytest.approx(
        kernels_of(WideNetwork(activation=gelu(), bias_variance=0.1), inputs, inputs[:3]).ntk, rel=1e-7, abs=1e-6
    )
    assert whole.ntk[5:9] == pytest.approx(kernels_of(network, inputs[5:9], inputs[:3]).ntk, rel=1e-13)


@pytest.mark.parametrize("count", [1, 600])
def test_inputs_that_are_zero_are_refused_by_name_among_any_number(count: int) -> None:
    inputs = np.random.default_rng(6).standard_normal((count, 2))
    inputs[0] = 0

    with pytest.raises(DomainError, match=r"mean square of 0\.0"):
        kernels_of(WideNetwork(activation=dual_of(np.tanh)), inputs)


def test_kernels_of_two_sets_are_a_block_of_those_of_both_together() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((5, 7)), generator.standard_normal((3, 7))
    network = WideNetwork(activation=gelu(), num_hidden=3, weight_variance=1.7, bias_variance=0.2)
    whole = kernels_of(network, np.concatenate((first, second)))
    block = kernels_of(network, first, second)

    assert block.nngp == pytest.approx(whole.nngp[:5, 5:], abs=1e-12)
    assert block.ntk == pytest.approx(whole.ntk[:5, 5:], abs=1e-12)


def test_a_network_without_hidden_layers_is_linear() -> None:
    inputs = np.random.default_rng(1).standard_normal((4, 3))
    found = kernels_of(WideNetwork(activation=erf(), num_hidden=0, weight_variance=1.0, bias_variance=0.5), inputs)

    assert found.nngp == pytest.approx(inputs @ inputs.T / 3 + 0.5)
    assert found.ntk == pytest.approx(found.nngp)


def test_the_ntk_of_relu_on_one_input_counts_the_layers() -> None:
    # On the diagonal every layer at σ_w² = 2 keeps K, and its slopes' mean square times 2 is 1.
    inputs = np.array([[1.0, 2.0, 2.0]])
    found = kernels_of(WideNetwork(activation=leaky_relu(), num_hidden=4), inputs)

    assert found.nngp[0, 0] == pytest.approx(6.0)
    assert found.ntk[0, 0] == pytest.approx(5 * 6.0)


@given(time=st.floats(0.0, 50.0))
def test_gradient_descent_in_small_steps_follows_the_flow(time: float) -> None:
    generator = np.random.default_rng(2)
    features = generator.standard_normal((6, 9))
    kernel, targets = features @ features.T / 9, generator.standard_normal((6, 2))
    outputs, steps = np.zeros_like(targets), 20_000
    decay = np.linalg.matrix_power(np.eye(6) - time / steps * kernel, steps)
    outputs = targets - decay @ targets
    flow = kernel @ flow_weights(spectrum_of(kernel), targets, time=time)

    assert flow == pytest.approx(outputs, abs=5e-3)


def test_a_flow_without_end_interpolates_and_a_ridge_is_ridge_regression() -> None:
    generator = np.random.default_rng(3)
    features, targets = generator.standard_normal((6, 9)), generator.standard_normal((6, 1))
    kernel = features @ features.T
    spectrum = spectrum_of(kernel)

    assert kernel @ flow_weights(spectrum, targets) == pytest.approx(targets)
    assert flow_weights(spectrum, targets, ridge=0.7) == pytest.approx(
        np.linalg.solve(kernel + 0.7 * np.eye(6), targets)
    )
    assert flow_weights(spectrum, targets, time=0.0) == pytest.approx(np.zeros((6, 1)))


@pytest.mark.parametrize("time", [1e6, 1e12, 1e18, math.inf])
def test_rounding_does_not_grow_with_time_where_the_kernel_is_singular(time: float) -> None:
    generator = np.random.default_rng(4)
    features, others = generator.standard_normal((60, 3)), generator.standard_normal((20, 3))
    targets = generator.standard_normal((60, 1))
    weights = flow_weights(spectrum_of(features @ features.T), targets, time=time)

    assert others @ features.T @ weights == pytest.approx(
        others @ np.linalg.lstsq(features, targets, rcond=None)[0], abs=1e-10
    )


def test_a_step_at_the_largest_rate_neither_grows_nor_shrinks() -> None:
    kernel = np.diag([1.0, 4.0])

    assert spectrum_of(kernel).largest_rate == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda: kernels_of(WideNetwork(activation=erf()), np.ones(3)), ShapeError, "Flatten each example"),
        (lambda: WideNetwork(activation=erf(), weight_variance=0.0), DomainError, "weight_variance=0.0"),
        (lambda: spectrum_of(np.ones((2, 3))), ShapeError, "square"),
        (lambda: spectrum_of(np.array([[1.0, 0.5], [0.0, 1.0]])), DomainError, "not symmetric"),
        (lambda: spectrum_of(np.full((2, 2), np.nan)), DomainError, "scale of the inputs"),
        (lambda: kernels_of(WideNetwork(activation=dual_of(np.tanh)), np.full((1, 1), np.nan)), DomainError, "for NaN"),
        (lambda: dual_of(np.exp).product(*np.full((3, 1), 1100.0)), DomainError, "square, or its slope's, is not"),
        (lambda: spectrum_of(-np.eye(2)), DomainError, "none below 0"),
        (lambda: flow_weights(spectrum_of(np.eye(2)), np.ones((2, 1)), time=1.0, ridge=1.0), DomainError, "ridge=1.0"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    act: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        act()
