import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.probes.evidence import NotMeasuredError
from isometry.probes.products import Product, couples_samples, dense, lanczos


def product_of(model: nn.Module, shape: tuple[int, ...]) -> tuple[Product, Tensor]:
    """Return the products of a model's Jacobian, and the Jacobian itself from torch.func."""
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    jacobian = torch.func.jacrev(lambda each: model(each).flatten())(x.detach()).reshape(-1, x.numel())
    return Product(x, model(x)), jacobian


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 7), nn.GELU(), nn.Linear(7, 3)).double()


@given(seed=st.integers(0, 1000))
def test_both_products_are_those_of_the_dense_jacobian(seed: int) -> None:
    product, jacobian = product_of(network(seed), (2, 5))
    v, u = torch.randn(10, dtype=torch.float64), torch.randn(6, dtype=torch.float64)

    assert torch.allclose(product.forward(v), jacobian @ v, atol=1e-12)
    assert torch.allclose(product.backward(u), jacobian.T @ u, atol=1e-12)


@pytest.mark.parametrize("model", [nn.Linear(5, 3), nn.Linear(3, 5)], ids=["wide", "tall"])
def test_the_dense_jacobian_of_each_sample_is_the_weight(model: nn.Linear) -> None:
    model = model.double()
    product, _ = product_of(model, (4, model.in_features))

    for matrix in dense(product, num_samples=4):
        assert torch.allclose(matrix, model.weight, atol=1e-12)


def test_lanczos_through_all_directions_finds_every_singular_value() -> None:
    torch.manual_seed(0)
    product, jacobian = product_of(network(1), (2, 5))
    ritz = lanczos(product, num_vectors=1, num_steps=6, seed=0)
    exact = torch.linalg.svdvals(jacobian).square()

    assert ritz.is_exact
    assert torch.allclose(torch.tensor(ritz.nodes, dtype=torch.float64), exact, rtol=1e-8)


def test_lanczos_quadrature_has_the_moments_of_the_marchenko_pastur_law() -> None:
    # A Gaussian matrix of variance 1 over its width: squared singular values with mean 1 and mean square 2.
    torch.manual_seed(0)
    width = 300
    layer = nn.Linear(width, width, bias=False).double()
    nn.init.normal_(layer.weight, std=1 / math.sqrt(width))
    product, _ = product_of(layer, (1, width))
    ritz = lanczos(product, num_vectors=8, num_steps=20, seed=0)

    # 8 vectors of 300: the trace errs by sqrt(2 / 2400), some 3 %
    assert ritz.mean == pytest.approx(1.0, abs=0.1)
    assert ritz.mean_square == pytest.approx(2.0, abs=0.3)
    assert math.sqrt(ritz.nodes[0]) == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("model", "shape", "couples"),
    [
        pytest.param(nn.Linear(5, 3), (4, 5), False, id="linear"),
        pytest.param(nn.BatchNorm1d(5), (4, 5), True, id="batch norm in training"),
        pytest.param(nn.BatchNorm1d(5).eval(), (4, 5), False, id="batch norm in evaluation"),
        pytest.param(nn.LayerNorm(5), (4, 5), False, id="layer norm"),
        pytest.param(nn.Flatten(0), (4, 5), True, id="no row a sample"),
    ],
)
def test_samples_that_influence_one_another_are_told(model: nn.Module, shape: tuple[int, ...], couples: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)

    assert couples_samples(Product(x, model(x)), seed=0) is couples


def test_an_output_that_does_not_depend_on_the_input_has_a_jacobian_of_zeros() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    product = Product(x, torch.ones(2, 4, requires_grad=True) * 2)

    assert not product.forward(torch.ones(6, dtype=torch.float64)).any()
    assert not product.backward(torch.ones(8, dtype=torch.float64)).any()


@pytest.mark.parametrize("size", [6, 1_000_000])
def test_a_backward_pass_without_a_derivative_is_told(size: int) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(_: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(_: object, gradient: Tensor) -> Tensor:
            return 2 * gradient

    x = torch.randn(size, requires_grad=True)
    with pytest.raises(NotMeasuredError, match="no derivative"):
        Product(x, Once.apply(x))


def test_nodes_of_a_tall_jacobian_add_up_to_its_squares() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 24, bias=False).double()
    product, jacobian = product_of(layer, (1, 6))
    ritz = lanczos(product, num_vectors=1, num_steps=6, seed=0)

    assert sum(ritz.nodes) == pytest.approx(float(jacobian.detach().square().sum()), rel=1e-9)
