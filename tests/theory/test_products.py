"""Products of random matrices against special functions, simulation and random matrices under hypothesis."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from isometry._errors import DomainError, ShapeError
from isometry.theory.products import digamma, lyapunov_exponents, product_bounds, product_growth, trigamma


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


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), count=st.integers(1, 4))
def test_no_product_breaks_the_bounds(seed: int, size: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    factors = [generator.standard_normal((size, size)) for _ in range(count)]
    product = np.linalg.multi_dot(factors) if count > 1 else factors[0]
    found = product_bounds([np.linalg.svd(each, compute_uv=False) for each in factors])
    singular, sizes = np.linalg.svd(product, compute_uv=False), np.abs(np.linalg.eigvals(product))

    slack = 1 + 1e-9
    assert singular[0] <= found.largest * slack
    assert singular[-1] >= found.smallest / slack - 1e-12
    assert np.all(singular.cumprod() <= found.partial * slack)
    assert sizes.max() <= found.largest * slack
    assert sizes.min() >= found.smallest / slack - 1e-9


def test_eigenvalues_of_factors_say_nothing_of_their_product() -> None:
    shift = np.array([[0.0, 1.0], [0.0, 0.0]])

    assert np.abs(np.linalg.eigvals(shift)).max() == 0
    assert np.abs(np.linalg.eigvals(shift @ shift.T)).max() == 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DomainError, match="width=0"):
        product_growth(0, variance=1.0)
    with pytest.raises(ShapeError, match=r"\[\(2,\), \(3,\)\]"):
        product_bounds([np.ones(2), np.ones(3)])
    with pytest.raises(DomainError, match="below 0"):
        product_bounds([np.array([1.0, -1.0])])
    with pytest.raises(DomainError, match="not finite"):
        product_bounds([np.array([1.0, math.nan])])
    with pytest.raises(ShapeError):
        product_bounds([np.ones(0)])
