import pytest
import torch
from torch import Tensor, nn

from isometry.probes.running.readings import LayerReading
from tests.probes.running.steps import layers_of, measured


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def ends(layers: dict[str, LayerReading]) -> tuple[float | None, float | None]:
    *_, last = layers.values()
    return next(iter(layers.values())).difference, last.difference


@pytest.mark.parametrize("width", [3, 2_000])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_how_far_rows_differ_is_known_of_the_first_layer_and_of_the_outputs(size: float, width: int) -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, width)), torch.randn(12, 4)
    with torch.no_grad():
        model[2].weight *= size
        model[2].bias *= size
        rows = model(x).double()[:, :1024]
        expected = ((rows - rows[0]).norm() / rows.norm()).item()

    layers = layers_of(model, x)

    assert layers["2"].difference == pytest.approx(expected, rel=1e-5)
    assert layers["0"].difference is not None
    assert layers["1"].difference is None
    assert [each.is_output for each in layers.values()] == [False, False, True]


def test_rows_that_are_alike_differ_by_exactly_nothing() -> None:
    dead = mlp()
    with torch.no_grad():
        dead[2].bias.fill_(-100.0)
    first, last = ends(layers_of(dead, torch.randn(12, 4)))

    assert first is not None
    assert first > 0.1
    assert last == 0.0
    assert ends(layers_of(mlp(), torch.zeros(12, 4))) == (0.0, 0.0)


def test_a_layer_whose_output_is_zero_does_not_differ_between_rows() -> None:
    model = mlp()
    nn.init.zeros_(model[4].weight)
    nn.init.zeros_(model[4].bias)

    assert ends(layers_of(model, torch.randn(12, 4)))[1] == 0.0


def test_few_rows_in_a_step_make_no_unit_dead_before_enough_were_seen() -> None:
    def share(steps: int) -> float | None:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        nn.init.constant_(model[0].bias, -100.0)
        return measured(model, lambda: model(torch.randn(8, 4)).mean(), steps=steps).layers[0].dead_share

    assert share(31) is None
    assert share(32) == 1.0


def test_a_single_row_differs_from_nothing() -> None:
    assert ends(layers_of(mlp(), torch.randn(1, 4))) == (None, None)


def test_each_output_is_one_also_through_an_activation_and_under_a_name() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.plain, self.sigmoid = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.body(x).relu()
            return torch.cat([self.plain(hidden), self.sigmoid(hidden).sigmoid()], dim=-1)

    layers = layers_of(Heads(), torch.randn(12, 4))

    assert [each.name for each in layers.values() if each.is_output] == ["plain", "sigmoid"]
    assert all(each.difference is not None for each in layers.values())
