import math
from itertools import pairwise

import pytest

from isometry.report.glyphs import ASCII, UNICODE
from isometry.report.run.chart import ASCII_LEVELS, LEVELS, is_logarithmic, loss_chart

FIELD = 10  # cells before the field


def drawn(losses: list[float], *, width: int = 60, height: int = 4, ascii_only: bool = False) -> list[str]:
    points = list(enumerate(losses, start=1))
    glyphs = ASCII if ascii_only else UNICODE
    return [line.plain for line in loss_chart(points, glyphs, width=width, height=height, marks=())]


def heights(lines: list[str], levels: str = LEVELS) -> list[int]:
    """Return how many parts of a cell each column fills."""
    columns = zip(*(line[FIELD:].ljust(100) for line in lines), strict=True)
    return [sum(1 + levels.index(cell) for cell in column if cell in levels) for column in columns]


@pytest.mark.parametrize(("ascii_only", "levels"), [(False, LEVELS), (True, ASCII_LEVELS)])
def test_a_falling_loss_falls_from_the_upper_edge_to_the_lower_one(ascii_only: bool, levels: str) -> None:
    lines = drawn([10.0 - step for step in range(10)], ascii_only=ascii_only)
    found = heights(lines[:4], levels)[:10]

    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (32, 1)
    assert (lines[0][:9].strip(), lines[3][:9].strip()) == ("10", "1")


def test_a_loss_over_decades_is_drawn_by_its_logarithm() -> None:
    found = heights(drawn([10.0 ** -(step / 2) for step in range(9)])[:4])[:9]
    steps = {first - second for first, second in pairwise(found)}

    assert is_logarithmic([1.0, 1e-4])
    assert not is_logarithmic([1.0, 0.1])
    assert not is_logarithmic([1.0, -1e-4])
    assert steps <= {3, 4}


def test_what_is_not_finite_is_crossed_and_leaves_the_scale_alone() -> None:
    lines = drawn([4.0, math.nan, 3.0, math.inf, 2.0, 1.0])

    assert [place for place, cell in enumerate(lines[3][FIELD:]) if cell == "×"] == [1, 3]
    assert lines[0].split()[0] == "4"


def test_a_column_of_which_one_loss_is_not_finite_is_crossed_below_what_is_left_of_it() -> None:
    losses = [4.0, 4.0, 4.0, math.nan, 1.0, 1.0]
    points = list(enumerate(losses, start=1))
    lines = [line.plain for line in loss_chart(points, UNICODE, width=FIELD + 3, height=3, marks=())]

    assert [line[FIELD:] for line in lines[:3]] == ["██ ", "██ ", "█×▁"]


@pytest.mark.parametrize("losses", [[2.5], [2.5, 2.5, 2.5], [math.nan, math.inf]])
def test_a_course_without_a_range_takes_one_line(losses: list[float]) -> None:
    assert len(drawn(losses)) == 2


def test_more_steps_than_columns_become_means() -> None:
    lines = drawn([1.0, 3.0] * 500, width=60)

    assert lines[0].split()[0] == "2"
    assert lines[-1].split() == ["step", "1", "1000"]


def test_signs_stand_below_their_steps_and_the_later_one_on_top() -> None:
    points = [(step, float(step)) for step in range(1, 21)]
    marks = [(1, "a", ""), (10, "b", ""), (10, "c", ""), (99, "d", "")]
    lines = [line.plain for line in loss_chart(points, UNICODE, width=60, height=3, marks=marks)]

    assert lines[3][FIELD:] == "a        c         d"
