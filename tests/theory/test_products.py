"""Products of random matrices against special functions, simulation and random matrices under hypothesis."""

import math
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special

from isometry._errors import DomainError, ShapeError
from isometry.theory.products import digamma, lyapunov_exponents, product_bounds, product_growth, trigamma

Array = NDArray[np.float64]

MOST, LEAST = sys.float_info.max, math.ulp(0.0)


@given(x=st.floats(0.05, 1e4))
def test_the_special_functions_are_those_of_scipy(x: float) -> None:
    assert digamma(x) == pytest.approx(float(special.digamma(x)), rel=1e-11, abs=1e-11)
    assert trigamma(x) == pytest.approx(float(special.polygamma(1, x)), rel=1e-11)


@pytest.mark.parametrize(("width", "variance"), [(4, 1.0), (3, 0.2), (30, 1 / 30)])
def test_simulated_products_grow_as_predicted(width: int, variance: float) -> None:
    generator, layers, draws = np.random.default_rng(0), 60, 400
    logs = np.zeros(draws)
    vectors = np.tile(np.eye(width)[0], (draws, 1))
    for _ in range(layers):
        matrices = math.sqrt(variance) * generator.standard_normal((draws, width, width))
        vectors = np.einsum("dij,dj->di", matrices, vectors)
        sizes = np.linalg.norm(vectors, axis=1)
        logs, vectors = logs + np.log(sizes), vectors / sizes[:, None]
    mean, deviation = product_growth(width, variance=variance).after(layers)

    assert logs.mean() == pytest.approx(mean, abs=4 * deviation / math.sqrt(draws))
    assert logs.std() == pytest.approx(deviation, rel=0.15)


def test_the_sum_of_the_exponents_is_the_growth_of_the_determinant() -> None:
    # ln |det W| of a Gaussian matrix is the sum of n chi-squared logarithms, halved.
    generator = np.random.default_rng(1)
    logs = [np.linalg.slogdet(generator.standard_normal((5, 5)))[1] for _ in range(4000)]

    assert lyapunov_exponents(5, variance=1.0).sum() == pytest.approx(np.mean(logs), abs=4 * np.std(logs) / 63)
    assert lyapunov_exponents(5, variance=1.0)[0] == pytest.approx(product_growth(5, variance=1.0).rate)


@given(seed=st.integers(0, 10_000), widths=st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_no_product_breaks_the_bounds(seed: int, widths: list[int]) -> None:
    generator = np.random.default_rng(seed)
    factors = [generator.standard_normal(shape) for shape in pairwise(widths)]
    product = np.linalg.multi_dot(factors) if len(factors) > 1 else factors[0]
    found = product_bounds([np.linalg.svd(each, compute_uv=False) for each in factors], widths=widths)
    singular, rank = np.linalg.svd(product, compute_uv=False), min(widths)

    slack = 1 + 1e-9
    assert singular[0] <= found.largest * slack
    assert singular[rank - 1] >= found.smallest / slack - 1e-12
    assert np.all(singular[:rank].cumprod() <= found.partial * slack)
    assert np.all(singular[rank:] <= 1e-12 * found.largest)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), count=st.integers(1, 4))
def test_no_eigenvalue_of_a_product_breaks_the_bounds(seed: int, size: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    factors = [generator.standard_normal((size, size)) for _ in range(count)]
    product = np.linalg.multi_dot(factors) if count > 1 else factors[0]
    found = product_bounds([np.linalg.svd(each, compute_uv=False) for each in factors])
    sizes = np.sort(np.abs(np.linalg.eigvals(product)))[::-1]

    assert np.all(sizes.cumprod() <= found.partial * (1 + 1e-9) + 1e-12)
    assert sizes[-1] >= found.smallest * (1 - 1e-9) - 1e-9


@given(widths=st.lists(st.integers(1, 5), min_size=2, max_size=5), seed=st.integers(0, 10_000))
def test_the_bounds_are_reached_by_factors_that_share_their_axes(widths: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = [np.sort(generator.uniform(0.5, 2, min(pair)))[::-1] for pair in pairwise(widths)]
    falling = [diagonal(each, shape) for each, shape in zip(values, pairwise(widths), strict=True)]
    found = product_bounds(values, widths=widths)
    product = np.linalg.multi_dot(falling) if len(falling) > 1 else falling[0]

    assert np.diagonal(product)[: min(widths)].cumprod() == pytest.approx(found.partial)


@pytest.mark.parametrize(
    ("widths", "smallest"),
    [
        pytest.param((4, 3, 2), 0.25, id="narrower and narrower"),
        pytest.param((2, 3, 4), 0.25, id="wider and wider"),
        pytest.param((4, 2, 2, 3), 0.125, id="a waist"),
        pytest.param((2, 3, 2), 0.0, id="a bulge"),
        pytest.param((3, 2, 3, 1), 0.0, id="a bulge behind a waist"),
        pytest.param((3, 3), 0.5, id="one factor"),
    ],
)
def test_a_place_that_is_wider_than_both_sides_may_lose_everything(widths: tuple[int, ...], smallest: float) -> None:
    found = product_bounds([np.full(min(pair), 0.5) for pair in pairwise(widths)], widths=widths)

    assert found.smallest == pytest.approx(smallest)


def test_a_bulge_loses_what_the_second_factor_sends_past_the_first() -> None:
    first, second = np.eye(2, 3), np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])

    assert [np.linalg.svd(each, compute_uv=False).min() for each in (first, second)] == pytest.approx([1, 1])
    assert np.linalg.svd(first @ second, compute_uv=False).min() == pytest.approx(0, abs=1e-12)


def diagonal(values: Array, shape: tuple[int, int]) -> Array:
    matrix = np.zeros(shape)
    np.fill_diagonal(matrix, values)
    return matrix


def test_eigenvalues_of_factors_say_nothing_of_their_product() -> None:
    shift = np.array([[0.0, 1.0], [0.0, 0.0]])

    assert np.abs(np.linalg.eigvals(shift)).max() == 0
    assert np.abs(np.linalg.eigvals(shift @ shift.T)).max() == 1


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_bounds_hold_whatever_the_numbers_are_of(dtype: type) -> None:
    found = product_bounds([np.array([10**10, 1], dtype)] * 5)

    assert found.largest == pytest.approx(1e50)
    assert found.smallest == pytest.approx(1)


@pytest.mark.parametrize(("size", "largest", "smallest"), [(1e200, math.inf, MOST), (1e-200, LEAST, 0.0)])
def test_bounds_beyond_all_numbers_hold_and_their_logarithms_are_exact(
    size: float, largest: float, smallest: float
) -> None:
    found = product_bounds([np.array([3 * size, 2 * size])] * 2)

    assert found.largest == largest
    assert found.partial.tolist() == [largest, largest]
    assert found.smallest == pytest.approx(smallest)
    assert found.log_largest == pytest.approx(2 * math.log(3 * size))
    assert found.log_smallest == pytest.approx(2 * math.log(2 * size))
    assert found.log_partial[1] == pytest.approx(2 * math.log(3 * size) + 2 * math.log(2 * size))


def test_a_factor_that_is_singular_bounds_by_zero() -> None:
    found = product_bounds([np.array([3.0, 0.0])] * 2)

    assert (found.smallest, found.log_smallest) == (0, -math.inf)
    assert found.partial == pytest.approx([9, 0])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DomainError, match="width=0"):
        product_growth(0, variance=1.0)
    with pytest.raises(ShapeError, match=r"\[\(2,\), \(3,\)\].*`widths` where not all are square"):
        product_bounds([np.ones(2), np.ones(3)])
    with pytest.raises(DomainError, match="below 0"):
        product_bounds([np.array([1.0, -1.0])])
    with pytest.raises(DomainError, match="not finite"):
        product_bounds([np.array([1.0, math.nan])])
    with pytest.raises(ShapeError, match="widths \\[2, 3\\]; those need"):
        product_bounds([np.ones(2), np.ones(2)], widths=(2, 3))
    with pytest.raises(ShapeError):
        product_bounds([np.ones(0)])
    with pytest.raises(ShapeError):
        product_bounds([])
