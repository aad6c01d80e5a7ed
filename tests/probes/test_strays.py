"""Weights that work in a model and are none of its parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.strays import Stray, Strays
from tests.anatomy.layers import mean_square


class Net(nn.Module):
    """A registered layer, and whatever else a case adds."""

    def __init__(self, prepare: Callable[[Any], None], between: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        prepare(self)
        self._between = between

    def forward(self, x: Tensor) -> Tensor:
        return self._between(self, torch.tanh(self.first(x)))


def strays_of(model: nn.Module, step: Any = mean_square) -> list[Stray]:
    torch.manual_seed(0)
    task = Task(model=model, batch=torch.randn(8, 4), step=step)
    return list(measure(gather(task, [Strays]), Strays).tensors)


def hidden(model: Any) -> None:
    model.layers = [nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)]


def quiet(model: Any) -> None:
    model.fixed = [nn.Linear(4, 4, bias=False).eval()]


def in_dictionaries(model: Any) -> None:
    model.weights = {"up": {"w": nn.Parameter(torch.randn(4, 4))}}


def plain(model: Any) -> None:
    model.weight = torch.randn(4, 4, requires_grad=True)


def registered(model: Any) -> None:
    model.layers = nn.ModuleList([nn.Linear(4, 4, bias=False)])
    model.again = [model.layers[0]]


def nothing(_: Any) -> None:
    return


def through(model: Any, x: Tensor) -> Tensor:
    for layer in getattr(model, "layers", ()) or model.fixed:
        x = layer(x)
    return x


def under_no_grad(model: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        goal = model.layers[0](x)
    return x - goal


CASES: dict[str, tuple[Callable[[Any], None], Callable[[Any, Tensor], Tensor], list[Stray]]] = {
    "layers in a list": (
        hidden,
        through,
        [Stray("layers[0].weight", is_held=True), Stray("layers[1].weight", is_held=True)],
    ),
    "a fixed network": (quiet, through, [Stray("fixed[0].weight", is_held=True, is_asleep=True)]),
    "nested dictionaries": (
        in_dictionaries,
        lambda m, x: x @ m.weights["up"]["w"],
        [Stray("weights['up']['w']", is_held=True)],
    ),
    "a plain tensor": (plain, lambda m, x: x @ m.weight, [Stray("weight", is_held=True)]),
    "a list beside a ModuleList": (registered, through, []),
    "a teacher in a list": (hidden, under_no_grad, []),
    "made anew": (
        nothing,
        lambda _, x: x @ nn.Parameter(torch.ones(4, 2)),
        [Stray("a parameter of shape (4, 2)", is_held=False)],
    ),
    "noise that is differentiated": (nothing, lambda _, x: x + torch.randn(4).requires_grad_(), []),
    "inputs that are differentiated": (nothing, lambda _, x: x.detach().clone().requires_grad_(), []),
}


@pytest.mark.parametrize(("prepare", "between", "expected"), CASES.values(), ids=CASES.keys())
def test_strays_are_named_by_where_they_are_held(
    prepare: Callable[[Any], None], between: Callable[[Any, Tensor], Tensor], expected: list[Stray]
) -> None:
    assert strays_of(Net(prepare, between)) == expected


def test_a_critic_that_the_step_calls_is_no_stray() -> None:
    critic = nn.Linear(4, 1)
    model = Net(nothing, lambda _, x: x)

    assert strays_of(model, lambda model, batch: critic(model(batch)).mean()) == []


def test_inputs_that_require_a_gradient_are_data() -> None:
    places = torch.randn(8, 4, requires_grad=True)
    model = Net(nothing, lambda _, x: x)

    assert measure(gather(make_task(model, places), [Strays]), Strays).tensors == ()
