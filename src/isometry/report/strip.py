"""The layers as a table for the terminal, a row a layer, with small logarithmic bars."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from isometry.report.facts import LayerRow
from isometry.report.glyphs import Glyphs
from isometry.report.language import say
from isometry.report.numerals import column_numeral, finite, numeral

MAX_ROWS = 24  # rows of the table, the one that counts the layers left out among them
MIN_DECADES = 4  # span of the bars, so that harmless differences look harmless
NUMBER_WIDTH = 7  # cells of `4.3e-22`
MAX_KIND_WIDTH = 12  # cells
MIN_NAME_WIDTH = 8  # cells
GAP = 2  # cells between columns
BAR_WIDTHS = ((110, 20), (72, 8), (0, 4))  # cells: from this console width on, a bar is so long


@dataclass(frozen=True, slots=True)
class Decades:
    """The range of a logarithmic bar, in powers of ten."""

    low: int
    high: int

    def share(self, value: float) -> float:
        """Return how much of the bar a value fills, in [0, 1]; nothing for zero."""
        return (math.log10(value) - self.low) / (self.high - self.low) if value > 0 else 0.0


def layer_strip(layers: Sequence[LayerRow], glyphs: Glyphs, *, width: int) -> Table:
    """The table of all layers, its middle left out where it would be long.

    Args:
        layers: At least one row, in the order of execution.
        glyphs: The signs that the console can show.
        width: Width of the console, in cells.

    Returns:
        A table that fits into `width` from 60 cells on.
    """
    bar_width = next(bar for least, bar in BAR_WIDTHS if width >= least)
    activations = amounts([layer.activation_rms for layer in layers], glyphs, bar_width)
    gradients = amounts([layer.gradient_rms for layer in layers], glyphs, bar_width)
    kinds = [glyphs.shortened(layer.kind, MAX_KIND_WIDTH) for layer in layers]
    fans = [_fans(layer, glyphs) for layer in layers]
    taken = sum(_widest(column) + GAP for column in ([say("kind"), *kinds], [say("fans"), *fans])) + 2 * (
        NUMBER_WIDTH + 1 + bar_width + GAP
    )
    name_width = max(MIN_NAME_WIDTH, width - taken)
    names = [glyphs.shortened(layer.name, name_width) for layer in layers]
    table = Table(box=glyphs.head_line(), show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading in ("layer", "kind", "fans", "activation", "gradient"):
        table.add_column(say(heading), no_wrap=True)
    rows = list(zip(names, kinds, fans, activations, gradients, strict=True))
    for row in _elided(rows, glyphs, name_width):
        table.add_row(*(Text(cell) for cell in row))
    return table


def strip_caption(layers: Sequence[LayerRow]) -> str:
    """Return which range the bars of the table stand for."""
    ranges: list[str] = []
    for quantity, values in (
        ("activation", [layer.activation_rms for layer in layers]),
        ("gradient", [layer.gradient_rms for layer in layers]),
    ):
        decades = decades_of(values)
        if decades is not None:
            low, high = (numeral(float(f"1e{end}")) for end in (decades.low, decades.high))
            ranges.append(say("{quantity} {low} to {high}", quantity=say(quantity), low=low, high=high))
    if not ranges:
        return say("Nothing was measured at the layers.")
    return say("Bars are logarithmic: {ranges}.", ranges=", ".join(ranges))


def decades_of(values: Iterable[float | None], *, least: int = MIN_DECADES) -> Decades | None:
    """Return the whole decades around all positive values, at least `least` of them; None without a positive value."""
    positive = [value for value in map(finite, values) if value is not None and value > 0]
    if not positive:
        return None
    high = math.ceil(math.log10(max(positive)))
    return Decades(min(math.floor(math.log10(min(positive))), high - least), high)


def amounts(values: Sequence[float | None], glyphs: Glyphs, bar_width: int) -> list[str]:
    """Return a column of numbers with logarithmic bars of at most `bar_width` cells; without bars for 0."""
    decades = decades_of(values)

    def amount(value: float | None) -> str:
        if value is None:
            return glyphs.missing.rjust(NUMBER_WIDTH)
        number = column_numeral(value, digits=2).rjust(NUMBER_WIDTH)
        if decades is None or finite(value) is None:
            return number
        return f"{number} {glyphs.bar(decades.share(value), bar_width)}"

    return [amount(value) for value in values]


def _fans(layer: LayerRow, glyphs: Glyphs) -> str:
    if layer.fan_in is None and layer.fan_out is None:
        return glyphs.missing
    ends = (glyphs.missing if fan is None else numeral(fan, digits=4) for fan in (layer.fan_in, layer.fan_out))
    return glyphs.arrow.join(ends)


def _elided(rows: Sequence[tuple[str, ...]], glyphs: Glyphs, name_width: int) -> list[tuple[str, ...]]:
    if len(rows) <= MAX_ROWS:
        return list(rows)
    tail = MAX_ROWS // 2
    head = MAX_ROWS - 1 - tail
    rest = len(rows) - head - tail
    note = f"{glyphs.ellipsis} {say('{count} more layers', count=rest)} {glyphs.ellipsis}"
    if cell_len(note) > name_width:
        note = f"{glyphs.ellipsis} {say('{count} more', count=rest)}"
    return [*rows[:head], (note, "", "", "", ""), *rows[-tail:]]


def _widest(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells))
