"""A picture as values, drawn with matplotlib: as SVG for pages, as PNG for people.

Its words are English, plain or as a Phrase where they are filled in; they are said in the language of the report around
it when it is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log"]
Mark = Literal["line", "points", "band"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve.

    Attributes:
        name: For the legend; several with one name, one a seed, are drawn alike and named once.
        x: Places.
        y: Values at them; not finite where there is none.
        mark: `line`, `points`, or `band` from `y` up to `upper`.
        upper: Upper end of a band.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: Mark = "line"
    upper: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """A plane of colours.

    Attributes:
        x: Places of the columns.
        y: Places of the rows.
        values: A row a place of `y`; not finite where there is none.
        unit: Of the values, for the colour's legend.
    """

    x: Sequence[float]
    y: Sequence[float]
    values: Sequence[Sequence[float]]
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One picture of an experiment.

    Attributes:
        key: Of its file, such as `test-error`.
        title: What it shows, in a sentence.
        x_axis: Name and unit.
        y_axis: Likewise.
        series: Curves, drawn in this order; over the map if there is one.
        map: A plane of colours under the curves; None without.
        x_scale: Of the places.
        y_scale: Of the values.
        x_marks: Places with a word, such as an interpolation threshold, drawn as upright lines.
    """

    key: str
    title: str
    x_axis: str
    y_axis: str
    series: tuple[Series, ...] = ()
    map: Map | None = None
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    x_marks: tuple[tuple[float, str], ...] = ()
