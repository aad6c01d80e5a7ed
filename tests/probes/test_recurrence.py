"""Signal and gradient through time, against unrolled networks and against rates known in closed form."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.recurrence import Recurrences, TimeTrace

STEPS = 20


class Reader(nn.Module):
    """Recurrent cells whose result is read in one of several ways."""

    def __init__(self, cells: nn.RNNBase, way: str = "last output") -> None:
        super().__init__()
        self.cells, self.way = cells, way
        self.head = nn.Linear(16 * (2 if cells.bidirectional else 1), 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "packed":
            lengths = [STEPS] * 2 + [STEPS - 5] * (len(x) - 2)
            return self.head(self.cells(pack_padded_sequence(x, lengths, batch_first=True))[1][-1])
        outputs, states = self.cells(x)
        state = states[0] if isinstance(states, tuple) else states
        if self.way == "last state":
            return self.head(torch.cat([state[-2], state[-1]], 1) if self.cells.bidirectional else state[-1])
        return self.head(outputs[:, -1] if self.way == "last output" else outputs.mean(1))


def task(model: nn.Module, steps: int = STEPS) -> Task:
    torch.manual_seed(1)
    return make_task(model, torch.randn(8, steps, 4), torch.randint(3, (8,)), loss=F.cross_entropy)


def traced(model: nn.Module, steps: int = STEPS) -> tuple[TimeTrace, ...]:
    return measure(gather(task(model, steps), [Recurrences]), Recurrences).traces


def linear_cells(factor: float) -> nn.RNN:
    """A recurrence that multiplies every state by a factor: the rectifier never shuts, since all states are large."""
    cells = nn.RNN(4, 16, batch_first=True, nonlinearity="relu")
    into, back, *biases = cells.all_weights[0]
    nn.init.eye_(back)
    back.data.mul_(factor)
    nn.init.normal_(into, std=0.01)
    for bias in biases:
        nn.init.constant_(bias, 0.2)
    return cells


@pytest.mark.parametrize("way", ["last output", "last state", "packed"])
@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
def test_the_factor_of_a_step_is_found(factor: float, way: str) -> None:
    (trace,) = traced(Reader(linear_cells(factor), way))

    assert trace.name == "cells"
    assert trace.num_steps == STEPS - 1
    assert trace.factor_per_step == pytest.approx(factor, rel=1e-4)
    assert not trace.is_gated


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_gradients_are_those_of_the_real_step(kind: Callable[..., nn.RNNBase]) -> None:
    torch.manual_seed(0)
    model = Reader(kind(4, 16, batch_first=True))
    torch.manual_seed(1)
    x = torch.randn(4, STEPS, 4, requires_grad=True)
    labels = torch.randint(3, (4,))
    F.cross_entropy(model(x), labels).backward()
    assert x.grad is not None
    expected = x.grad.square().mean(dim=(0, 2)).sqrt().flip(0)
    (trace,) = measure(
        gather(make_task(model, x.detach(), labels, loss=F.cross_entropy), [Recurrences]), Recurrences
    ).traces

    assert trace.gradient == pytest.approx(expected.tolist(), rel=1e-3)


def test_what_is_read_at_every_step_does_not_fade() -> None:
    (trace,) = traced(Reader(nn.LSTM(4, 16, batch_first=True), "mean"), steps=40)

    assert abs(trace.total_decay) < 1.0


def test_cells_that_run_both_ways_fade_towards_the_middle() -> None:
    (trace,) = traced(Reader(nn.GRU(4, 16, batch_first=True, bidirectional=True), "last state"), steps=41)

    assert len(trace.gradient) == 41 // 2 + 1
    assert trace.total_decay > 1.0
    assert trace.is_gated


class Loop(nn.Module):
    """A loop of cells of any kind, the last state of which is read."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = memory = x.new_zeros(len(x), 16)
        for step in range(x.shape[1]):
            if isinstance(self.cell, nn.LSTMCell):
                state, memory = self.cell(x[:, step], (state, memory))
            elif isinstance(self.cell, nn.Linear):
                state = torch.tanh(self.cell(torch.cat([x[:, step], state], 1)))
            else:
                state = self.cell(x[:, step], state)
        return self.head(state)


@pytest.mark.parametrize(
    ("cell", "is_gated"),
    [
        pytest.param(nn.RNNCell(4, 16), False, id="RNN cell"),
        pytest.param(nn.Linear(20, 16), False, id="by hand"),
        pytest.param(nn.GRUCell(4, 16), True, id="GRU cell"),
        pytest.param(nn.LSTMCell(4, 16), True, id="LSTM cell"),
    ],
)
def test_a_loop_of_cells_is_one_recurrence(cell: nn.Module, is_gated: bool) -> None:
    (trace,) = traced(Loop(cell), steps=30)

    assert trace.name == "cell"
    assert trace.is_gated is is_gated
    assert 2.0 < trace.total_decay < 30.0
    assert len(trace.signal) == len(trace.gradient) == 30


def test_layers_used_side_by_side_are_no_recurrence() -> None:
    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower, self.head = nn.Linear(4, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.stack([self.tower(each).relu() for each in x.unbind(1)]).sum(0))

    assert traced(Towers()) == ()


def test_the_horizon_is_where_the_gradient_has_fallen_by_so_much() -> None:
    trace = TimeTrace("cells", (1.0, 0.1, 0.01, 1e-3, 1e-4), (1.0,), is_gated=False)

    assert [trace.horizon(each) for each in (0.5, 1.5, 3.5, 9)] == [1, 2, 4, 5]
    assert trace.decay_per_step == pytest.approx(1.0)


def test_steps_without_any_gradient_are_left_out_of_the_rate() -> None:
    trace = TimeTrace("cells", (1.0, 0.1, 0.01, 0.0, 0.0), (1.0, math.nan), is_gated=False)

    assert trace.num_steps == 2
    assert trace.factor_per_step == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("cells", "gate"),
    [
        pytest.param(nn.LSTM(4, 16, 2, batch_first=True), (16, 32), id="LSTM"),
        pytest.param(nn.GRU(4, 16, 2, batch_first=True), (16, 32), id="GRU"),
        pytest.param(nn.RNN(4, 16, 2, batch_first=True), (0, 0), id="no gates"),
    ],
)
def test_the_parameters_that_carry_the_state_are_named(cells: nn.RNNBase, gate: tuple[int, int]) -> None:
    (trace,) = traced(Reader(cells))

    assert trace.weights == ("cells.weight_hh_l0", "cells.weight_hh_l1")
    assert trace.biases == ("cells.bias_hh_l0", "cells.bias_hh_l1")
    assert trace.gate == gate


def test_cells_without_biases_have_no_gate_to_open() -> None:
    (trace,) = traced(Reader(nn.LSTM(4, 16, bias=False, batch_first=True)))

    assert (trace.weights, trace.biases, trace.gate) == (("cells.weight_hh_l0",), (), (0, 0))


def test_an_open_gate_carries_the_gradient_through_all_steps() -> None:
    model = Reader(nn.LSTM(4, 16, batch_first=True))
    (before,) = traced(model, 60)
    first, end = before.gate
    for name in before.biases:
        model.get_parameter(name).data[first:end].fill_(math.log(60))
    (after,) = traced(model, 60)

    assert after.total_decay < before.total_decay / 4


class Searching(nn.Module):
    """Steps of one weight towards a fixed point, or through a sequence, that add to the state what they are given."""

    def __init__(self, given: str) -> None:
        super().__init__()
        self.given, self.into, self.back, self.head = given, nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        nn.init.normal_(self.back.weight, std=0.05)

    def forward(self, x: Tensor) -> Tensor:
        first = self.into(x[:, 0])
        state, matrix = first if self.given == "nothing" else torch.zeros_like(first), torch.eye(len(x)) + x[0, 0, 0]
        for step in range(STEPS):
            following = self.back(state)
            match self.given:
                case "one value":
                    following = following + first
                case "one input, read anew":
                    following = self.into(x.mean(1)) + following
                case "its own input":
                    following = following + self.into(x[:, step])
                case "a matrix":
                    following = matrix @ following + self.into.bias
                case _:
                    pass
            state = torch.tanh(following)
        return self.head(state)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        pytest.param("one value", [], id="one value"),
        pytest.param("one input, read anew", [], id="one input"),
        pytest.param("its own input", ["back"], id="a sequence"),
        pytest.param("a matrix", ["back"], id="a graph's matrix"),
        pytest.param("nothing", ["back"], id="nothing but the state"),
    ],
)
def test_a_search_for_a_fixed_point_may_forget_its_start(given: str, names: list[str]) -> None:
    assert [trace.name for trace in traced(Searching(given))] == names
