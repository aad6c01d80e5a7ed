"""The law of Jacobian singular values against Marchenko-Pastur, Fuss-Catalan, and simulated wide networks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.meanfield import settled_length
from isometry.theory.quadrature import Function
from isometry.theory.spectra import LINEAR, Slopes, jacobian_density, jacobian_edge, jacobian_moments, slopes_of

Array = NDArray[np.float64]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def total(slopes: Slopes, num_layers: int, *, power: int, is_orthogonal: bool = False) -> float:
    """Return a moment of the density."""
    edge = jacobian_edge(slopes, num_layers, weight_variance=1 / slopes.mean, is_orthogonal=is_orthogonal)
    places = edge * (
        1 - np.linspace(1, 0, 600) ** 2 + 1e-9
    )  # finer towards the edge, where it falls like a square root
    law = jacobian_density(slopes, num_layers, places, weight_variance=1 / slopes.mean, is_orthogonal=is_orthogonal)
    return float(np.trapezoid(law * places**power, places))


def test_one_linear_gaussian_layer_has_the_law_of_marchenko_and_pastur() -> None:
    places = np.array([0.1, 0.5, 1.0, 2.0, 3.5])
    exact = np.sqrt(places * (4 - places)) / (2 * math.pi * places)

    found = jacobian_density(LINEAR, 1, places, weight_variance=1.0, is_orthogonal=False)
    assert found == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("num_layers", [1, 2, 5])
def test_linear_layers_have_the_moments_of_fuss_and_catalan(num_layers: int) -> None:
    second, third = (math.comb((num_layers + 1) * k, k) / (num_layers * k + 1) for k in (2, 3))

    assert total(LINEAR, num_layers, power=2) == pytest.approx(second, rel=0.01)
    assert total(LINEAR, num_layers, power=3) == pytest.approx(third, rel=0.01)


@pytest.mark.parametrize("num_layers", [1, 2, 7])
def test_the_edge_of_linear_layers_is_that_of_fuss_and_catalan(num_layers: int) -> None:
    exact = (num_layers + 1) ** (num_layers + 1) / num_layers**num_layers

    assert jacobian_edge(LINEAR, num_layers, weight_variance=1.0, is_orthogonal=False) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("is_orthogonal", [False, True])
@pytest.mark.parametrize("function", [relu, np.tanh])
def test_the_first_two_moments_of_the_density_are_those_of_the_formula(function: type, is_orthogonal: bool) -> None:
    slopes = slopes_of(function, 1.0)
    mean, variance = jacobian_moments(slopes, 4, weight_variance=1 / slopes.mean, is_orthogonal=is_orthogonal)

    assert total(slopes, 4, power=1, is_orthogonal=is_orthogonal) == pytest.approx(mean, rel=0.01)
    assert total(slopes, 4, power=2, is_orthogonal=is_orthogonal) == pytest.approx(variance + mean**2, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "is_orthogonal"), [(relu, False), (relu, True), (np.tanh, False), (np.tanh, True)]
)
def test_simulated_networks_follow_the_law(function: Function, is_orthogonal: bool) -> None:
    layers, weight_variance, bias_variance = 5, 1.5, 0.2  # a signal settles there, and is fed through the network
    length = settled_length(function, weight_variance=weight_variance, bias_variance=bias_variance)
    slopes = slopes_of(function, length)
    draws = (
        drawn(function, is_orthogonal=is_orthogonal, variances=(weight_variance, bias_variance, length), seed=seed)
        for seed in range(3)
    )
    found = np.concatenate([np.linalg.svd(jacobian, compute_uv=False) ** 2 for jacobian in draws])
    edge = jacobian_edge(slopes, layers, weight_variance=weight_variance, is_orthogonal=is_orthogonal)
    for share in (0.03, 0.1, 0.3):
        places = np.geomspace(edge * share, edge, 200)
        law = jacobian_density(slopes, layers, places, weight_variance=weight_variance, is_orthogonal=is_orthogonal)

        assert np.mean(found > edge * share) == pytest.approx(np.trapezoid(law, places), abs=0.03)  # lengths stray


def test_one_orthogonal_layer_is_sent_to_its_slopes() -> None:
    with pytest.raises(DomainError, match="slopes_of"):
        jacobian_density(LINEAR, 1, np.ones(1), weight_variance=1.0, is_orthogonal=True)


def drawn(
    function: Function, *, is_orthogonal: bool, variances: tuple[float, float, float], seed: int, width: int = 300
) -> Array:
    """Return the Jacobian of five layers, each of which reads what the one before it made of a signal."""
    generator, (weight_variance, bias_variance, length) = np.random.default_rng(seed), variances
    signal, jacobian, step = math.sqrt(length) * generator.standard_normal(width), np.eye(width), 1e-6
    for _ in range(5):
        weights = generator.standard_normal((width, width)) / math.sqrt(width)
        weights = math.sqrt(weight_variance) * (np.linalg.qr(weights)[0] if is_orthogonal else weights)
        slope = (function(signal + step) - function(signal - step)) / (2 * step)
        jacobian = weights @ (slope[:, None] * jacobian)
        signal = weights @ function(signal) + math.sqrt(bias_variance) * generator.standard_normal(width)
    return jacobian


def test_numbers_that_make_no_law_are_refused() -> None:
    with pytest.raises(DomainError, match="variance=0"):
        slopes_of(np.tanh, 0.0)
    with pytest.raises(DomainError, match="level"):
        slopes_of(np.sign, 1.0)
    with pytest.raises(DomainError, match="num_layers=0"):
        jacobian_edge(LINEAR, 0, weight_variance=1.0, is_orthogonal=False)


def test_no_places_have_no_density() -> None:
    assert jacobian_density(LINEAR, 2, np.empty(0), weight_variance=1.0, is_orthogonal=False).shape == (0,)
