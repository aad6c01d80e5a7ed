"""Weights under other names, and weights made of others."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from isometry.anatomy.record import record_step
from tests.anatomy.layers import anatomy_of, task_of


def test_a_tied_weight_is_one_parameter_with_two_uses() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embedding(ids))

    model = Tied()
    step = record_step(task_of(model, torch.arange(6)))
    anatomy = anatomy_of(model, torch.arange(6))

    assert [(layer.kind, layer.weight, layer.is_head) for layer in anatomy.layers] == [
        ("embedding", ("embedding.weight",), False),
        ("linear", ("embedding.weight",), True),
    ]
    assert step.names.ties == {"embedding.weight": ("head.weight",)}
    assert list(step.gradients) == ["embedding.weight"]


@pytest.mark.parametrize(
    ("wrap", "num_tensors"),
    [
        (parametrizations.weight_norm, 2),
        (parametrizations.spectral_norm, 1),
        (parametrizations.orthogonal, 1),
    ],
)
def test_a_parametrised_weight_stands_under_its_own_name(wrap: Any, num_tensors: int) -> None:
    model = nn.Sequential(wrap(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 1))
    step = record_step(task_of(model, torch.randn(3, 6)))
    first = anatomy_of(model, torch.randn(3, 6)).layers[0]

    assert first.weight == ("0.weight",)
    assert first.name == "0"
    assert len(step.names.parameters["0.weight"]) == num_tensors
    assert all(gradient is not None for gradient in step.gradients["0.weight"])
    assert (first.layout.fans.into, first.layout.out_axis, first.layout.in_axis) == (6, 0, 1)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_a_weight_normed_in_the_old_way_is_made_of_two_parameters() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 1))
    before = model[0].weight
    first = anatomy_of(model, torch.randn(3, 6)).layers[0]

    assert set(first.weight) == {"0.weight_g", "0.weight_v"}
    assert (first.layout.fans.into, first.layout.fans.out) == (6, 4)
    assert model[0].weight is before


def test_low_rank_additions_are_part_of_the_weight() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 6), requires_grad=False)
            self.down, self.up = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.zeros(6, 2))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight + self.up @ self.down)

    (layer,) = anatomy_of(LowRank(), torch.randn(3, 6)).layers

    assert set(layer.weight) == {"weight", "up", "down"}


def test_wrappers_leave_no_trace_in_names() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Any:
            return self.module(x)

    model = Wrapper(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)))
    anatomy = anatomy_of(model, torch.randn(2, 3))

    assert [layer.weight for layer in anatomy.layers] == [("0.weight",), ("2.weight",)]
    assert [layer.name for layer in anatomy.layers] == ["0", "2"]


def test_a_part_that_is_called_module_is_not_mistaken_for_its_owner() -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.weight = nn.Linear(3, 3), nn.Parameter(torch.ones(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.module(x) @ self.weight

    anatomy = anatomy_of(Owner(), torch.randn(2, 3))

    assert [layer.weight for layer in anatomy.layers] == [("module.weight",), ("weight",)]


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_module_is_read_as_it_was_written() -> None:
    model = torch.compile(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)))
    anatomy = anatomy_of(model, torch.randn(2, 3))  # nothing is compiled: that would take seconds and a compiler

    assert [layer.weight for layer in anatomy.layers] == [("0.weight",), ("2.weight",)]
    assert anatomy.layers[0].activation_after is not None
