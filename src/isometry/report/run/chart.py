"""The loss over the steps as a small chart of letters, with the signs of what went wrong below it."""

import math
from collections.abc import Sequence

from rich.text import Text

from isometry.report.axes import LARGEST, LOGARITHMIC_FROM
from isometry.report.glyphs import Glyphs
from isometry.report.language import say
from isometry.report.numerals import numeral
from isometry.report.run.course import Stretch, stretches

LABEL_WIDTH = 9  # cells of the numbers at the left, `-1.23e-10`
GAP = 1  # cell between a number and the field
MAX_COLUMNS = 100  # cells; a wider chart says no more
LEVELS, ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*%#"  # from the lowest part of a cell to all of it
NOT_FINITE = {False: "×", True: "x"}

Mark = tuple[int, str, str]  # step, sign, style


def loss_chart(
    losses: Sequence[tuple[int, float]], glyphs: Glyphs, *, width: int, height: int, marks: Sequence[Mark]
) -> list[Text]:
    """The course of the loss, a column a stretch of steps.

    Args:
        losses: (step, loss), at least one.
        glyphs: The signs that the console can show.
        width: Cells a line may take.
        height: Lines of the field; one is enough where all losses are the same.
        marks: Signs below the steps at which something happened; of two in one column the later one stands on top.

    Returns:
        The lines: the field, the signs if there are any, and the steps at both ends.
    """
    columns = stretches(losses, min(MAX_COLUMNS, width - LABEL_WIDTH - GAP))
    heights, (low, high) = _heights(columns)
    height = height if low < high else 1
    rows = [_row(columns, heights, glyphs, floor=height - 1 - line, of=height) for line in range(height)]
    labels = [numeral(high), *[""] * (height - 2), numeral(low)] if height > 1 else [numeral(high)]
    field = [
        Text.assemble((label.rjust(LABEL_WIDTH), "dim"), " " * GAP, (row, "cyan"))
        for label, row in zip(labels, rows, strict=True)
    ]
    signs = _signs(columns, marks)
    return [*field, *([signs] if signs is not None else []), _ends(columns)]


def is_logarithmic(means: Sequence[float]) -> bool:
    """Return whether the heights of a chart go by the logarithm: where the losses span far more than one decade."""
    return bool(means) and min(means) > 0 and max(means) / min(means) > LOGARITHMIC_FROM


def _heights(columns: Sequence[Stretch]) -> tuple[list[float | None], tuple[float, float]]:
    """Return each column's height in [0, 1], None without a finite loss, and the range of the losses."""
    means = [column.mean for column in columns if column.mean is not None and abs(column.mean) <= LARGEST]
    if not means:
        return [None] * len(columns), (math.nan, math.nan)
    low, high = min(means), max(means)
    scale = math.log10 if is_logarithmic(means) else float
    span = scale(high) - scale(low)

    def height(column: Stretch) -> float | None:
        if column.mean is None or abs(column.mean) > LARGEST:
            return None
        return (scale(column.mean) - scale(low)) / span if span > 0 else 0.0

    return [height(column) for column in columns], (low, high)


def _row(columns: Sequence[Stretch], heights: Sequence[float | None], glyphs: Glyphs, *, floor: int, of: int) -> str:
    """Return one line of the field, the lowest one with `floor` 0."""
    levels = ASCII_LEVELS if glyphs.is_ascii else LEVELS

    def cell(column: Stretch, height: float | None) -> str:
        if height is None or (floor == 0 and not column.is_whole):
            return NOT_FINITE[glyphs.is_ascii] if floor == 0 else " "
        filled = 1 + round(height * (of * len(levels) - 1)) - floor * len(levels)
        return " " if filled <= 0 else levels[min(filled, len(levels)) - 1]

    return "".join(map(cell, columns, heights))


def _signs(columns: Sequence[Stretch], marks: Sequence[Mark]) -> Text | None:
    if not marks:
        return None
    line = Text(" " * (LABEL_WIDTH + GAP))
    placed = {_column(columns, step): (sign, style) for step, sign, style in marks}
    for number in range(len(columns)):
        line.append(*placed.get(number, (" ", "")))
    line.rstrip()
    return line


def _column(columns: Sequence[Stretch], step: int) -> int:
    """Return the first column that reaches a step."""
    return next((number for number, column in enumerate(columns) if column.last >= step), len(columns) - 1)


def _ends(columns: Sequence[Stretch]) -> Text:
    first = say("step {step}", step=columns[0].first)
    last = str(columns[-1].last) if columns[-1].last > columns[0].first else ""
    gap = max(1, len(columns) - len(first) - len(last))
    return Text(" " * (LABEL_WIDTH + GAP) + first + " " * gap + last, style="dim")
