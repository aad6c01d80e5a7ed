import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.report.run.history import Grid, grids, pooled
from tests.report.run.cases import run


def activation(state: object) -> float | None:
    return state.layer.activation_rms  # pyright: ignore[reportAttributeAccessIssue]


def test_a_grid_has_a_row_a_layer_and_a_column_a_recorded_step() -> None:
    facts = run(steps=100, depth=3)
    (grid,) = grids(facts.readings, [activation], most=96)

    assert grid.names == ("layers.0", "layers.2", "layers.4")
    assert grid.steps == tuple(reading.step for reading in facts.readings)
    assert grid.rows[1][2] == facts.readings[2].layers[1].activation_rms


def test_columns_are_thinned_and_both_ends_stay() -> None:
    facts = run(steps=500, depth=2)
    (grid,) = grids(facts.readings, [activation], most=7)

    assert len(grid.steps) == 7
    assert (grid.steps[0], grid.steps[-1]) == (1, 500)


def test_a_layer_that_comes_late_or_runs_twice_has_one_row_with_gaps() -> None:
    early, late = run(steps=20, depth=2).readings[:2]
    again = replace(late.layers[0], activation_rms=99.0)
    (grid,) = grids(
        [replace(early, layers=early.layers[:1]), replace(late, layers=(*late.layers, again))], [activation], most=9
    )

    assert grid.names == ("layers.0", "layers.2")
    assert grid.rows[0][1] == late.layers[0].activation_rms
    assert grid.rows[1][0] is None


def test_layers_that_never_have_a_number_have_no_row() -> None:
    (grid,) = grids(run(steps=20, depth=2).readings, [lambda _: None], most=9)

    assert grid.is_empty
    assert grid.names == ()


@given(count=st.integers(1, 200), most=st.integers(1, 60))
def test_pooling_keeps_the_mean_of_the_logarithms(count: int, most: int) -> None:
    values = [10.0 ** (number % 7 - 3) for number in range(count)]
    grid = Grid(steps=(1,), names=tuple(map(str, range(count))), rows=tuple((value,) for value in values))
    small, size = pooled(grid, most)
    groups = [values[first : first + size] for first in range(0, count, size)]

    assert len(small.rows) == len(groups) <= most
    assert [row[0] for row in small.rows] == pytest.approx([math.prod(group) ** (1 / len(group)) for group in groups])


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        pytest.param((None, None), None, id="nothing measured"),
        pytest.param((None, 4.0), 4.0, id="what was measured"),
        pytest.param((0.0, 4.0), 0.0, id="zero"),
        pytest.param((1e-200, 1e-200), 1e-200, id="products that underflow"),
    ],
)
def test_pooling_of_few_numbers(values: tuple[float | None, ...], mean: float | None) -> None:
    grid = Grid(steps=(1,), names=("a", "b"), rows=tuple((value,) for value in values))

    assert pooled(grid, 1)[0].rows[0][0] == (None if mean is None else pytest.approx(mean))


def test_what_is_not_finite_stays_so_when_it_is_pooled() -> None:
    grid = Grid(steps=(1,), names=("a", "b"), rows=((1.0,), (math.inf,)))

    assert math.isnan(pooled(grid, 1)[0].rows[0][0] or 0.0)
