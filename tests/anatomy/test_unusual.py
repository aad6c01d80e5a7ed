"""Modules that run out of sight, return anything or do what no textbook does."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.record import record, record_step
from tests.anatomy.layers import (
    Calls,
    Functional,
    anatomy_of,
    layer_of,
    mean_square,
    names_of_trunks,
    task_of,
)


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
