"""What is read from a tape: activations, norms, residual branches, trunks and heads, on a module for each trap."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from isometry.anatomy.reading import Anatomy, read
from isometry.anatomy.record import record, record_step
from tests.anatomy.layers import Functional, anatomy_of, layer_of, mean_square, task_of


class Calls(nn.Module):
    """Layers a, b and c of width 8, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def read_calls(forward: Callable[[Any, Tensor], Any]) -> Anatomy:
    return anatomy_of(Calls(forward), torch.randn(4, 8))


def names_of_branches(anatomy: Anatomy) -> list[tuple[str, ...]]:
    """The layers at the ends of each residual branch."""
    tape = anatomy.tape
    return [tuple(tape.label(tape.operations[end]) for end in branch.ends) for branch in anatomy.branches]


def names_of_trunks(anatomy: Anatomy) -> list[list[str]]:
    tape = anatomy.tape
    sums = {branch.sum for branch in anatomy.branches}
    return [["sum" if n in sums else tape.label(tape.operations[n]) for n in trunk] for trunk in anatomy.trunks]


# Activations


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


# Weights under other names, and weights made of others


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


# Flow: calls, branches, trunks


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
        start = time.perf_counter()
        read(tape)
        seconds.append(time.perf_counter() - start)

    assert seconds[1] < 30 * seconds[0]  # 8 in proportion, 64 in the square


# What cannot be seen inside


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x**3 * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight = ctx.saved_tensors
        return 3 * x**2 * weight * gradients[0], (x**3 * gradients[0]).sum(0)


def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))


def test_custom_functions_are_seen_inside() -> None:
    model = nn.Sequential(nn.Linear(3, 4), Functional(4, forward=Cube.apply), nn.Linear(4, 1))
    step = record_step(task_of(model, torch.randn(5, 3)))
    anatomy = anatomy_of(model, torch.randn(5, 3))

    assert names_of_trunks(anatomy) == [["0", "2"]]
    assert {"pow", "mul"} <= {step.tape.operations[node].name for node in anatomy.flow.nodes}
    assert step.tape.unused == ()


class Kernel(torch.autograd.Function):
    """Fills its result out of sight, as a kernel does."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out.numpy()[:] = 2 * x.detach().numpy()
        return out

    @staticmethod
    def backward(_: Any, *gradients: Any) -> Any:
        return 2 * gradients[0]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is .*deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Functional(4, forward=lambda x, w: Kernel.apply(x) * w), id="kernel"),
        pytest.param(scripted, id="script"),
        pytest.param(lambda: Functional(4, forward=torch.func.vmap(torch.mul, in_dims=(0, None))), id="vmap"),
    ],
)
def test_what_runs_out_of_sight_is_one_opaque_operation(make: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), make(), nn.Linear(4, 1))
    step = record_step(task_of(model, torch.randn(5, 3)))
    anatomy = anatomy_of(model, torch.randn(5, 3))

    assert names_of_trunks(anatomy) == [["0", "2"]]
    assert "opaque" in [operation.name for operation in step.tape.operations]
    assert step.tape.unused == ()
    assert all(gradient is not None for group in step.gradients.values() for gradient in group)


# Inputs, outputs and modes of every kind


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...]


class Encoding(dict[str, Tensor]):
    pass


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda x: {"logits": x, "more": [x, None]}, id="dictionary"),
        pytest.param(lambda x: Output(x, (x,)), id="dataclass"),
        pytest.param(lambda x: Encoding(logits=x), id="subclass of dictionary"),
        pytest.param(lambda x: (x, None, [x]), id="nested"),
        pytest.param(lambda x: iter([x, x]), id="generator"),
    ],
)
def test_outputs_may_be_anything(pack: Callable[[Tensor], Any]) -> None:
    def step(model: nn.Module, batch: Tensor) -> Tensor:
        outputs = model(batch)
        first = next(outputs) if not isinstance(outputs, Mapping | Output | tuple) else outputs
        first = first["logits"] if isinstance(first, Mapping) else first
        first = first.logits if isinstance(first, Output) else first
        return (first[0] if isinstance(first, tuple) else first).square().mean()

    anatomy = anatomy_of(Calls(lambda m, x: pack(m.b(F.relu(m.a(x))))), torch.randn(4, 8), step)

    assert [(layer.name, layer.is_head) for layer in anatomy.layers] == [("a", False), ("b", True)]


def no_output(m: Any, x: Tensor) -> None:
    m.loss = m.b(F.relu(m.a(x))).square().mean()


def test_a_module_may_return_nothing() -> None:
    def step(model: nn.Module, batch: Tensor) -> Any:
        model(batch)
        return model.loss

    model = Calls(no_output)

    assert len(anatomy_of(model, torch.randn(4, 8), step).layers) == 2
    assert not hasattr(model, "loss")


ODD: dict[str, Callable[[Any, Tensor], Any]] = {
    "0-d tensors": lambda m, x: m.b(m.a(x) * x.mean() + x.sum().sqrt().nan_to_num()),
    "empty tensors": lambda m, x: m.b(torch.cat([m.a(x), m.a(x[:0])])),
    "complex values": lambda m, x: m.b(torch.fft.ifft(torch.fft.fft(m.a(x)) * 1j).real),
    "sparse matrix": lambda m, x: m.b(torch.sparse.mm(torch.eye(4).to_sparse(), m.a(x))),
    "data-dependent flow": lambda m, x: m.b(F.relu(m.a(x))) if float(x.sum()) < math.inf else x,
    "setitem": lambda m, x: m.b(_set(m.a(x))),
    "a gradient of its own": lambda m, x: m.b(_penalty(m, x)),
    "generator of rows": lambda m, x: torch.stack([m.b(row) for row in m.a(x)]),
    "functional call": lambda m, x: torch.func.functional_call(m.b, dict(m.b.named_parameters()), (m.a(x),)),
    "vmap": lambda m, x: m.b(torch.func.vmap(m.a)(x)),
    "integers": lambda m, x: m.b(m.a(x) + torch.bincount(torch.tensor([0, 1, 1]), minlength=8)),
    "caught error": lambda m, x: m.b(_attempt(m, x)),
    "split and joined": lambda m, x: m.b(torch.cat(m.a(x).split([3, 5], -1), -1)),
    "parameters of a distribution": lambda m, x: m.b(torch.distributions.Normal(m.a(x), 1.0).rsample()),
    "noise": lambda m, x: m.b(F.relu(m.a(torch.randn(4, 8)))) + 0 * x,
    "loop over time": lambda m, x: m.b(_unrolled(m, x)),
    "expanded": lambda m, x: m.b(m.a(x)[:1].expand(4, 8)),
    "double": lambda m, x: m.b(m.a(x).double().float()),
    "checked": lambda m, x: m.b(m.a(x) if x.shape[0] and x.is_floating_point() else x),
    "numpy": lambda m, x: m.b(m.a(x) + torch.from_numpy(x.detach().numpy() * 2)),
}


def _set(h: Tensor) -> Tensor:
    out = torch.zeros(4, 8)
    out[:, :4] = h[:, 4:]
    out[:, 4:] += 1
    return out


def _penalty(m: Any, x: Tensor) -> Tensor:
    inputs = x.clone().requires_grad_()
    out = m.a(inputs).tanh()
    return torch.autograd.grad(out.sum(), inputs, create_graph=True)[0] + out


def _attempt(m: Any, x: Tensor) -> Tensor:
    try:
        m.c(x[:, :3])
    except RuntimeError:
        return m.a(x)
    raise AssertionError


def _unrolled(m: Any, x: Tensor) -> Tensor:
    h = torch.zeros(4, 8)
    for _ in range(3):
        h = torch.tanh(m.a(x) + h)
    return h


@pytest.mark.parametrize("forward", ODD.values(), ids=ODD.keys())
def test_models_may_do_odd_things(forward: Callable[[Any, Tensor], Any]) -> None:
    model = Calls(forward)
    step = record_step(task_of(model, torch.randn(4, 8)))
    anatomy = anatomy_of(model, torch.randn(4, 8))
    with_gradient = {name for name, (gradient,) in step.gradients.items() if gradient is not None}

    assert {"a.weight", "b.weight"} <= with_gradient
    assert layer_of(anatomy, "b.weight").is_head


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_gradients_pass_both_kinds_of_checkpoints(use_reentrant: bool) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = torch.utils.checkpoint.checkpoint(lambda y: F.relu(m.b(y)), m.a(x), use_reentrant=use_reentrant)
        return m.c(h)

    model, x = Calls(forward), torch.randn(4, 8)
    step = record_step(task_of(model, x))
    parameters = [model.a.weight, model.b.weight, model.c.weight]
    plain = mean_square(Calls(lambda _, x: model.c(F.relu(model.b(model.a(x))))), x)
    expected = torch.autograd.grad(plain, parameters)
    found = [step.gradients[f"{name}.weight"][0] for name in "abc"]

    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True) if one is not None)
    assert None not in found
    assert [layer.name for layer in anatomy_of(model, x).layers] == ["a", "b", "c"]


def test_autocast_is_recorded_as_it_runs() -> None:
    model, x = Calls(lambda m, x: m.b(F.relu(m.a(x)))), torch.randn(4, 8)
    task = task_of(model, x)
    tape = record(
        type(task)(model=model, batch=x, step=mean_square, context=lambda: torch.autocast("cpu", torch.bfloat16))
    )
    linear = next(operation for operation in tape.operations if operation.name == "linear")

    assert tape.values[linear.outputs[0]].dtype == torch.bfloat16


def test_the_meta_device_has_an_anatomy_without_numbers() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 24), nn.BatchNorm1d(24))
        x = torch.empty(2, 3, 8, 8)
    step = record_step(task_of(model, x))
    anatomy = anatomy_of(model, x)

    assert [(layer.layout.fans.into, layer.name) for layer in anatomy.layers] == [(27, "0"), (288, "3")]
    assert step.loss.is_meta


def test_fake_tensors_have_an_anatomy_without_numbers() -> None:
    with torch._subclasses.fake_tensor.FakeTensorMode():
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 24))
        x = torch.empty(2, 3)
        step = record_step(task_of(model, x))
        anatomy = anatomy_of(model, x)

    assert [(layer.layout.fans.into, layer.name) for layer in anatomy.layers] == [(3, "0"), (8, "3")]
    assert step.loss.shape == ()
