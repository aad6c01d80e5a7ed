"""Activations, gates and norms are found where they stand, and repeated on other numbers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tests.anatomy.layers import (
    anatomy_of,
    layer_of,
    read_calls,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "maximum": lambda x: torch.maximum(x, torch.zeros(())),
    "gelu": F.gelu,
    "gelu with tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu with erf": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "silu of a method": lambda x: x.sigmoid().mul(x),
    "squared relu": lambda x: F.relu(x).square(),
    "square": lambda x: x * x,
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "sine": lambda x: torch.sin(30 * x),
    "snake": lambda x: x + torch.sin(x) ** 2,
    "softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "inverse": lambda x: 1 / (1 + x.abs()),
    "hard tanh": F.hardtanh,
    "leaky relu, in place by position": lambda x: F.leaky_relu(x, 0.2, True),
    "expit": torch.special.expit,
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
}


@pytest.mark.parametrize("function", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_an_activation_is_found_and_equals_the_real_one(function: Callable[[Tensor], Tensor]) -> None:
    anatomy = read_calls(lambda m, x: m.b(function(m.a(x))))
    found, before = layer_of(anatomy, "a.weight").activation_after, layer_of(anatomy, "b.weight").activation_before
    numbers = np.linspace(-3, 3, 101)
    expected = function(torch.from_numpy(numbers.copy())).numpy()

    assert found is not None
    assert before == found
    assert np.allclose(found(numbers), expected, rtol=1e-12, atol=1e-12)


def test_a_learnt_slope_is_part_of_the_activation() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(init=0.3), nn.Linear(4, 1))
    found = anatomy_of(model, torch.randn(3, 4)).layers[0].activation_after

    assert found is not None
    assert found(np.array([-1.0, 2.0])).tolist() == pytest.approx([-0.3, 2.0])


def test_functional_code_shows_its_bias_and_the_activation_behind_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(6, 2))
            self.b = nn.Parameter(torch.zeros(6))

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x @ self.w + self.b) @ self.v

    first, second = anatomy_of(Net(), torch.randn(3, 4)).layers

    assert (first.weight, first.biases) == (("w",), ("b",))
    assert first.activation_after is not None
    assert first.activation_after.name == "relu"
    assert second.activation_before == first.activation_after
    assert (first.is_head, second.is_head) == (False, True)


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(lambda _, x: F.dropout(x, 0.5), id="dropout"),
        pytest.param(lambda _, x: x.view(2, 2, 8).transpose(0, 1), id="reshapes"),
        pytest.param(lambda m, x: m.norm(x), id="norm"),
        pytest.param(lambda m, x: m.norm(x) * 1.0, id="norm and a factor"),
    ],
)
def test_an_activation_is_found_behind_what_stands_between(between: Callable[[Any, Tensor], Tensor]) -> None:
    first = read_calls(lambda m, x: m.b(F.relu(between(m, m.a(x))))).layers[0]

    assert first.activation_after is not None
    assert "relu" in first.activation_after.name


def test_a_layer_without_an_activation_has_none() -> None:
    first, second = read_calls(lambda m, x: m.b(m.a(x))).layers

    assert first.activation_after is None
    assert second.activation_before is None


def test_a_gate_reads_two_layers() -> None:
    anatomy = read_calls(lambda m, x: m.c(F.silu(m.a(x)) * m.b(x)))
    gate, up, down = anatomy.layers

    assert gate.activation_after is not None
    assert up.activation_after is None
    assert down.activation_before is None
    assert not down.ends_branch


def test_norms_are_seen_on_both_sides_of_a_layer() -> None:
    first, second, third = read_calls(lambda m, x: m.c(m.b(m.norm(m.a(x))))).layers

    assert [each.is_normalised for each in (first, second, third)] == [True, False, False]
    assert [each.reads_norm for each in (first, second, third)] == [False, True, False]


def test_a_norm_of_several_operations_is_a_norm() -> None:
    class Rms(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale

    first, second = anatomy_of(nn.Sequential(nn.Linear(8, 8), Rms(), nn.Linear(8, 8)), torch.randn(4, 8)).layers

    assert (first.is_normalised, second.reads_norm) == (True, True)
    assert second.activation_before is None


class Two(nn.Module):
    """Two activations, each behind a layer."""

    def __init__(self, first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers, self.functions = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), (first, second)

    def forward(self, x: Tensor) -> Tensor:
        for layer, function in zip(self.layers, self.functions, strict=False):
            x = function(layer(x))
        return self.layers[2](x)


@pytest.mark.parametrize(
    ("second", "is_same"),
    [
        pytest.param(lambda x: F.leaky_relu(x, 0.2) * 2, True, id="the same"),
        pytest.param(lambda x: F.leaky_relu(x, 0.3) * 2, False, id="another slope"),
        pytest.param(lambda x: F.leaky_relu(x, 0.2) * 3, False, id="another scale"),
        pytest.param(lambda x: F.leaky_relu(x * 2, 0.2), False, id="another order"),
        pytest.param(lambda x: F.elu(x, 0.2) * 2, False, id="another function"),
    ],
)
def test_two_uses_of_one_function_have_one_formula(second: Callable[[Tensor], Tensor], is_same: bool) -> None:
    anatomy = anatomy_of(Two(lambda x: F.leaky_relu(x, 0.2) * 2, second), torch.randn(8, 4))
    one, other = (layer_of(anatomy, f"layers.{place}.weight").activation_after for place in (0, 1))

    assert one is not None
    assert other is not None
    assert one.formula is not None
    assert (one.formula == other.formula) is is_same
