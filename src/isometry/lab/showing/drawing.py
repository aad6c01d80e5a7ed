"""Draws the lab's pictures with matplotlib: as PNG for people, as SVG for pages."""

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry._errors import MissingExtraError
from isometry._files import write_atomically
from isometry.lab.figure import Figure, Map, Series
from isometry.report.language import say, speaking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008), and dashes besides.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK, PAPER = "#000000", "#ffffff"  # as SVG has them, for a page that puts its own in their place
DASHES = ("-", "--", "-.", ":")
OVER_MAP = ("#fefefe", *COLOURS)  # a map has no white; not quite PAPER, which a page may darken
LEGEND_OVER_MAP: dict[str, Any] = {"facecolor": "0.3", "framealpha": 0.8, "edgecolor": "none", "labelcolor": "#fefefe"}
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
    "svg.hashsalt": "isometry",
    "legend.frameon": False,
}
OVER_LINES = 2.5  # where points lie; what is measured hides theory, and not the other way round
SIZE = (6.4, 4.0)  # inches
DOTS = 160  # per inch
MOST_TICKS = 8  # places on a short logarithmic axis that are named themselves; powers of ten say little there


def save_png(figure: Figure, path: Path, *, lang: str = "en") -> None:
    """Draw a picture into a file.

    Args:
        figure: The picture.
        path: The file to write.
        lang: The language of its words, `en` or `vi`.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        OutputError: If it cannot be written.
    """
    with speaking(lang):
        canvas = drawn(figure)
    write_atomically(path, lambda place: canvas.savefig(place, format="png", dpi=DOTS))


def as_svg(figure: Figure) -> str:
    """Return a picture as an `svg` element in the language that is spoken, the same bytes for the same picture.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    stream, canvas = io.StringIO(), drawn(figure)
    import matplotlib as mpl  # noqa: PLC0415 - an extra, and drawn() said how to install it

    with mpl.rc_context(STYLE):
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def drawn(figure: Figure) -> "Canvas":
    """Return a picture as a figure of matplotlib, in the language that is spoken; no state of matplotlib is touched.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra, and slow to import
        from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - an extra, and slow to import
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib. Install it: pip install 'isometry[plots]'.") from error
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=SIZE, layout="constrained")
        axes = canvas.add_subplot()
        if figure.map is not None:
            _draw_map(canvas, axes, figure.map)
        _draw_series(axes, figure)
        _draw_marks(axes, figure)
        axes.set_title(say(figure.title), loc="left", fontsize=11, pad=14 if figure.x_marks else 6)
        axes.set(xlabel=say(figure.x_axis), ylabel=say(figure.y_axis), xscale=figure.x_scale, yscale=figure.y_scale)
        if figure.x_scale == "linear" and _counts(figure):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _name_few(axes, figure)
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        if figure.map is not None and named:
            axes.legend(named.values(), named.keys(), fontsize=8, frameon=True, **LEGEND_OVER_MAP)
        elif len(named) > 1:
            axes.legend(named.values(), named.keys(), fontsize=8)
    return canvas


def _counts(figure: Figure) -> bool:
    """Say whether all places are whole numbers, which have no others between them."""
    return all(float(x).is_integer() for series in figure.series for x in series.x)


def _name_few(axes: "Axes", figure: Figure) -> None:
    """Name the places themselves where these are few on a short logarithmic axis."""
    places = sorted({x for series in figure.series for x in series.x})
    if figure.x_scale == "log" and 1 < len(places) <= MOST_TICKS and places[-1] < 100 * places[0]:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()


def _draw_series(axes: "Axes", figure: Figure) -> None:
    looks: dict[str, int] = {}
    for series in figure.series:
        number = looks.setdefault(series.name, len(looks))
        colours = COLOURS if figure.map is None else OVER_MAP
        colour, dash = colours[number % len(colours)], DASHES[number // len(colours) % len(DASHES)]
        _draw(axes, series, {"color": colour, "label": say(series.name), "linestyle": dash})


def _draw(axes: "Axes", series: Series, look: Mapping[str, Any]) -> None:
    x, y = list(series.x), list(series.y)
    if series.mark == "band":
        axes.fill_between(x, y, list(series.upper), alpha=0.2, linewidth=0, color=look["color"], label=look["label"])
    elif series.mark == "points":
        axes.plot(x, y, "o", markersize=3.5, color=look["color"], label=look["label"], zorder=OVER_LINES)
    else:
        axes.plot(x, y, linewidth=1.4, **look)


def _draw_marks(axes: "Axes", figure: Figure) -> None:
    for place, word in figure.x_marks:
        axes.axvline(place, color="0.4", linewidth=0.9, linestyle=":")
        above = (place, 1.0)
        axes.annotate(say(word), above, xycoords=("data", "axes fraction"), fontsize=8, ha="center", va="bottom")


def _draw_map(canvas: "Canvas", axes: "Axes", plane: Map) -> None:
    finite = [[value if math.isfinite(value) else math.nan for value in row] for row in plane.values]
    mesh = axes.pcolormesh(plane.x, plane.y, finite, shading="nearest", cmap="viridis", rasterized=True)
    canvas.colorbar(mesh, ax=axes, label=say(plane.unit))
    axes.grid(visible=False)
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # curves over the map end at its edge
