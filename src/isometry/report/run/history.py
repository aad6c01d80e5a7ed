"""What was measured of each layer over the steps, as a table of numbers: a row a layer, a column a recorded step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isometry.probes.running.readings import Reading
from isometry.report.run.course import LayerState, layer_states, spread_out

Quantity = Callable[[LayerState], float | None]


@dataclass(frozen=True, slots=True)
class Grid:
    """One quantity of the layers over the steps.

    Attributes:
        steps: Of the columns.
        names: Of the rows, in the order of execution.
        rows: As many numbers a row as there are steps; None where nothing was measured.
    """

    steps: tuple[int, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        return all(value is None for row in self.rows for value in row)


def grids(readings: Sequence[Reading], quantities: Sequence[Quantity], *, most: int) -> list[Grid]:
    """The quantities of all layers over the steps.

    Args:
        readings: Recorded steps, oldest first.
        quantities: What is taken of each layer.
        most: Columns, at most; the first and the last recorded step are among them.

    Returns:
        A grid a quantity, without the layers that never had it.
    """
    shown = [reading for reading in spread_out(readings, most) if reading.layers]
    states = [_by_name(layer_states(reading, ())) for reading in shown]
    names = list(dict.fromkeys(name for column in states for name in column))
    steps = tuple(reading.step for reading in shown)
    return [_grid(steps, names, [_numbers(column, quantity) for column in states]) for quantity in quantities]


def pooled(grid: Grid, most: int) -> tuple[Grid, int]:
    """Neighbouring layers as one row, where there are many.

    Args:
        grid: The layers.
        most: Rows, at most.

    Returns:
        The grid, each row the geometric mean of the layers that it stands for; and how many these are.
    """
    size = -(-len(grid.rows) // most)
    if size <= 1:
        return grid, 1
    groups = [range(first, min(first + size, len(grid.rows))) for first in range(0, len(grid.rows), size)]
    names = tuple(f"{grid.names[group[0]]} …" for group in groups)
    rows = tuple(
        tuple(_geometric_mean([grid.rows[row][column] for row in group]) for column in range(len(grid.steps)))
        for group in groups
    )
    return Grid(grid.steps, names, rows), size


def _grid(steps: tuple[int, ...], names: Sequence[str], columns: Sequence[dict[str, float | None]]) -> Grid:
    rows = {name: tuple(column.get(name) for column in columns) for name in names}
    kept = {name: row for name, row in rows.items() if any(value is not None for value in row)}
    return Grid(steps, tuple(kept), tuple(kept.values()))


def _by_name(states: Sequence[LayerState]) -> dict[str, LayerState]:
    """Return the layers by name; of one that ran more than once, the first time counts."""
    named: dict[str, LayerState] = {}
    for state in states:
        named.setdefault(state.layer.name, state)
    return named


def _numbers(states: dict[str, LayerState], quantity: Quantity) -> dict[str, float | None]:
    return {name: quantity(state) for name, state in states.items()}


def _geometric_mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what was measured; no number if one is none, zero if one is zero."""
    known = [value for value in values if value is not None]
    if not known or not all(map(math.isfinite, known)):
        return math.nan if known else None
    return math.exp(math.fsum(math.log(value) for value in known) / len(known)) if min(known) > 0 else 0.0
