"""Pictures: the same bytes for the same values, whole numbers where layers are counted, no global state touched."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from isometry._errors import UnknownNameError
from isometry._phrases import Phrase
from isometry.lab.figure import Figure, Map, Series
from isometry.lab.showing.drawing import INK, PAPER, as_svg, drawn, save_png
from isometry.report.language import speaking

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


def test_every_word_is_in_the_language_that_is_spoken() -> None:
    plane = Map(x=[1.0, 3.0], y=[0.0, 1.0], values=[[0.5, 1.5], [1.0, 2.0]], unit="training accuracy, %")
    said = Series(name=Phrase("theory, {name}", name=Phrase("least norm")), x=LAYERS, y=[0.0, 0.5, 1.0])
    figure = replace(FIGURE, map=plane, series=(*FIGURE.series[:2], said), x_marks=((2.0, "here"),))
    english = as_svg(figure)
    with speaking("vi"):
        vietnamese = as_svg(figure)

    words = {
        "Gradient by layer": "Gradient theo tầng",
        ">layer<": ">tầng<",
        "decades": "bậc mười",
        ">theory<": ">lý thuyết<",
        "measured": "đo được",
        "theory, least norm": "lý thuyết, chuẩn nhỏ nhất",
        ">here<": ">ở đây<",
        "training accuracy, %": "độ chính xác trên tập huấn luyện, %",
    }
    for word, translation in words.items():
        assert word in english
        assert word not in vietnamese
        assert translation in vietnamese


def test_a_file_is_in_the_language_that_is_asked_for(tmp_path: Path) -> None:
    paths = {lang: tmp_path / f"{lang}.png" for lang in ("en", "vi")}
    for lang, path in paths.items():
        save_png(FIGURE, path, lang=lang)

    assert paths["en"].read_bytes() != paths["vi"].read_bytes()
    with pytest.raises(UnknownNameError, match="do not speak 'fr'"):
        save_png(FIGURE, tmp_path / "fr.png", lang="fr")
