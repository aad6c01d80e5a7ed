"""The law of Jacobian singular values against Marchenko-Pastur, Fuss-Catalan, and simulated wide networks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from isometry._errors import DomainError, ShapeError
from isometry.theory import spectra
from isometry.theory.meanfield import settled_length, slope_moments
from isometry.theory.quadrature import Function
from isometry.theory.spectra import (
    LINEAR,
    Slopes,
    jacobian_atoms,
    jacobian_density,
    jacobian_edge,
    jacobian_moments,
    slopes_of,
)
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


@pytest.mark.parametrize("num_layers", [2, 20, 200])
def test_the_density_of_linear_layers_is_that_of_fuss_and_catalan_at_any_depth(num_layers: int) -> None:
    angle = np.array([0.3, 0.6, 0.9]) * math.pi / (num_layers + 1)  # Biane's parameter of the place
    wide, narrow = np.log(np.sin((num_layers + 1) * angle)), np.log(np.sin(num_layers * angle))
    places = np.exp((num_layers + 1) * wide - num_layers * narrow) / np.sin(angle)
    exact = np.sin(angle) ** 2 * np.exp((num_layers - 1) * narrow - num_layers * wide) / math.pi

    found = jacobian_density([LINEAR] * num_layers, places, weight_variance=1.0, is_orthogonal=False)
    assert found == pytest.approx(exact, rel=2e-6 * num_layers)


@pytest.mark.parametrize("is_orthogonal", [False, True])
@pytest.mark.parametrize("law", [(np.tanh, 0.1), (relu, 1.0)])
def test_every_place_has_a_density_however_deep_the_network(law: tuple[Function, float], is_orthogonal: bool) -> None:
    layers = [slopes_of(*law)] * 200
    edge = jacobian_edge(layers, weight_variance=1 / layers[0].mean, is_orthogonal=is_orthogonal)
    places = edge * np.array([1e-8, 1e-4, 0.1, 0.9, 1.1])

    found = jacobian_density(layers, places, weight_variance=1 / layers[0].mean, is_orthogonal=is_orthogonal)
    assert np.all(np.diff(found) < 0)
    assert found[-1] == pytest.approx(0, abs=1e-6)


def test_a_law_gathered_into_values_keeps_both_moments() -> None:
    law = slopes_of(np.tanh, 1.0)

    assert (law.mean, law.weights @ law.values**2) == pytest.approx(slope_moments(np.tanh, 1.0), rel=1e-5)


def hard_tanh(x: Array) -> Array:
    return np.clip(x, -1, 1)


@pytest.mark.parametrize("variance", [0.3, 0.5])
def test_what_many_directions_share_is_told_apart_from_the_density(variance: float) -> None:
    layers = [slopes_of(hard_tanh, variance)] * 3
    values, shares = jacobian_atoms(layers, weight_variance=2.0)
    places = np.concatenate([np.geomspace(1e-6, 8e-2, 200), np.linspace(0.08, 8.1, 600)[1:]])
    law = jacobian_density(layers, places, weight_variance=2.0, is_orthogonal=True)
    mean, spread = jacobian_moments(layers, weight_variance=2.0, is_orthogonal=True)

    linear = math.erf(1 / math.sqrt(2 * variance))
    assert values == pytest.approx([8.0])
    assert shares == pytest.approx([3 * linear - 2], abs=1e-4)
    assert np.trapezoid(law * places, places) + shares @ values == pytest.approx(mean, rel=2e-3)
    assert np.trapezoid(law * places**2, places) + shares @ values**2 == pytest.approx(spread + mean**2, rel=2e-3)


def test_two_values_may_each_be_shared_by_many() -> None:
    halves, most = Slopes(np.array([1.0, 4.0]), np.full(2, 0.5)), Slopes(np.array([1.0, 9.0]), np.array([0.9, 0.1]))
    values, shares = jacobian_atoms([halves, most], weight_variance=1.0)

    assert values == pytest.approx([1, 4])
    assert shares == pytest.approx([0.4, 0.4])


def test_drawn_networks_of_hard_tanh_share_what_is_told() -> None:
    variance, width, generator = 0.3, 200, np.random.default_rng(0)
    is_linear, jacobian = np.arange(width) < width * math.erf(1 / math.sqrt(2 * variance)), np.eye(width)
    for _ in range(3):
        jacobian = np.linalg.qr(generator.standard_normal((width, width)))[0] * is_linear @ jacobian
    ((told,),) = jacobian_atoms([slopes_of(hard_tanh, variance)] * 3, weight_variance=1.0)[1:]

    assert np.mean(np.linalg.svd(jacobian, compute_uv=False) > 1 - 1e-9) == pytest.approx(told, abs=0.015)


@pytest.mark.parametrize("num_layers", [1, 2, 7, 3000])
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
    alike = Slopes(np.ones(2), np.full(2, 0.5))
    with pytest.raises(DomainError, match="0 of 2"):
        jacobian_density([alike] * 2, np.ones(1), weight_variance=1.0, is_orthogonal=True)


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
    for refusing in (jacobian_edge, jacobian_moments):
        with pytest.raises(DomainError, match="no layers"):
            refusing([], weight_variance=1.0, is_orthogonal=False)
        with pytest.raises(DomainError, match=r"weight_variance=-1\.5"):
            refusing([LINEAR], weight_variance=-1.5, is_orthogonal=False)
    with pytest.raises(DomainError, match="no layers"):
        jacobian_atoms([], weight_variance=1.0)
    with pytest.raises(DomainError, match="beyond all numbers"):
        jacobian_edge([LINEAR] * 400, weight_variance=10.0, is_orthogonal=False)


@pytest.mark.parametrize("place", [0.0, -1.0, math.nan, math.inf])
def test_places_where_no_density_is_are_refused(place: float) -> None:
    with pytest.raises(DomainError, match="place"):
        jacobian_density([LINEAR], np.array([1.0, place]), weight_variance=1.0, is_orthogonal=False)


def test_a_density_that_is_not_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectra, "HIGH", 5.0)  # where y and x are not nearly equal
    with pytest.raises(DomainError, match=r"200 layers at 0\.001"):
        jacobian_density([LINEAR] * 200, np.array([1e-3, 1.0]), weight_variance=1.0, is_orthogonal=False)


@pytest.mark.parametrize(
    ("values", "weights", "word"),
    [([1.0], [0.5, 0.5], "each value"), ([1.0, 2.0], [0.5, 0.6], "add up"), ([-1.0], [1.0], "at least 0")],
)
def test_what_is_no_law_of_slopes_is_refused(values: list[float], weights: list[float], word: str) -> None:
    with pytest.raises((DomainError, ShapeError), match=word):
        Slopes(np.array(values), np.array(weights))


def test_a_law_of_zeros_is_refused() -> None:
    with pytest.raises(DomainError, match="mean of 0"):
        Slopes(np.zeros(2), np.full(2, 0.5))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2)])
def test_the_density_has_the_shape_of_the_places(shape: tuple[int, ...]) -> None:
    for is_orthogonal in (False, True):
        found = jacobian_density(
            [slopes_of(np.tanh, 1.0)] * 2, np.ones(shape), weight_variance=1.0, is_orthogonal=is_orthogonal
        )
        assert found.shape == shape
