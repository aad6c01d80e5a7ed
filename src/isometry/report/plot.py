"""Line pictures as inline SVG: thin grid, gaps where nothing was measured, zeros on a line of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from isometry.report.axes import Axis
from isometry.report.finding import SEVERITIES, Severity
from isometry.report.glyphs import UNICODE
from isometry.report.markup import EMPTY, Markup, element, escaped, joined
from isometry.report.numerals import numeral

Look = Literal["first", "second"]

WIDTH, HEIGHT = 480, 300  # user units; a phone shows them a little smaller, a desktop a little larger
LEFT, RIGHT, TOP, BOTTOM = 50, 78, 44, 46  # user units around the field; `-1.23e-10` fits to the right of it
ZERO_BAND = 26  # user units below the lowest decade, where zeros are marked
LEGEND_HEIGHT = 26  # user units at the upper edge, cut off where there is no legend
MARK = 3.0  # user units: radius of a circle, half the side of a square
MAX_MARKS = 40  # of a curve; more would hide its line
LABEL_HEIGHT = 14  # user units between two labels at the right end
NAME_WIDTH = 20  # letters of a name in the legend; two names must fit
LETTER_WIDTH = 7.2  # user units, about
FLAG_WIDTH = 11  # user units of a sign above the field


@dataclass(frozen=True, slots=True)
class Point:
    """One place of a curve; `value` is None where there is nothing to show, `label` is said when pointed at."""

    x: float
    value: float | None
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a picture.

    Attributes:
        name: What the legend says.
        look: Which of the two colours, dashes and marks it has.
        points: From the left to the right.
        is_faint: Whether it is a thin line without marks, legend and label: the course behind another curve.
    """

    name: str
    look: Look
    points: tuple[Point, ...]
    is_faint: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """A place on the way to the right where something happened.

    Attributes:
        x: Where.
        severity: `error`, `warning` or `note`, whose sign stands at its upper end.
        label: What happened, said when pointed at.
    """

    x: float
    severity: Severity
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn.

    Attributes:
        key: A word for the element's identifiers, unlike that of any other picture on the page.
        title: What is shown.
        description: The same as the lines say, in words, for those who do not see them.
        x_title: What runs to the right.
        x_axis: Where it runs.
        y_axis: The range of the values.
        curves: What is drawn, the first one lowest.
        wording: How a value is written beside the line.
        flags: What happened on the way, from the left to the right.
    """

    key: str
    title: str
    description: str
    x_title: str
    x_axis: Axis
    y_axis: Axis
    curves: tuple[Curve, ...]
    wording: Callable[[float], str] = numeral
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A point of a curve on the picture, in user units; a zero stands apart from the line."""

    x: float
    y: float
    value: float
    point: Point
    is_zero: bool


def svg(picture: Picture) -> Markup:
    """Return the picture as one `svg` element that scales with its box."""
    floor = _floor(picture)
    drawn = [(curve, _places(curve, picture, floor)) for curve in picture.curves]
    legend = _legend([curve for curve in picture.curves if not curve.is_faint])
    top = 0 if legend else LEGEND_HEIGHT
    title_id, description_id = f"{picture.key}-title", f"{picture.key}-text"
    return element(
        "svg",
        element("title", escaped(picture.title), id=title_id),
        element("desc", escaped(picture.description), id=description_id),
        _grid(picture, floor),
        _flags(picture),
        *(_line(curve, places) for curve, places in drawn),
        *(_marks(curve, places, picture.wording) for curve, places in drawn),
        _end_labels([(curve, places) for curve, places in drawn if not curve.is_faint], picture.wording),
        legend,
        viewBox=f"0 {top} {WIDTH} {HEIGHT - top}",
        role="img",
        aria_labelledby=f"{title_id} {description_id}",
    )


def _floor(picture: Picture) -> float:
    """Return the height of the lowest value on the axis: above the band for zeros, if there are any."""
    has_zero = picture.y_axis.is_logarithmic and any(
        point.value == 0 for curve in picture.curves for point in curve.points
    )
    return HEIGHT - BOTTOM - (ZERO_BAND if has_zero else 0)


def _places(curve: Curve, picture: Picture, floor: float) -> list[_Place | None]:
    def place(point: Point) -> _Place | None:
        across, up = picture.x_axis.share(point.x), picture.y_axis.share(point.value)
        if across is None or point.value is None:
            return None
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        if up is not None:
            return _Place(x, floor - up * (floor - TOP), point.value, point, is_zero=False)
        is_zero = picture.y_axis.is_logarithmic and point.value == 0
        return _Place(x, HEIGHT - BOTTOM, 0.0, point, is_zero=True) if is_zero else None

    return [place(point) for point in curve.points]


def _grid(picture: Picture, floor: float) -> Markup:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts: list[Markup] = []
    for tick in picture.y_axis.ticks:
        y = floor - tick.share * (floor - TOP)
        parts += [_rule(LEFT, right, y), _words(tick.label, (LEFT - 8, y + 4), "end")]
    if floor < bottom:
        parts += [_rule(LEFT, right, bottom), _words("0", (LEFT - 8, bottom + 4), "end")]
    for tick in picture.x_axis.ticks:
        parts.append(_words(tick.label, (LEFT + tick.share * (right - LEFT), bottom + 18), "middle"))
    parts.append(_words(picture.x_title, ((LEFT + right) / 2, HEIGHT - 8), "middle"))
    return element("g", *parts, class_="grid")


def _flags(picture: Picture) -> Markup:
    """Return a thin line for each flag, with its sign above where that covers no other, the gravest first."""
    parts: list[Markup] = []
    taken: list[float] = []
    for flag in sorted(picture.flags, key=lambda flag: SEVERITIES.index(flag.severity)):
        share = picture.x_axis.share(flag.x)
        if share is None:
            continue
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        line = element("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=f"{TOP:.1f}", y2=f"{HEIGHT - BOTTOM:.1f}")
        is_free = all(abs(x - other) >= FLAG_WIDTH for other in taken)
        sign = _words(UNICODE.signs[flag.severity], (x, TOP - 5), "middle", look="sign") if is_free else EMPTY
        taken += [x] if is_free else []
        parts.append(element("g", element("title", escaped(flag.label)), line, sign, class_=f"flag {flag.severity}"))
    return joined(parts)


def _line(curve: Curve, places: Sequence[_Place | None]) -> Markup:
    path = " ".join(_strokes(places))
    return element("path", d=path, class_=f"line {curve.look}{' faint' if curve.is_faint else ''}") if path else EMPTY


def _strokes(places: Sequence[_Place | None]) -> Iterator[str]:
    """Yield path commands: the pen is lifted at gaps and zeros."""
    is_down = False
    for place in places:
        is_drawn = place is not None and not place.is_zero
        if place is not None and is_drawn:
            yield f"{'L' if is_down else 'M'}{place.x:.1f} {place.y:.1f}"
        is_down = is_drawn


def _marks(curve: Curve, places: Sequence[_Place | None], wording: Callable[[float], str]) -> Markup:
    stride = -(-len(places) // MAX_MARKS)
    marks = [
        _mark(curve, place, wording)
        for number, place in enumerate(places)
        if place is not None
        and (not curve.is_faint or place.is_zero)
        and (number % stride == 0 or number == len(places) - 1 or place.is_zero or _stands_alone(places, number))
    ]
    return element("g", *marks, class_=f"marks {curve.look}") if marks else EMPTY


def _stands_alone(places: Sequence[_Place | None], number: int) -> bool:
    around = (*places[max(0, number - 1) : number], *places[number + 1 : number + 2])
    return all(place is None or place.is_zero for place in around)


def _mark(curve: Curve, place: _Place, wording: Callable[[float], str]) -> Markup:
    title = element("title", escaped(f"{curve.name}, {place.point.label}: {wording(place.value)}"))
    return _sign(curve.look, place.x, place.y, title)


def _sign(look: Look, x: float, y: float, *content: Markup) -> Markup:
    if look == "second":
        return element("circle", *content, cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{MARK}")
    side = f"{2 * MARK - 0.6:.1f}"
    return element("rect", *content, x=f"{x - MARK + 0.3:.1f}", y=f"{y - MARK + 0.3:.1f}", width=side, height=side)


def _end_labels(drawn: Sequence[tuple[Curve, Sequence[_Place | None]]], wording: Callable[[float], str]) -> Markup:
    """Return the last value of each curve beside its end, moved apart where two would cover each other."""
    lasts = [(curve, next((place for place in reversed(places) if place is not None), None)) for curve, places in drawn]
    ends = [(place.y, curve.look, place) for curve, place in lasts if place is not None]
    labels: list[Markup] = []
    lowest = float(HEIGHT)
    for y, look, place in sorted(ends, key=lambda end: end[:2], reverse=True):
        lowest = min(y, lowest - LABEL_HEIGHT)
        labels.append(_words(wording(place.value), (place.x + 8, lowest + 4), "start", look=look))
    return joined(labels)


def _legend(curves: Sequence[Curve]) -> Markup:
    """Return a sample of each line with its name; none where the title says what the only line is."""
    if len(curves) <= 1:
        return EMPTY
    parts: list[Markup] = []
    x = float(LEFT)
    for curve in curves:
        name = UNICODE.cut(curve.name, NAME_WIDTH)
        parts.append(element("path", d=f"M{x:.1f} 18 h30", class_=f"line {curve.look}"))
        parts.append(element("g", _sign(curve.look, x + 15, 18), class_=f"marks {curve.look}"))
        parts.append(_words(name, (x + 38, 22), "start", look=curve.look))
        x += 38 + LETTER_WIDTH * cell_len(name) + 24
    return element("g", *parts, class_="legend")


def _rule(left: float, right: float, y: float) -> Markup:
    return element("line", x1=f"{left:.1f}", x2=f"{right:.1f}", y1=f"{y:.1f}", y2=f"{y:.1f}")


def _words(words: str, at: tuple[float, float], anchor: str, *, look: str = "") -> Markup:
    x, y = at
    attributes = {"class_": f"label {look}"} if look else {}
    return element("text", escaped(words), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
