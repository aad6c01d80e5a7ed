"""A grid of layers and steps as inline SVG: the darker the larger, by the logarithm; what is no number is crossed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isometry.report.glyphs import UNICODE
from isometry.report.language import say
from isometry.report.markup import EMPTY, Markup, element, escaped
from isometry.report.numerals import finite, numeral, power_of_ten
from isometry.report.run.history import Grid, pooled
from isometry.report.strip import Decades, decades_of

WIDTH = 480  # user units, as of the other pictures
LEFT, RIGHT, TOP, BOTTOM = 140, 12, 34, 42  # user units around the field
MAX_ROWS = 44  # rows; more are pooled
MAX_ROW_HEIGHT, MAX_HEIGHT = 18.0, 330.0  # user units of a row and of the field
LABEL_HEIGHT = 13.0  # user units between the names of two layers
LETTERS = 18  # of a name
LEVELS = 16  # shades from the lowest decade to the highest
FAINTEST = 0.07  # share of the ink in the lowest shade
LEGEND_WIDTH, LEGEND_HEIGHT = 130.0, 9.0  # user units
MIN_DECADES = 3  # span of the shades, so that harmless differences look harmless


@dataclass(frozen=True, slots=True)
class HeatMap:
    """What is drawn.

    Attributes:
        key: A word for the element's identifiers, unlike that of any other picture on the page.
        title: What is shown.
        grid: The numbers; at least one of them was measured.
    """

    key: str
    title: str
    grid: Grid


def heat_map(picture: HeatMap) -> Markup:
    """Return the map as one `svg` element that scales with its box."""
    grid, size = pooled(picture.grid, MAX_ROWS)
    decades = decades_of((value for row in grid.rows for value in row), least=MIN_DECADES)
    row_height = min(MAX_ROW_HEIGHT, MAX_HEIGHT / len(grid.rows))
    height = TOP + row_height * len(grid.rows) + BOTTOM
    title_id, description_id = f"{picture.key}-title", f"{picture.key}-text"
    return element(
        "svg",
        element("title", escaped(picture.title), id=title_id),
        element("desc", escaped(_in_words(grid, size)), id=description_id),
        _hatch(picture.key),
        _legend(grid, decades, picture.key),
        element("g", *_cells(grid, decades, row_height, key=picture.key), class_="heat"),
        element("g", *_row_names(grid, row_height), *_step_labels(grid, height - BOTTOM), class_="grid"),
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        role="img",
        aria_labelledby=f"{title_id} {description_id}",
    )


def pooling_sentence(grid: Grid) -> str:
    """Return how many layers a row stands for, where it is more than one; else empty."""
    size = pooled(grid, MAX_ROWS)[1]
    return say("Each row is the geometric mean of {count} layers.", count=size) if size > 1 else ""


def _hatch(key: str) -> Markup:
    """Return the stripes over what is not finite, which tell it from a strong colour without any."""
    stripe = element("path", d="M-1 1L1 -1M0 6L6 0M5 7L7 5")
    return element(
        "defs",
        element(
            "pattern", stripe, id=f"{key}-hatch", class_="hatch", width="6", height="6", patternUnits="userSpaceOnUse"
        ),
    )


def _hatched(key: str) -> str:
    return f"fill: url(#{key}-hatch)"


def _cells(grid: Grid, decades: Decades | None, row_height: float, *, key: str) -> Iterator[Markup]:
    """Yield one path a shade: neighbours of one shade in a row are one rectangle."""
    paths: dict[str, list[str]] = {}
    for number, row in enumerate(grid.rows):
        shades = [_shade(value, decades) for value in row]
        for first, last, shade in _runs(shades):
            x, width = _across(first, grid), _across(last + 1, grid) - _across(first, grid)
            box = f"M{x:.1f} {TOP + number * row_height:.1f}h{width:.1f}v{row_height:.1f}h{-width:.1f}z"
            paths.setdefault(shade, []).append(box)
    for shade, boxes in sorted(paths.items()):
        looks = {"class_": shade} if shade in {"strange", "zero"} else {"fill_opacity": shade}
        yield element("path", d="".join(boxes), **looks)
        if shade == "strange":
            yield element("path", d="".join(boxes), style=_hatched(key))


def _shade(value: float | None, decades: Decades | None) -> str:
    """Return a cell's share of ink, or what it is instead of a positive number; empty if nothing was measured."""
    if value is None:
        return ""
    if finite(value) is None:
        return "strange"
    if value <= 0 or decades is None:
        return "zero"
    return _ink(math.floor(decades.share(value) * LEVELS))


def _ink(level: int) -> str:
    share = min(max(level, 0), LEVELS - 1) / (LEVELS - 1)
    return f"{FAINTEST + (1 - FAINTEST) * share:.2f}"


def _runs(shades: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield first place, last place and shade of each stretch of one shade; nothing where nothing was measured."""
    first = 0
    for place, shade in enumerate(shades):
        if place + 1 == len(shades) or shades[place + 1] != shade:
            if shade:
                yield first, place, shade
            first = place + 1


def _across(column: int, grid: Grid) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * column / len(grid.steps)


def _row_names(grid: Grid, row_height: float) -> Iterator[Markup]:
    stride = math.ceil(LABEL_HEIGHT / row_height)
    for number in range(0, len(grid.names), stride):
        name = grid.names[number]
        y = TOP + (number + 0.5) * row_height + 4
        short = escaped(_end_of(name))
        title = element("title", escaped(name))
        yield element("text", short, title, x=f"{LEFT - 8}", y=f"{y:.1f}", text_anchor="end")


def _end_of(name: str) -> str:
    """Return a name, or the last of its parts that there is room for."""
    short = UNICODE.shortened(name, LETTERS)
    _, dot, parts = short.partition(".")
    is_whole = short == name or name.endswith(short.replace(UNICODE.ellipsis, ".", 1))
    return short if is_whole or not dot else f"{UNICODE.ellipsis}{parts}"


def _step_labels(grid: Grid, bottom: float) -> Iterator[Markup]:
    places = sorted({0, len(grid.steps) // 2, len(grid.steps) - 1})
    for place in places:
        x = (_across(place, grid) + _across(place + 1, grid)) / 2
        anchor = "middle" if len(places) == 1 or 0 < place < len(grid.steps) - 1 else "end" if place else "start"
        at = x if anchor == "middle" else _across(place + 1, grid) if place else _across(0, grid)
        yield _words(str(grid.steps[place]), (at, bottom + 17), anchor)
    yield _words(say("optimiser step"), ((LEFT + WIDTH - RIGHT) / 2, bottom + 34), "middle")


def _legend(grid: Grid, decades: Decades | None, key: str) -> Markup:
    parts = [] if decades is None else [*_scale(decades)]
    x = LEFT + LEGEND_WIDTH + 66
    for look, word in (("zero", say("zero")), ("strange", say("not finite"))):
        if any(_shade(value, decades) == look for row in grid.rows for value in row):
            box = f"M{x:.1f} 8h12v{LEGEND_HEIGHT}h-12z"
            stripes = element("path", d=box, style=_hatched(key)) if look == "strange" else EMPTY
            parts += [
                element("g", element("path", d=box, class_=look), stripes, class_="heat"),
                _words(word, (x + 17, 17), "start"),
            ]
            x += 88
    return element("g", *parts, class_="grid") if parts else EMPTY


def _scale(decades: Decades) -> Iterator[Markup]:
    step = LEGEND_WIDTH / LEVELS
    x = LEFT + 32.0
    boxes = [
        element(
            "path", d=f"M{x + level * step:.1f} 8h{step:.1f}v{LEGEND_HEIGHT}h{-step:.1f}z", fill_opacity=_ink(level)
        )
        for level in range(LEVELS)
    ]
    yield _words(power_of_ten(decades.low), (x - 6, 17), "end")
    yield element("g", *boxes, class_="heat")
    yield _words(power_of_ten(decades.high), (x + LEGEND_WIDTH + 6, 17), "start")


def _words(words: str, at: tuple[float, float], anchor: str) -> Markup:
    return element("text", escaped(words), x=f"{at[0]:.1f}", y=f"{at[1]:.1f}", text_anchor=anchor)


def _in_words(grid: Grid, size: int) -> str:
    known = [value for value in (finite(value) for row in grid.rows for value in row) if value is not None]
    if not known:
        return say("No finite number was measured.")
    return say(
        "{rows} rows of {size} layers at {columns} steps, between {low} and {high}.",
        rows=len(grid.rows),
        size=size,
        columns=len(grid.steps),
        low=numeral(min(known)),
        high=numeral(max(known)),
    )
