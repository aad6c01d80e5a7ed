"""Numbers of every operation, against the same numbers taken by plain hooks."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.anatomy.record import record_step
from isometry.anatomy.recorder import Observer
from isometry.anatomy.task import Task
from isometry.probes.evidence import Evidence, gather
from isometry.probes.statistics import OutputNumbers, OutputStatistics, rms, to_floats
from isometry.probes.traces import GradientTrace
from tests.anatomy.layers import mean_square


def evidence_of(model: nn.Module, x: Any) -> Evidence:
    return gather(Task(model=model, batch=x, step=mean_square), [GradientTrace])


def numbers_of(evidence: Evidence, name: str, which: int = 0) -> OutputNumbers:
    """What was measured at one of the operations of a name."""
    found = [each.index for each in evidence.step.tape.operations if each.name == name]
    return evidence.numbers[found[which]]


def reference(model: nn.Module, x: Tensor) -> dict[nn.Module, Tensor]:
    """The output of each module, with its gradient retained."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs[module] = output

    handles = [module.register_forward_hook(keep) for module in model.modules()]
    mean_square(model, x).backward()
    for handle in handles:
        handle.remove()
    return outputs


def plain_rms(tensor: Tensor | None) -> float:
    assert tensor is not None
    return float(tensor.detach().double().square().mean().sqrt())


MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4), nn.Sigmoid()), (32, 6)),
    "tokens": (lambda: nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 4), nn.ReLU()), (8, 5, 6)),
    "images": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Softsign()), (4, 3, 9, 9)),
    "double": (lambda: nn.Sequential(nn.Linear(6, 9), nn.Hardtanh(), nn.Linear(9, 4)).double(), (32, 6)),
    "channels last": (
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()).to(memory_format=torch.channels_last),
        (4, 3, 9, 9),
    ),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS.keys())
def test_numbers_are_those_that_plain_hooks_see(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = make()
    x = torch.randn(shape, dtype=next(model.parameters()).dtype)
    evidence = evidence_of(model, x)
    measured = [evidence.numbers[node] for node in evidence.anatomy.flow.nodes[: len(model)]]

    for numbers, (module, output) in zip(measured, [*reference(model, x).items()][:-1], strict=True):
        axis = 1 if output.ndim == 4 else output.ndim - 1
        units = output.detach().double().movedim(axis, -1).flatten(0, -2)
        assert numbers.rms == pytest.approx(plain_rms(output), rel=1e-6)
        assert numbers.gradient_rms == pytest.approx(plain_rms(output.grad), rel=1e-6), module
        assert numbers.mean == pytest.approx(float(output.detach().double().mean()), abs=1e-6)
        if numbers.zero_share is not None:
            assert numbers.zero_share == pytest.approx(float((output == 0).double().mean()), abs=1e-7)
        assert numbers.spread == pytest.approx(float(units.var(0, correction=0).mean().sqrt()), rel=1e-5)


@pytest.mark.parametrize(
    ("activation", "share"),
    [
        # slopes below a twentieth of the largest: |x| > 4.36 for the sigmoid, 2.18 for tanh, 3.47 for softsign
        pytest.param(torch.sigmoid, 2 / 8, id="sigmoid"),
        pytest.param(torch.tanh, 5 / 8, id="tanh"),
        pytest.param(F.softsign, 2 / 8, id="softsign"),
        pytest.param(F.hardtanh, 5 / 8, id="hard tanh"),
        pytest.param(F.hardsigmoid, 4 / 8, id="hard sigmoid"),
        pytest.param(F.relu, None, id="relu has none"),
        pytest.param(F.gelu, None, id="gelu has none"),
    ],
)
def test_saturated_outputs_are_counted(activation: Any, share: float | None) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return activation(x * self.weight)

    x = torch.tensor([[-9.0, -3.0, -2.3, -0.9, 0.1, 0.8, 3.3, 4.5]])
    name = activation.__name__

    assert numbers_of(evidence_of(Net(), x), name).saturated_share == share


@given(exponent=st.integers(-150, 150))
def test_the_root_mean_square_neither_vanishes_nor_overflows(exponent: int) -> None:
    tensor = torch.full((7,), 2.0**exponent, dtype=torch.float64)

    assert float(rms(tensor)) == pytest.approx(2.0**exponent, rel=1e-12)


def test_gradients_of_1e_minus_25_are_measured_exactly() -> None:
    class Faint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x)) * 1e-12

    model, x = Faint(), torch.randn(8, 4)
    evidence = evidence_of(model, x)
    outputs = reference(model, x)
    expected = plain_rms(outputs[model.first].grad)

    assert 1e-27 < expected < 1e-24
    assert numbers_of(evidence, "linear").gradient_rms == pytest.approx(expected, rel=1e-6)


def test_the_spread_of_faint_signals_does_not_vanish() -> None:
    model, x = nn.Linear(4, 4, bias=False), torch.randn(64, 4) * 1e-25
    numbers = numbers_of(evidence_of(model, x), "linear")
    expected = model(x).detach().double().var(0, correction=0).mean().sqrt()

    assert numbers.spread == pytest.approx(float(expected), rel=1e-5)


def test_the_size_of_data_is_measured_where_a_layer_reads_them() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 255 * torch.rand(64, 4)
    evidence = evidence_of(model, x)

    assert numbers_of(evidence, "linear", 0).data_rms == pytest.approx(plain_rms(x))
    assert numbers_of(evidence, "linear", 1).data_rms is None


def test_a_value_that_is_overwritten_was_measured_before() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), torch.randn(64, 4)
    expected = plain_rms(model[0](x))
    before, after = (numbers_of(evidence_of(model, x), name) for name in ("linear", "relu"))

    assert before.rms == pytest.approx(expected, rel=1e-6)
    assert before.zero_share is None  # no function of single numbers
    assert after.zero_share is not None
    assert after.zero_share > 0.1


def test_what_an_observer_returns_takes_the_place_of_the_output_for_all_that_follow() -> None:
    seen: list[float] = []

    def double(operation: Any, call: Any) -> Tensor | None:
        return call.outputs[0] * 2 if operation.name == "linear" else None

    def look(operation: Any, call: Any) -> None:
        if operation.name == "linear":
            seen.append(plain_rms(call.outputs[0]))

    model, x = nn.Linear(4, 4), torch.randn(8, 4)
    observers: list[Observer] = [double, look]
    step = record_step(Task(model=model, batch=x, step=mean_square), observers)

    assert seen == pytest.approx([2 * plain_rms(model(x))])
    assert float(step.loss) == pytest.approx(4 * float(mean_square(model, x).detach()))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(torch.tensor(3.0), id="scalar"),
        pytest.param(torch.zeros(0, 4), id="empty"),
        pytest.param(torch.eye(4).to_sparse(), id="sparse"),
        pytest.param(torch.ones(4, dtype=torch.complex64), id="complex"),
        pytest.param(torch.ones(4, dtype=torch.int8), id="integer"),
        pytest.param(torch.ones(4, dtype=torch.bfloat16), id="bfloat16"),
        pytest.param(torch.ones(4, dtype=torch.bool), id="truth"),
    ],
)
def test_values_of_every_kind_pass_the_observers(value: Tensor) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            made = value.clone() if value.dtype == torch.bool else value * 2
            made = made.to_dense() if made.is_sparse else made
            return self.linear(x) + made.abs().sum() if made.dtype != torch.bool else self.linear(x)

    assert math.isfinite(numbers_of(evidence_of(Net(), torch.randn(3, 4)), "linear").rms or math.nan)


@given(numbers=st.lists(st.floats(-1e30, 1e30), max_size=20))
def test_all_numbers_come_back_in_their_order(numbers: list[float]) -> None:
    assert to_floats([torch.tensor(number, dtype=torch.float64) for number in numbers]) == numbers


def test_an_observer_without_calls_has_no_numbers() -> None:
    assert OutputStatistics().numbers() == {}
