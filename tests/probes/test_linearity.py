"""Which layers have nothing nonlinear between them, on networks whose answer is plain to see."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.linearity import Linearity
from tests.anatomy.layers import mean_square
from tests.findings.networks import Function, Residual


def measured(model: nn.Module, x: Tensor) -> Linearity:
    return measure(gather(Task(model=model, batch=x, step=mean_square), [Linearity]), Linearity)


def vectors(*between: nn.Module, widths: tuple[int, int, int] = (16, 24, 20)) -> Linearity:
    first, second = nn.Linear(*widths[:2]), nn.Linear(*widths[1:])
    return measured(nn.Sequential(first, *between, second, nn.ReLU(), nn.Linear(widths[2], 3)), torch.randn(8, 16))


@pytest.mark.parametrize(
    "between",
    [
        pytest.param([], id="nothing"),
        pytest.param([nn.Dropout(0.1)], id="dropout"),
        pytest.param([nn.BatchNorm1d(24)], id="batch norm"),
        pytest.param([nn.Identity(), nn.Flatten()], id="reshapes"),
        pytest.param([Function(lambda x: 2 * x - 1)], id="scale and shift"),
        pytest.param(
            [Function(lambda x: x.view(-1, 4, 6).transpose(1, 2).reshape(-1, 24))], id="units in another order"
        ),
    ],
)
def test_linear_operations_leave_two_layers_one_map(between: list[nn.Module]) -> None:
    pairs = vectors(*between).pairs

    assert len(pairs) == 1
    assert (pairs[0].first, pairs[0].second) == ("0", str(1 + len(between)))
    assert pairs[0].is_redundant


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(nn.ReLU(), id="module"),
        pytest.param(Function(torch.tanh), id="function"),
        pytest.param(Function(lambda x: x.clamp(min=0)), id="method"),
        pytest.param(nn.LayerNorm(24), id="layer norm"),
        pytest.param(Function(lambda x: x * x), id="square"),
        pytest.param(Function(lambda x: x.softmax(-1)), id="softmax"),
        pytest.param(Function(lambda x: x.sort(-1).values), id="something unknown"),
        pytest.param(Residual(nn.Sequential(nn.Linear(24, 24), nn.ReLU())), id="residual branch"),
    ],
)
def test_anything_else_parts_them(between: nn.Module) -> None:
    assert not vectors(between).pairs


@pytest.mark.parametrize(
    ("widths", "is_redundant"),
    [
        pytest.param((16, 4, 20), False, id="low rank"),
        pytest.param((16, 15, 20), False, id="a little narrower than both"),
        pytest.param((16, 16, 20), True, id="as wide as the input"),
        pytest.param((16, 12, 8), True, id="wider than the output"),
    ],
)
def test_a_pair_is_redundant_if_it_narrows_nothing(widths: tuple[int, int, int], is_redundant: bool) -> None:
    assert [pair.is_redundant for pair in vectors(widths=widths).pairs] == [is_redundant]


def images(*layers: nn.Module) -> Linearity:
    body = [nn.Conv2d(3, 16, 1), nn.ReLU(), *layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return measured(nn.Sequential(*body, nn.Linear(16, 2)), torch.randn(4, 3, 9, 9))


@pytest.mark.parametrize(
    ("layers", "is_redundant"),
    [
        pytest.param([nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 16, 1)], False, id="depthwise separable"),
        pytest.param([nn.Conv2d(16, 16, (1, 3)), nn.Conv2d(16, 16, (3, 1))], False, id="factors of a kernel"),
        pytest.param([nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3)], False, id="two small kernels for a large one"),
        pytest.param([nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3)], True, id="a point-wise one that narrows nothing"),
        pytest.param([nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 3)], False, id="a bottleneck"),
    ],
)
def test_kernels_that_save_parameters_are_not_redundant(layers: list[nn.Module], is_redundant: bool) -> None:
    assert [pair.is_redundant for pair in images(*layers).pairs] == [is_redundant]


class Twice(nn.Module):
    """A layer whose result is read a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.second(hidden) * hidden.mean(1, keepdim=True)


def test_a_result_that_is_read_twice_is_meant_to_be_there() -> None:
    assert not measured(Twice(), torch.randn(8, 16)).pairs


class ThrownAway(nn.Module):
    """An activation whose result nobody reads."""

    def __init__(self, *, is_used: bool) -> None:
        super().__init__()
        self.first, self.second, self.is_used = nn.Linear(16, 16), nn.Linear(16, 4), is_used

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        bent = torch.relu(hidden)
        return self.second(bent if self.is_used else hidden)


@pytest.mark.parametrize("is_used", [True, False])
def test_an_activation_whose_result_is_thrown_away_parts_no_layers(is_used: bool) -> None:
    found = measured(ThrownAway(is_used=is_used), torch.randn(8, 16))

    assert (len(found.pairs), found.is_affine) == ((0, False) if is_used else (1, True))


def deep(*, bias: bool) -> nn.Sequential:
    """A pair inside, of which the first layer has a bias or none."""
    pair = [nn.Linear(16, 16, bias=bias), nn.Linear(16, 16)]
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), *pair, nn.ReLU(), nn.Linear(16, 3))


class Views(nn.Module):
    """A network that is applied to one view of the batch, or to two that are compared."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.body, self.count = deep(bias=True), count

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.body(x + view) for view in range(self.count)]).prod(0)


@pytest.mark.parametrize(
    ("model", "is_inside"),
    [
        pytest.param(deep(bias=True), True, id="left out"),
        pytest.param(deep(bias=False), False, id="factors without bias"),
        pytest.param(Views(1), True, id="one view"),
        pytest.param(Views(2), False, id="an embedding that is compared"),
    ],
)
def test_a_pair_inside_may_be_linear_by_intent(model: nn.Module, is_inside: bool) -> None:
    assert any(pair.is_inside for pair in measured(model, torch.randn(8, 16)).pairs) is is_inside


@pytest.mark.parametrize(
    ("build", "is_affine"),
    [
        pytest.param(lambda: nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 2)), True, id="linear"),
        pytest.param(
            lambda: nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), True, id="batch norm"
        ),
        pytest.param(lambda: nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 2), nn.Sigmoid()), True, id="output alone"),
        pytest.param(
            lambda: nn.Sequential(nn.Linear(16, 16), Residual(nn.Linear(16, 16)), nn.Linear(16, 2)), True, id="sum"
        ),
        pytest.param(lambda: nn.Sequential(nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 2)), False, id="activation"),
        pytest.param(
            lambda: nn.Sequential(Function(torch.sin), nn.Linear(16, 8), nn.Linear(8, 2)), False, id="features"
        ),
    ],
)
def test_one_affine_map_from_data_to_prediction_is_found(build: Callable[[], nn.Module], is_affine: bool) -> None:
    assert measured(build(), torch.randn(8, 16)).is_affine is is_affine


def test_one_layer_has_no_gap() -> None:
    with pytest.raises(NotMeasuredError, match="no layer reads"):
        measured(nn.Linear(16, 2), torch.randn(8, 16))


class Steps(nn.Module):
    """Two linear maps, one of which is used again on what it made, and one layer that is bent and may be lost."""

    def __init__(self, *, is_again: bool, is_lost: bool) -> None:
        super().__init__()
        self.is_again, self.is_lost = is_again, is_lost
        self.first, self.second, self.beside = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        state = self.first(x)
        for _ in range(2 if self.is_again else 1):
            state = self.second(state)
        bent = torch.relu(self.beside(x) if self.is_lost else state)  # and thrown away
        return state + 0 * bent.shape[0]


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("is_again", [True, False])
def test_a_linear_recurrence_and_a_lost_part_are_told(*, is_again: bool, is_lost: bool) -> None:
    found = measured(Steps(is_again=is_again, is_lost=is_lost), torch.randn(8, 8))

    assert found.is_affine
    assert (found.has_time, found.has_waste) == (is_again, is_lost)
