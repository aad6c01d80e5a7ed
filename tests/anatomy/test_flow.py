"""Calls, residual branches and trunks."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.reading import read
from isometry.anatomy.record import record
from tests.anatomy.layers import Calls, anatomy_of, names_of_branches, names_of_trunks, read_calls, task_of


def test_a_module_called_three_times_is_three_layers_of_one_weight() -> None:
    anatomy = read_calls(lambda m, x: m.c(torch.tanh(m.a(torch.tanh(m.a(torch.tanh(m.a(x))))))))

    assert [layer.weight[0] for layer in anatomy.layers] == ["a.weight"] * 3 + ["c.weight"]
    assert [layer.depth for layer in anatomy.layers] == [1, 2, 3, 4]
    assert names_of_trunks(anatomy) == [["a", "a", "a", "c"]]


def test_branches_that_join_leave_the_trunk() -> None:
    anatomy = read_calls(lambda m, x: m.c(torch.cat([F.relu(m.a(x))[:, :4], F.relu(m.b(x))[:, :4]], 1)))

    assert {tuple(trunk) for trunk in names_of_trunks(anatomy)} == {("a", "c"), ("b", "c")}
    assert anatomy.branches == ()
    assert anatomy.depth == 2


RESIDUAL: dict[str, tuple[Callable[[Any, Tensor], Tensor], list[tuple[str, ...]], bool]] = {
    "identity skip": (lambda m, x: m.c(_then(m.a(x), lambda h: h + F.relu(m.b(h)))), [("b",)], False),
    "branch first": (lambda m, x: m.c(_then(m.a(x), lambda h: F.relu(m.b(h)) + h)), [("b",)], False),
    "in place": (lambda m, x: m.c(_then(m.a(x), lambda h: F.relu(m.b(h)).add_(h))), [("b",)], False),
    "operator in place": (lambda m, x: m.c(_then(m.a(x), lambda h: _iadd(F.relu(m.b(h)), h))), [("b",)], False),
    "two layers": (lambda m, x: _then(m.a(x), lambda h: h + m.c(F.relu(m.b(h)))), [("c",)], False),
    "pre-norm": (lambda m, x: m.c(_then(m.a(x), lambda h: h + m.b(m.norm(h)))), [("b",)], False),
    "post-norm": (lambda m, x: m.c(_then(m.a(x), lambda h: m.norm(h + m.b(h)))), [("b",)], False),
    "projection": (
        lambda m, x: m.a(_then(F.relu(x * m.norm.weight), lambda h: m.a(h) + m.c(F.relu(m.b(h))))),
        [("c",)],
        True,
    ),
    "raw input": (lambda m, x: m.c(x + m.b(F.relu(m.a(x)))), [("b",)], False),
    "scaled branch": (lambda m, x: m.c(_then(m.a(x), lambda h: h + 0.1 * m.b(h))), [("b",)], False),
    "dropout on the branch": (lambda m, x: m.c(_then(m.a(x), lambda h: h + F.dropout(m.b(h), 0.1))), [("b",)], False),
}


def _then(value: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return function(value)


def _iadd(first: Tensor, second: Tensor) -> Tensor:
    first += second
    return first


@pytest.mark.parametrize(("forward", "ends", "has_layers_on_skip"), RESIDUAL.values(), ids=RESIDUAL.keys())
def test_a_residual_branch_is_found_with_the_layer_it_ends_in(
    forward: Callable[[Any, Tensor], Tensor], ends: list[tuple[str, ...]], has_layers_on_skip: bool
) -> None:
    anatomy = read_calls(forward)

    assert names_of_branches(anatomy) == ends
    assert [branch.has_layers_on_skip for branch in anatomy.branches] == [has_layers_on_skip]
    assert {layer.name for layer in anatomy.layers if layer.ends_branch} == {name for end in ends for name in end}


@pytest.mark.parametrize(
    "add",
    [
        pytest.param(lambda h, first, second: h + first + second, id="skip first"),
        pytest.param(lambda h, first, second: first + second + h, id="skip last"),
        pytest.param(lambda h, first, second: first + h + second, id="skip between"),
        pytest.param(lambda h, first, second: h + (first + second), id="skip outside"),
    ],
)
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("read_out", [False, True])
def test_parallel_branches_are_one_branch_in_whatever_order_they_are_added(
    add: Callable[[Tensor, Tensor, Tensor], Tensor], num_layers: int, *, read_out: bool
) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        for _ in range(2):
            z = m.norm(h)
            h = add(h, F.relu(m.b(F.relu(m.b(z)) if num_layers == 2 else z)), m.c(z))
        return m.a(h) if read_out else h

    anatomy = read_calls(forward)

    assert names_of_branches(anatomy) == [("b", "c"), ("b", "c")]
    assert [branch.has_layers_on_skip for branch in anatomy.branches] == [False, False]
    assert names_of_trunks(anatomy) == [["a", "sum", "sum", *["a"] * read_out]]


def test_a_sum_inside_a_parallel_branch_is_a_branch_of_its_own() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        inner = F.relu(m.b(h))
        return m.a(h + (inner + m.c(inner)) + m.c(h))

    assert names_of_branches(read_calls(forward)) == [("c",), ("b", "c", "c")]


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(lambda m, x: m.c(m.a(x) + m.b(x)), id="two layers of the same input"),
        pytest.param(lambda m, x: m.b(m.a(x) + 1), id="a constant"),
        pytest.param(lambda m, x: m.b(m.a(x) * m.a(x)), id="a product"),
        pytest.param(lambda m, x: m.b(F.relu(m.a(x)) + torch.arange(8)), id="positions"),
    ],
)
def test_other_sums_are_no_residual_branches(forward: Callable[[Any, Tensor], Tensor]) -> None:
    assert read_calls(forward).branches == ()


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_encoder_has_two_branches_a_layer(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    model = nn.Sequential(nn.Linear(5, 8), nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(8, 2))
    anatomy = anatomy_of(model, torch.randn(2, 3, 5))
    ends = names_of_branches(anatomy)

    assert ends == [(f"1.layers.{index}.{name}",) for index in range(3) for name in ("self_attn.out_proj", "linear2")]
    assert names_of_trunks(anatomy) == [["0", *["sum"] * 6, "2"]]
    assert [layer.name for layer in anatomy.heads] == ["2"]


def test_two_towers_are_two_trunks() -> None:
    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = (nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)) for _ in range(2))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.left(x) @ self.right(y).T

    anatomy = anatomy_of(Towers(), (torch.randn(3, 4), torch.randn(3, 4)))

    assert {tuple(trunk) for trunk in names_of_trunks(anatomy)} == {("left.0", "left.2"), ("right.0", "right.2")}
    assert [layer.name for layer in anatomy.heads] == ["left.2", "right.2"]


def test_the_trunk_of_an_encoder_ends_where_decoder_layers_read_it() -> None:
    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source, self.target, self.head = nn.Linear(5, 8), nn.Linear(6, 8), nn.Linear(8, 2)
            self.core = nn.Transformer(8, 2, 2, 2, 16, batch_first=True)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.head(self.core(self.source(x), self.target(y)))

    anatomy = anatomy_of(Translator(), (torch.randn(2, 4, 5), torch.randn(2, 3, 6)))

    assert names_of_trunks(anatomy) == [["source", *["sum"] * 4], ["target", *["sum"] * 6, "head"]]


class Scored(nn.Module):
    """Attention whose scores hold learnt positions, as relative ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value, self.out = (nn.Linear(8, 8) for _ in range(3))
        self.position, self.places = nn.Linear(8, 8), nn.Parameter(torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.position(self.places).T
        return x + self.out(scores.softmax(-1) @ self.value(x))


def test_learnt_positions_inside_a_branch_start_no_trunk() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Scored(), Scored(), nn.Linear(8, 2))

    assert names_of_trunks(anatomy_of(model, torch.randn(4, 8))) == [["0", "sum", "sum", "3"]]


def test_steps_of_a_recurrence_are_no_residual_branches() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        seen, h = m.a(x), torch.zeros(4, 8)
        for step in range(5):
            h = torch.tanh(seen[:, step] + m.b(h) + x[:, step])
        return m.c(h)

    assert anatomy_of(Calls(forward), torch.randn(4, 5, 8)).branches == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda depth: nn.Sequential(*[nn.Linear(8, 8) for _ in range(depth)]), id="plain"),
        pytest.param(lambda depth: nn.Sequential(*[Scored() for _ in range(depth)], nn.Linear(8, 2)), id="residual"),
    ],
)
def test_reading_takes_time_in_proportion_to_the_depth(make: Callable[[int], nn.Module]) -> None:
    seconds: list[float] = []
    for depth in (100, 800):
        tape = record(task_of(make(depth), torch.randn(4, 8)))
        seconds.append(min(seconds_of(lambda tape=tape: read(tape)) for _ in range(3)))

    assert seconds[1] < 30 * seconds[0]  # 8 in proportion, 64 in the square


def seconds_of(call: Callable[[], object]) -> float:
    """Return the process's own time, since what else the machine does is none of its business."""
    start = time.process_time()
    call()
    return time.process_time() - start


def test_the_way_back_from_an_operation_holds_what_leads_to_it_and_nothing_else() -> None:
    anatomy = read_calls(lambda m, x: m.c(torch.cat([F.relu(m.a(x))[:, :4], F.relu(m.b(x))[:, :4]], 1)))
    flow, (left, right, last) = anatomy.flow, [layer.operation for layer in anatomy.layers]
    activation = flow.after[left][0]

    assert flow.back_from((last,)) == set(range(last + 1))
    assert flow.back_from((last,), until=lambda node: node == right) >= {left, right, last}
    assert flow.between(left, last) >= {activation, last}
    assert not flow.between(left, last) & {left}
    assert flow.leads_to(left, last)
    assert flow.leads_to(left, left)
    assert not flow.leads_to(left, right)
    assert not flow.leads_to(last, left)
