"""Signal and gradient along the trunk, and the tables of weights and activations."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.activations import ActivationTable
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.start import LossStart
from isometry.probes.traces import GradientTrace, SignalTrace
from isometry.probes.weights import WeightTable
from tests.anatomy.layers import mean_square
from tests.findings.networks import Function


def stack(depth: int, *, factor: float, width: int = 32) -> nn.Sequential:
    """Linear layers that multiply every signal and gradient by one factor exactly."""
    layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain=factor)
    return nn.Sequential(*layers)


def measured(kind: type[Any], model: nn.Module, x: Tensor) -> Any:
    return measure(gather(Task(model=model, batch=x, step=mean_square), [kind]), kind)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 3.0])
def test_the_factor_of_a_layer_is_found_on_both_ways(factor: float) -> None:
    torch.manual_seed(0)
    model, x = stack(6, factor=factor), torch.randn(64, 32)
    gradient, signal = measured(GradientTrace, model, x), measured(SignalTrace, model, x)

    assert gradient.layers == signal.layers == ("0", "1", "2", "3", "4")
    assert gradient.factor_per_layer == pytest.approx(factor, rel=1e-5)
    assert signal.factor_per_layer == pytest.approx(factor, rel=1e-5)
    assert gradient.total_decay == pytest.approx(-4 * math.log10(factor), abs=1e-5)
    assert signal.total_growth == pytest.approx(4 * math.log10(factor), abs=1e-5)


@given(rms=st.lists(st.floats(1e-40, 1e10), min_size=2, max_size=8), scale=st.floats(1e-3, 1e3))
def test_a_trace_does_not_depend_on_the_scale_of_the_loss(rms: list[float], scale: float) -> None:
    layers = tuple(str(index) for index in range(len(rms)))
    trace = GradientTrace(layers, tuple(rms))
    scaled = GradientTrace(layers, tuple(each * scale for each in rms))

    assert scaled.total_decay == pytest.approx(trace.total_decay, abs=1e-9)
    assert scaled.factor_per_layer == pytest.approx(trace.factor_per_layer, rel=1e-9)


def test_the_last_layer_whose_gradient_is_lost_is_named() -> None:
    trace = GradientTrace(("a", "b", "c", "d"), (1e-9, 1e-6, 1e-3, 1.0))

    assert [trace.lost_from(decades) for decades in (2, 4, 8, 10)] == ["c", "b", "a", None]
    assert trace.weakest_layers == ("a", "b", "c", "d")
    assert trace.strongest_layers == ("d", "c", "b", "a")


def test_embeddings_are_no_hidden_layers() -> None:
    model = nn.Sequential(nn.Embedding(9, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    nn.init.normal_(model[0].weight, std=1e-6)
    trace = measured(GradientTrace, model, torch.randint(0, 9, (4, 6)))

    assert trace.layers == ("2", "3")


def test_one_hidden_layer_is_no_trace() -> None:
    with pytest.raises(NotMeasuredError, match="no two hidden layers"):
        measured(GradientTrace, stack(2, factor=1.0), torch.randn(8, 32))


def test_samples_that_become_one_are_told_from_a_signal_that_fades() -> None:
    torch.manual_seed(0)
    collapsing = nn.Sequential(
        *[each for _ in range(6) for each in (nn.Linear(32, 32), nn.Sigmoid())], nn.Linear(32, 1)
    )
    collapsed = measured(SignalTrace, collapsing, torch.randn(64, 32))
    fading = measured(SignalTrace, stack(6, factor=0.1), torch.randn(64, 32))

    assert collapsed.total_collapse > 2
    assert abs(fading.total_collapse) < 0.1
    assert measured(SignalTrace, stack(4, factor=1.0), torch.randn(1, 32)).total_collapse is None


class Attentions(nn.Module):
    """Attentions one behind the other, with a residual path around each or none."""

    def __init__(self, *, is_residual: bool) -> None:
        super().__init__()
        self.parts, self.is_residual = nn.ModuleList(nn.Linear(32, 96) for _ in range(6)), is_residual
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            query, key, value = part(x).chunk(3, -1)
            mixed = (query @ key.mT / 32**0.5).softmax(-1) @ value
            x = x + mixed if self.is_residual else mixed
        return self.head(x)


@pytest.mark.parametrize(("is_residual", "is_lost"), [(False, True), (True, False)])
def test_places_become_one_through_attentions_without_a_residual_path(is_residual: bool, is_lost: bool) -> None:
    torch.manual_seed(0)
    found = measured(SignalTrace, Attentions(is_residual=is_residual), torch.randn(16, 8, 32))

    assert (found.place_collapse > 4) is is_lost


def test_the_meta_device_has_no_traces() -> None:
    with pytest.raises(NotMeasuredError, match="shapes but no numbers"):
        measured(SignalTrace, stack(4, factor=1.0).to("meta"), torch.empty(8, 32, device="meta"))


# Weights


def test_weights_are_listed_once_with_their_size_and_gradient() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), torch.randn(16, 4)
    table = measured(WeightTable, model, x)
    expected = torch.autograd.grad(mean_square(model, x), [model[0].weight, model[2].weight])

    assert [each.name for each in table.weights] == ["0.weight", "2.weight"]
    for row, gradient, layer in zip(table.weights, expected, (model[0], model[2]), strict=True):
        assert row.rms == pytest.approx(float(layer.weight.detach().double().square().mean().sqrt()))
        assert row.gradient_rms == pytest.approx(float(gradient.double().square().mean().sqrt()))
        assert (row.constant, row.keeps_units_equal) == (None, False)


def constants(*values: float) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    for layer, value in zip((model[0], model[2]), values, strict=True):
        if value:
            nn.init.constant_(layer.weight, value)
    nn.init.zeros_(model[0].bias)
    return model


@pytest.mark.parametrize(
    ("values", "constant", "locked"),
    [
        pytest.param((0.05, 0.05), (0.05, 0.05), True, id="all constant"),
        pytest.param((0.05, 0.0), (0.05, None), False, id="random weights behind them"),
    ],
)
def test_constant_weights_keep_their_units_equal_unless_those_behind_differ(
    values: tuple[float, float], constant: tuple[float | None, ...], locked: bool
) -> None:
    torch.manual_seed(0)
    first, second = measured(WeightTable, constants(*values), torch.randn(16, 4)).weights

    assert (first.constant, second.constant) == (pytest.approx(constant[0]), constant[1] and pytest.approx(constant[1]))
    assert first.keeps_units_equal == locked


# Activations


def test_every_activation_behind_a_hidden_layer_has_a_row() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 2), nn.Sigmoid())
    with torch.no_grad():
        model[0].bias[:2] = -100
        model[2].bias.fill_(10.0)
    relu, sigmoid = measured(ActivationTable, model, torch.randn(32, 4)).activations

    assert (relu.layer, relu.name, relu.silent_share, relu.saturated_share) == ("0", "relu", 0.25, None)
    assert relu.zero_share > 0.25
    assert (sigmoid.layer, sigmoid.name, sigmoid.saturated_share) == ("2", "sigmoid", 1.0)
    assert not relu.is_gate


@pytest.mark.parametrize(
    ("shift", "share"), [pytest.param(0.0, 0.0, id="at zero"), pytest.param(8.0, 1.0, id="far off")]
)
def test_a_rectifier_may_have_its_threshold_elsewhere(shift: float, share: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Function(lambda x: (x - shift).clamp(min=0)), nn.Linear(8, 2))
    (row,) = measured(ActivationTable, model, torch.randn(64, 4)).activations

    assert row.silent_share == share


def test_an_activation_that_multiplies_another_signal_is_a_gate() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(torch.sigmoid(self.a(x)) * self.b(x))

    (row,) = measured(ActivationTable, Gated(), torch.randn(32, 4)).activations

    assert row.is_gate


# The loss at the start


def test_the_start_is_the_call_furthest_above_its_constant_predictor() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + F.cross_entropy(100 * out, y)

    task = make_task(model, torch.randn(32, 4), torch.randint(0, 3, (32,)), loss=loss)
    start = measure(gather(task, [LossStart]), LossStart)

    assert start.reading.value > 5 * start.reading.constant
    assert (start.heads, start.has_hidden_layers) == (("2",), True)


def test_a_loss_of_another_kind_has_no_start() -> None:
    with pytest.raises(NotMeasuredError, match="constant predictor"):
        measured(LossStart, stack(2, factor=1.0), torch.randn(8, 32))
