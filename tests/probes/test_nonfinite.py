"""The first operation that makes a NaN or an infinity."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.nonfinite import NonFiniteOrigin
from tests.anatomy.layers import mean_square


class Net(nn.Module):
    """Two layers with names, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("table", torch.zeros(4))
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def origin_of(
    forward: Callable[[Any, Tensor], Any], x: Tensor | None = None, step: Any = mean_square
) -> NonFiniteOrigin:
    torch.manual_seed(0)
    x = torch.randn(8, 4) if x is None else x
    return origin(Net(forward), x, step)


def origin(model: nn.Module, x: Any, step: Any = mean_square) -> NonFiniteOrigin:
    return measure(gather(Task(model=model, batch=x, step=step), [NonFiniteOrigin]), NonFiniteOrigin)


def causal(m: Any, x: Tensor, rows: int = 0) -> Tensor:
    scores = m.first(x) @ m.second(x).T
    mask = torch.ones(8, 8).triu(1).bool()
    mask[:rows] = True
    return scores.masked_fill(mask, -math.inf).softmax(-1) @ x


FORWARD: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "log of a negative": (lambda m, x: m.second(torch.log(m.first(x))), "log"),
    "root of a negative": (lambda m, x: m.second(m.first(x).sqrt()), "sqrt"),
    "nothing over nothing": (lambda m, x: m.second(m.first(x) * 0 / (m.first(x) * 0)), "div"),
    "one over nothing": (lambda m, x: m.second(1 / (m.first(x) * 0)), "div"),
    "overflow": (lambda m, x: m.second(torch.exp(m.first(x) * 1e4)), "exp"),
    "overflow of half": (lambda m, x: m.second((m.first(x) * 1e6).half().float()), "half"),
    "power": (lambda m, x: m.second(m.first(x) ** 0.5), "pow"),
    "fully masked softmax": (lambda m, x: causal(m, x, rows=2), "softmax"),
    "times infinity": (lambda m, x: m.second(m.first(x) * math.inf), "mul"),
}


@pytest.mark.parametrize(("forward", "operation"), FORWARD.values(), ids=FORWARD.keys())
def test_the_operation_that_makes_it_is_named(forward: Callable[[Any, Tensor], Any], operation: str) -> None:
    found = origin_of(forward)

    assert (found.during, found.operation) == ("forward", operation)
    assert found.count > 0


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(causal, id="causal mask"),
        pytest.param(lambda m, x: m.second(F.logsigmoid(m.first(x))), id="log sigmoid"),
        pytest.param(lambda m, x: m.second(torch.where(m.first(x) > 0, m.first(x), -math.inf).clamp(-1)), id="clamped"),
        pytest.param(lambda m, x: m.second(torch.nan_to_num(m.first(x).log().detach()) + m.first(x)), id="mended"),
    ],
)
def test_finite_losses_are_silent(forward: Callable[[Any, Tensor], Any]) -> None:
    assert origin_of(forward) == NonFiniteOrigin(None)


BACKWARD: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "root at zero": (lambda m, x: m.second(x) + torch.sqrt((m.first(x) * 0).sum()), "sqrt"),
    "power at zero": (lambda m, x: m.second(x) + (m.first(x) * 0).sum() ** 0.5, "pow"),
    "where": (lambda m, x: m.second(torch.where(m.first(x) > 0, m.first(x).sqrt(), 0.0)), "sqrt"),
    "arc cosine at one": (lambda m, x: m.second(x) + torch.acos((m.first(x) * 0).sum() + 1), "acos"),
}


@pytest.mark.parametrize(("forward", "operation"), BACKWARD.values(), ids=BACKWARD.keys())
def test_the_operation_whose_derivative_makes_it_is_named(
    forward: Callable[[Any, Tensor], Any], operation: str
) -> None:
    found = origin_of(forward)

    assert (found.during, found.operation) == ("backward", operation)
    assert found.count > 0


def test_a_norm_at_zero_is_silent_where_torch_defines_its_derivative() -> None:
    assert origin_of(lambda m, x: m.second(x) + (m.first(x) * 0).norm()) == NonFiniteOrigin(None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_is_named(value: float) -> None:
    x = torch.randn(8, 4)
    x[3, 1] = value
    model = Net(lambda m, x: m.second(m.first(x)))
    task = make_task(model, x, torch.zeros(8, 4), loss=F.mse_loss)
    found = measure(gather(task, [NonFiniteOrigin]), NonFiniteOrigin)

    assert found == NonFiniteOrigin("batch", "inputs", "", 1, 32)


def test_targets_that_are_not_finite_are_named() -> None:
    model = Net(lambda m, x: m.second(m.first(x)))
    task = make_task(model, torch.randn(8, 4), torch.full((8, 4), math.nan), loss=F.mse_loss)

    assert measure(gather(task, [NonFiniteOrigin]), NonFiniteOrigin).where == "targets"


def test_a_batch_of_any_class_that_is_not_finite_is_named() -> None:
    class Graph:
        def __init__(self) -> None:
            self.x = torch.full((8, 4), math.nan)

    found = origin(Net(lambda m, graph: m.second(m.first(graph.x))), Graph())

    assert (found.during, found.count) == ("batch", 32)


def test_a_mask_of_infinities_in_the_batch_is_not_to_blame() -> None:
    mask = torch.zeros(8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), -math.inf)

    def step(model: nn.Module, batch: Any) -> Tensor:
        return model(batch).square().mean()

    def forward(m: Any, batch: Any) -> Tensor:
        x, scores = batch
        return (torch.log(m.first(x)) @ m.second(x).T + scores).softmax(-1)

    found = origin(Net(forward), (torch.randn(8, 4), mask), step)

    assert (found.during, found.operation) == ("forward", "log")


@pytest.mark.parametrize("name", ["first.weight", "second.bias", "table"])
def test_a_parameter_or_buffer_that_is_not_finite_is_named(name: str) -> None:
    model = Net(lambda m, x: m.second(m.first(x)) + m.table)
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    tensors[name].data.view(-1)[0] = math.nan
    found = origin(model, torch.randn(8, 4))

    assert (found.during, found.where) == ("parameter", name)


def test_the_largest_number_that_was_read_is_told() -> None:
    found = origin_of(lambda m, x: m.second(torch.exp(m.first(x) * 0 + 1000.0)))

    assert found.largest_input == pytest.approx(1000.0)
    assert (found.count, found.total) == (32, 32)
