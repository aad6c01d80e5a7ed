import math
import re

import pytest

from isometry.report.run.heat_map import HeatMap, heat_map, pooling_sentence
from isometry.report.run.history import Grid
from tests.report.html_reading import read


def drawn(*rows: tuple[float | None, ...], names: tuple[str, ...] | None = None) -> str:
    grid = Grid(tuple(range(1, len(rows[0]) + 1)), names or tuple(f"layer.{row}" for row in range(len(rows))), rows)
    return heat_map(HeatMap("key", "Title", grid))


def cells(text: str) -> dict[str, float]:
    """Return the area that each shade covers in the field, in user units."""
    field = text[text.index("</defs>") :]
    field = field[field.rindex('class="heat"') :]
    found: dict[str, float] = {}
    for path in re.findall(r"<path [^>]*>", field):
        look = re.search(r'(?:class|fill-opacity|style)="([^"]*)"', path)
        boxes = re.findall(r"h([\d.]+)v([\d.]+)h", path)
        assert look is not None
        found[look[1]] = found.get(look[1], 0.0) + sum(float(width) * float(height) for width, height in boxes)
    return found


def test_equal_neighbours_are_one_shade_and_larger_is_stronger() -> None:
    found = cells(drawn((1.0, 1.0, 1e-3, None)))
    weak, strong = sorted(found, key=float)

    assert float(weak) < float(strong)
    assert found[strong] == pytest.approx(2 * found[weak], rel=0.01)


def test_harmless_differences_have_nearly_one_shade() -> None:
    shades = [float(shade) for shade in cells(drawn((1.0, 1.3, 0.9, 1.1)))]

    assert max(shades) - min(shades) <= 0.15


def test_what_is_no_number_is_hatched_besides_its_colour_and_named() -> None:
    text = drawn((1.0, math.nan, math.inf, 0.0))
    found = cells(text)

    assert found["strange"] == found["fill: url(#key-hatch)"] == pytest.approx(2 * found["zero"], rel=0.01)
    assert "not finite" in text
    assert ">zero<" in text


@pytest.mark.parametrize("count", [1, 5, 44, 45, 1000])
def test_the_map_stays_low_however_many_layers_there_are(count: int) -> None:
    text = drawn(*((1.0, 2.0),) * count)
    box = re.search(r'viewBox="0 0 480 (\d+)"', text)

    assert box is not None
    assert int(box[1]) <= 410
    assert len(read(text).named("text")) <= 40


def test_it_says_how_many_layers_stand_in_a_row() -> None:
    grid = Grid((1,), tuple(map(str, range(100))), ((1.0,),) * 100)

    assert pooling_sentence(grid) == "Each row is the geometric mean of 3 layers."
    assert pooling_sentence(Grid((1,), ("a",), ((1.0,),))) == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("encoder.blocks.17.attention.output.projection", "…output.projection"),
        ("encoder.blocks.17.attention.query", "…attention.query"),
        ("a_name_without_a_dot_at_all", "…hout_a_dot_at_all"),
        ("short.name", "short.name"),
    ],
)
def test_a_long_name_keeps_its_last_parts_and_is_said_whole_when_pointed_at(name: str, shown: str) -> None:
    text = drawn((1.0,), names=(name,))

    assert f">{shown}<" in text
    assert f"<title>{name}</title>" in text


def test_nothing_finite_is_told_in_words() -> None:
    assert "No finite number was measured." in drawn((math.nan, None))
    assert "1 rows of 1 layers at 2 steps, between 0.5 and 2." in drawn((0.5, 2.0))
