import re
from xml.etree import ElementTree as ET

import pytest

from isometry.report.axes import counting_axis, logarithmic_axis
from isometry.report.plot import HEIGHT, LETTER_WIDTH, MAX_MARKS, WIDTH, Curve, Picture, Point, svg


def picture(*curves: Curve, name: str = "Gradient") -> Picture:
    values = [point.value for curve in curves for point in curve.points]
    return Picture(
        key="gradient",
        title=name,
        description="a description",
        x_title="layer",
        x_axis=counting_axis(1, max(len(curve.points) for curve in curves)),
        y_axis=logarithmic_axis(values),
        curves=curves,
    )


def curve(*values: float | None, look: str = "first", is_faint: bool = False) -> Curve:
    points = (Point(number, value, f"layer {number}") for number, value in enumerate(values, start=1))
    return Curve(f"{look} line", "second" if look == "second" else "first", tuple(points), is_faint)


def drawn(*curves: Curve) -> ET.Element:
    return ET.fromstring(svg(picture(*curves)))  # noqa: S314 our own text


def paths(root: ET.Element) -> list[str]:
    return [path.get("d", "") for path in root.iterfind("path")]


@pytest.mark.parametrize(
    ("values", "strokes"),
    [
        pytest.param((1.0, 0.1, 0.01), 1, id="whole"),
        pytest.param((1.0, None, 0.01), 2, id="a gap where nothing was measured"),
        pytest.param((1.0, 0.0, 0.01), 2, id="a gap at a zero"),
        pytest.param((None, 1.0, float("inf"), 2.0, float("nan")), 2, id="a gap where the number is not finite"),
    ],
)
def test_the_pen_is_lifted_at_gaps(values: tuple[float | None, ...], strokes: int) -> None:
    (path,) = paths(drawn(curve(*values)))

    assert path.count("M") == strokes


@pytest.mark.parametrize("values", [(None,), (0.0, 0.0), (float("nan"), None)])
def test_a_curve_without_a_positive_value_has_no_line(values: tuple[float | None, ...]) -> None:
    assert paths(drawn(curve(*values))) == []


def test_zeros_stand_below_the_lowest_decade_on_a_line_labelled_0() -> None:
    root = drawn(curve(1.0, 0.0, 0.01, look="second"))
    heights = [float(mark.get("cy", "")) for mark in root.iter("circle")]

    assert heights[1] == max(heights)
    assert heights[1] > max(float(line.get("y1", "")) for line in list(root.iter("line"))[:-1])
    assert "0" in [text.text for text in root.iter("text")]
    assert "0" not in [text.text for text in drawn(curve(1.0, 0.01)).iter("text")]


def test_larger_is_higher_and_later_is_further_right() -> None:
    root = drawn(curve(1e-9, 1e-3, 1.0, look="second"))
    marks = [(float(mark.get("cx", "")), -float(mark.get("cy", ""))) for mark in root.iter("circle")]

    assert marks == sorted(marks)
    assert all(0 <= x <= WIDTH and 0 <= -y <= HEIGHT for x, y in marks)


def test_two_curves_differ_by_mark_and_are_named_in_a_legend() -> None:
    root = drawn(curve(1.0, 0.1), curve(1.0, 0.9, look="second"))
    words = [text.text for text in root.iter("text")]

    assert {"first line", "second line"} <= set(words)
    assert len(list(root.iter("rect"))) == len(list(root.iter("circle"))) == 3


def test_end_labels_do_not_cover_each_other() -> None:
    root = drawn(curve(1.0, 0.5), curve(1.0, 0.49, look="second"))
    heights = [float(text.get("y", "")) for text in root.iterfind("text")]

    assert len(heights) == 2
    assert abs(heights[0] - heights[1]) >= 14


def test_a_label_has_room_to_the_right() -> None:
    (label,) = drawn(curve(1.0, 2.0)).iterfind("text")

    assert float(label.get("x", "")) + len("-1.23e-10") * LETTER_WIDTH <= WIDTH


def test_a_label_stands_beside_the_last_mark_of_its_curve() -> None:
    root = drawn(curve(1.0, None, None, look="second"))
    (label,), (mark,) = list(root.iterfind("text")), list(root.iter("circle"))

    assert 0 < float(label.get("x", "")) - float(mark.get("cx", "")) < 12


def test_long_curves_have_few_marks_but_every_lone_point_has_one() -> None:
    lone = [None, 1.0, None]
    marks = list(drawn(curve(*([1.0] * 1000), *lone, look="second")).iter("circle"))

    assert len(marks) <= MAX_MARKS + 3
    assert any("layer 1002:" in (title.text or "") for mark in marks for title in mark)


def test_a_faint_curve_has_neither_marks_nor_label() -> None:
    root = drawn(curve(1.0, 0.1, is_faint=True), curve(1.0, 0.1, look="second"))

    assert len(list(root.iterfind("text"))) == 1
    assert list(root.iter("rect")) == []


def test_the_picture_is_said_in_words_and_names_are_escaped() -> None:
    markup = svg(picture(curve(1.0), name="<script>&"))
    root = ET.fromstring(markup)  # noqa: S314 our own text

    assert "<script>" not in markup
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "gradient-title gradient-text"
    assert re.findall(r"<(title|desc) id=", markup) == ["title", "desc"]
