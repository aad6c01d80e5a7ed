"""The law of Jacobian singular values against Marchenko-Pastur, Fuss-Catalan, and simulated wide networks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isometry._errors import DomainError
from isometry.theory.meanfield import settled_length
from isometry.theory.quadrature import Function
from isometry.theory.spectra import LINEAR, Slopes, jacobian_density, jacobian_edge, jacobian_moments, slopes_of
from isometry.theory.stacks import Stack, passages

Array = NDArray[np.float64]

PLACES = np.array([0.05, 0.2, 0.7, 1.5, 3.0])


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def moments(layers: list[Slopes], *, is_orthogonal: bool = False) -> list[float]:
    """Return the first three moments of the density, where the first should be 1."""
    edge = jacobian_edge(layers, weight_variance=1.0, is_orthogonal=is_orthogonal)
    places = edge * (1 - np.linspace(1, 0, 200) ** 2 + 1e-9)  # finer at the edge, where it falls like a square root
    law = jacobian_density(layers, places, weight_variance=1.0, is_orthogonal=is_orthogonal)
    scale = math.prod(each.mean for each in layers)
    return [float(np.trapezoid(law * (places / scale) ** power, places)) for power in (1, 2, 3)]


def test_one_linear_gaussian_layer_has_the_law_of_marchenko_and_pastur() -> None:
    places = np.array([0.1, 0.5, 1.0, 2.0, 3.5])
    exact = np.sqrt(places * (4 - places)) / (2 * math.pi * places)

    found = jacobian_density([LINEAR], places, weight_variance=1.0, is_orthogonal=False)
    assert found == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("num_layers", [1, 2, 5])
def test_linear_layers_have_the_moments_of_fuss_and_catalan(num_layers: int) -> None:
    second, third = (math.comb((num_layers + 1) * k, k) / (num_layers * k + 1) for k in (2, 3))

    assert moments([LINEAR] * num_layers) == pytest.approx([1, second, third], rel=0.01)


@pytest.mark.parametrize("num_layers", [1, 2, 7])
def test_the_edge_of_linear_layers_is_that_of_fuss_and_catalan(num_layers: int) -> None:
    exact = (num_layers + 1) ** (num_layers + 1) / num_layers**num_layers

    assert jacobian_edge([LINEAR] * num_layers, weight_variance=1.0, is_orthogonal=False) == pytest.approx(exact)


@pytest.mark.parametrize("is_orthogonal", [False, True])
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([slopes_of(relu, 1.0)] * 4, id="relu"),
        pytest.param([slopes_of(np.tanh, 1.0)] * 4, id="tanh"),
        pytest.param([slopes_of(np.tanh, length) for length in (4.0, 1.0, 0.5)], id="tanh, falling lengths"),
        pytest.param([slopes_of(np.tanh, 2.0), LINEAR, slopes_of(relu, 1.0)], id="one of each"),
    ],
)
def test_the_first_two_moments_of_the_density_are_those_of_the_formula(
    layers: list[Slopes], is_orthogonal: bool
) -> None:
    mean, variance = jacobian_moments(layers, weight_variance=1.3, is_orthogonal=is_orthogonal)

    assert mean == pytest.approx(1.3 ** len(layers) * math.prod(each.mean for each in layers))
    assert moments(layers, is_orthogonal=is_orthogonal)[:2] == pytest.approx([1, variance / mean**2 + 1], rel=0.02)


@given(order=st.permutations([0, 1, 2, 2]), is_orthogonal=st.booleans())
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_layers_does_not_matter(order: list[int], is_orthogonal: bool) -> None:
    laws = [slopes_of(np.tanh, 2.0), slopes_of(relu, 1.0), LINEAR]
    found, other = (
        jacobian_density([laws[i] for i in each], PLACES, weight_variance=1.3, is_orthogonal=is_orthogonal)
        for each in (order, sorted(order))
    )

    assert found == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize("is_orthogonal", [False, True])
def test_equal_laws_are_one_law_however_often_it_is_given(is_orthogonal: bool) -> None:
    one, again = slopes_of(np.tanh, 1.0), slopes_of(np.tanh, 1.0)
    found, other = (
        jacobian_density(each, PLACES, weight_variance=1.7, is_orthogonal=is_orthogonal)
        for each in ([one, again, one], [one] * 3)
    )

    assert found == pytest.approx(other, rel=1e-6)
    assert jacobian_edge([one, again], weight_variance=1.0, is_orthogonal=is_orthogonal) == pytest.approx(
        jacobian_edge([one, one], weight_variance=1.0, is_orthogonal=is_orthogonal)
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_orthogonal", [False, True])
@pytest.mark.parametrize(
    ("function", "start"),
    [
        pytest.param(relu, None, id="relu, settled"),
        pytest.param(np.tanh, None, id="tanh, settled"),
        pytest.param(np.tanh, 9.0, id="tanh, settling"),
    ],
)
def test_simulated_networks_follow_the_law(function: Function, start: float | None, is_orthogonal: bool) -> None:
    stack = Stack(function=function, weight_variance=1.5, bias_variance=0.2)
    first = settled_length(function, weight_variance=1.5, bias_variance=0.2) if start is None else start
    lengths = [first, *(each.length for each in passages(stack, first, 4))]
    layers = [slopes_of(function, each) for each in lengths]
    draws = (drawn(stack, first, is_orthogonal=is_orthogonal, seed=seed) for seed in range(3))
    found = np.concatenate([np.linalg.svd(jacobian, compute_uv=False) ** 2 for jacobian in draws])
    edge = jacobian_edge(layers, weight_variance=1.5, is_orthogonal=is_orthogonal)
    for share in (0.03, 0.1, 0.3):
        places = np.geomspace(edge * share, edge, 200)
        law = jacobian_density(layers, places, weight_variance=1.5, is_orthogonal=is_orthogonal)

        assert np.mean(found > edge * share) == pytest.approx(np.trapezoid(law, places), abs=0.03)  # lengths stray


def test_one_orthogonal_layer_is_sent_to_its_slopes() -> None:
    with pytest.raises(DomainError, match="slopes_of"):
        jacobian_density([slopes_of(np.tanh, 1.0), LINEAR], np.ones(1), weight_variance=1.0, is_orthogonal=True)


def drawn(stack: Stack, start: float, *, is_orthogonal: bool, seed: int, width: int = 300) -> Array:
    """Return the Jacobian of five layers, each of which reads what the one before it made of a signal."""
    generator, function = np.random.default_rng(seed), stack.function
    signal, jacobian, step = math.sqrt(start) * generator.standard_normal(width), np.eye(width), 1e-6
    for _ in range(5):
        weights = generator.standard_normal((width, width)) / math.sqrt(width)
        weights = math.sqrt(stack.weight_variance) * (np.linalg.qr(weights)[0] if is_orthogonal else weights)
        slope = (function(signal + step) - function(signal - step)) / (2 * step)
        jacobian = weights @ (slope[:, None] * jacobian)
        signal = weights @ function(signal) + math.sqrt(stack.bias_variance) * generator.standard_normal(width)
    return jacobian


def test_numbers_that_make_no_law_are_refused() -> None:
    with pytest.raises(DomainError, match="variance=0"):
        slopes_of(np.tanh, 0.0)
    with pytest.raises(DomainError, match="level"):
        slopes_of(np.sign, 1.0)
    with pytest.raises(DomainError, match="no layers"):
        jacobian_edge([], weight_variance=1.0, is_orthogonal=False)


def test_no_places_have_no_density() -> None:
    assert jacobian_density([LINEAR] * 2, np.empty(0), weight_variance=1.0, is_orthogonal=False).shape == (0,)
