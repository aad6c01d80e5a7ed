"""Pictures: the same bytes for the same values, whole numbers where layers are counted, no global state touched."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from isometry.lab.figure import Figure, Map, Series
from isometry.lab.showing.drawing import INK, PAPER, as_svg, drawn, save_png

mpl = pytest.importorskip("matplotlib", reason="needs the extra: pip install 'isometry[plots]'")

LAYERS = range(1, 4)
FIGURE = Figure(
    key="gradient",
    title="Gradient by layer",
    x_axis="layer",
    y_axis="decades",
    series=(
        Series(name="theory", x=LAYERS, y=[0.0, -1.0, math.nan]),
        Series(name="measured", x=LAYERS, y=[0.1, -0.9, -2.0], mark="points"),
        Series(name="measured", x=LAYERS, y=[0.0, -1.1, -2.0], mark="points"),
        Series(name="range", x=LAYERS, y=[-0.1, -1.2, -2.2], upper=[0.1, -0.8, -1.8], mark="band"),
    ),
    x_marks=((2.0, "threshold"),),
)


def test_the_same_picture_has_the_same_bytes() -> None:
    assert as_svg(FIGURE) == as_svg(FIGURE)
    assert "threshold" in as_svg(FIGURE)


def test_curves_of_several_seeds_are_named_once_and_look_alike() -> None:
    axes = drawn(FIGURE).axes[0]
    lines = [line for line in axes.lines if line.get_label() == "measured"]

    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["theory", "measured", "range"]
    assert len(lines) == 2
    assert lines[0].get_color() == lines[1].get_color()


def test_points_lie_over_lines_wherever_they_are_listed() -> None:
    turned = replace(FIGURE, series=FIGURE.series[::-1])
    for figure in (FIGURE, turned):
        heights = {line.get_label(): line.get_zorder() for line in drawn(figure).axes[0].lines}

        assert heights["measured"] > heights["theory"]


def test_layers_are_counted_in_whole_numbers() -> None:
    canvas = drawn(FIGURE)
    canvas.draw_without_rendering()

    assert all(float(tick).is_integer() for tick in canvas.axes[0].get_xticks())


def test_few_places_on_a_short_logarithmic_axis_are_named_themselves() -> None:
    def ticks(*places: float) -> list[str]:
        series = (Series(name="loss", x=places, y=[1.0] * len(places)),)
        axes = drawn(Figure(key="scales", title="Scales", x_axis="scale", y_axis="loss", x_scale="log", series=series))
        return [tick.get_text() for tick in axes.axes[0].get_xticklabels()]

    assert ticks(0.25, 0.5, 1.0, 2.0) == ["0.25", "0.5", "1", "2"]
    assert "100" not in ticks(1.0, 10.0, 100.0)


def test_a_plane_of_colours_has_its_unit_and_gaps() -> None:
    plane = Map(x=[0.0, 1.0], y=[0.0, 1.0], values=[[0.5, math.inf], [1.0, 2.0]], unit="accuracy, %")
    canvas = drawn(Figure(key="plane", title="Plane", x_axis="a", y_axis="b", map=plane, x_scale="linear"))

    assert [axes.get_ylabel() for axes in canvas.axes] == ["b", "accuracy, %"]
    assert canvas.axes[0].collections[0].get_array().mask.sum() == 1


def test_curves_over_a_plane_end_at_its_edge_and_take_none_of_the_pages_colours() -> None:
    plane = Map(x=[0.0, 1.0], y=[0.0, 1.0], values=[[0.5, 1.5], [1.0, 2.0]], unit="accuracy, %")
    bound = Series(name="bound", x=[0.0, 1.0], y=[0.5, 500.0])
    axes = drawn(Figure(key="plane", title="Plane", x_axis="a", y_axis="b", map=plane, series=(bound,))).axes[0]

    assert axes.get_ylim() == (-0.5, 1.5)
    assert axes.lines[0].get_color() not in (INK, PAPER)


def test_a_picture_is_written_whole_and_touches_no_state_of_matplotlib(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_png(FIGURE, tmp_path / "gradient.png")

    assert dict(mpl.rcParams) == before
    assert [path.name for path in tmp_path.iterdir()] == ["gradient.png"]
