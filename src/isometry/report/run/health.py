"""The layers of a recorded step as a table for the terminal: sizes, how fast the weights move, what is dead."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from isometry.report.glyphs import STYLES, Glyphs
from isometry.report.language import say
from isometry.report.numerals import column_numeral
from isometry.report.run.course import LayerState
from isometry.report.strip import GAP, MIN_NAME_WIDTH, NUMBER_WIDTH, amounts

MAX_ROWS = 24  # lines of the table below its head, those that count the layers left out among them
BAR_WIDTHS = ((110, 12), (84, 4), (0, 0))  # cells: from this width on, a bar is so long
SHARE_WIDTH = 5  # cells of `100 %`
SIGN_WIDTH = 2  # cells of the sign before a name

Share = Callable[[LayerState], float | None]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The cells of one column, from the first layer to the last, with its heading."""

    heading: str
    cells: Sequence[str]


def health_table(layers: Sequence[LayerState], glyphs: Glyphs, *, width: int, most: int = MAX_ROWS) -> Table:
    """The layers as rows; where they are many, those that an event names stay and others are counted.

    Args:
        layers: At least one, in the order of execution.
        glyphs: The signs that the console can show.
        width: Cells a line may take.
        most: Lines below the head.

    Returns:
        A table that fits into `width` from 58 cells on.
    """
    columns = list(_columns(layers, glyphs, bar_width=next(bar for least, bar in BAR_WIDTHS if width >= least)))
    widths = [max(map(cell_len, (column.heading, *column.cells))) for column in columns]
    name_width = max(MIN_NAME_WIDTH, width - sum(widths) - GAP * len(columns))
    table = Table(
        box=glyphs.head_line(), show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold"
    )
    table.add_column("  " + say("layer"), no_wrap=True, width=name_width)
    for column in columns:
        table.add_column(column.heading, no_wrap=True)
    for shown in _shown(layers, most):
        if isinstance(shown, range):
            rest = say("{count} more", count=len(shown))
            table.add_row(Text(f"  {glyphs.ellipsis} {rest}", style="dim"), *[""] * len(columns))
        else:
            name = _name(layers[shown], glyphs, name_width)
            table.add_row(name, *(Text(column.cells[shown]) for column in columns))
    return table


def _name(state: LayerState, glyphs: Glyphs, width: int) -> Text:
    words = glyphs.shortened(state.layer.name, width - SIGN_WIDTH)
    if state.severity is None:
        return Text(" " * SIGN_WIDTH + words)
    return Text.assemble((glyphs.signs[state.severity], STYLES[state.severity]), " ", words)


def _columns(layers: Sequence[LayerState], glyphs: Glyphs, *, bar_width: int) -> Iterator[_Columns]:
    """Yield what any layer has; nothing that would be a column of dashes."""
    sizes: tuple[tuple[str, str, Share], ...] = (
        ("activation", "signal", lambda state: state.layer.activation_rms),
        ("gradient", "grad.", lambda state: state.gradient_rms),
        ("update/weight", "update", lambda state: state.update_ratio),
    )
    for heading, short, size in sizes:
        values = [size(state) for state in layers]
        cells = amounts(values, glyphs, bar_width) if bar_width else [_number(value, glyphs) for value in values]
        yield _Columns(say(heading) if bar_width else say(short).rjust(NUMBER_WIDTH), cells)
    yield from _share_columns(layers)


def _share_columns(layers: Sequence[LayerState]) -> Iterator[_Columns]:
    shares: tuple[tuple[str, Share, Callable[[float], str]], ...] = (
        ("dead", lambda state: state.layer.dead_share, _portion),
        ("satur.", lambda state: state.layer.saturated_share, _portion),
        ("logit", lambda state: state.layer.logit_max, lambda value: column_numeral(value, digits=2)),
    )
    for heading, share, wording in shares:
        values = [share(state) for state in layers]
        if any(value is not None for value in values):
            cells = ["" if value is None else wording(value).rjust(SHARE_WIDTH) for value in values]
            yield _Columns(say(heading), cells)


def _number(value: float | None, glyphs: Glyphs) -> str:
    return (glyphs.missing if value is None else column_numeral(value, digits=2)).rjust(NUMBER_WIDTH)


def _portion(share: float) -> str:
    return f"{100 * share:.0f} %"


def _shown(layers: Sequence[LayerState], most: int) -> list[int | range]:
    """Return the places of the layers to show, and between them the ranges of those that are only counted."""
    named = [number for number, state in enumerate(layers) if state.severity is not None]
    for count in range(min(most, len(layers)), 0, -1):
        rows = _with_gaps(_chosen(len(layers), named[: count // 2], count), len(layers))
        if len(rows) <= most:
            return rows
    return [0]


def _chosen(num_layers: int, named: Sequence[int], count: int) -> list[int]:
    """Return `count` places: those that are named, then from both ends."""
    from_ends = sorted(range(num_layers), key=lambda number: (min(number, num_layers - 1 - number), number))
    return sorted(list(dict.fromkeys([*named, *from_ends]))[:count])


def _with_gaps(places: Sequence[int], num_layers: int) -> list[int | range]:
    rows: list[int | range] = []
    following = 0
    for place in (*places, num_layers):
        if place == following + 1:
            rows.append(following)  # it takes no more room than to count it
        elif place > following:
            rows.append(range(following, place))
        if place < num_layers:
            rows.append(place)
        following = place + 1
    return rows
