"""A plan's entries as a table: rows of text, and what a terminal and a notebook show of them."""

import io
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from isometry._console import printable
from isometry.planning.entries import PlanEntry

PRINTED_WIDTH = 120  # cells, where no terminal says how wide it is
INEXACT = "≈"
LEGEND = "≈ equal to 1e-5 wherever it is applied; the rest to the bit"
NAMES_IN_FULL = 2  # of parameters that share a row
NUMBERS = frozenset({"fans", "std"})


def cells(entry: PlanEntry) -> dict[str, str]:
    """Return an entry as text, a mapping from column to cell."""
    fans = "" if entry.fans is None else f"{entry.fans.into:g} → {entry.fans.out:g}"
    return {
        "parameter": entry.parameter,
        "role": entry.role,
        "fans": fans,
        "scheme": entry.scheme if entry.is_exact else f"{entry.scheme} {INEXACT}",
        "std": f"{entry.std:.3g}" if entry.std else "",
        "reason": entry.reason,
    }


def plan_table(entries: Sequence[PlanEntry]) -> Table:
    """Return the entries as a table for rich; those that differ in nothing but the parameter's name share a row."""
    num_written = sum(entry.is_written for entry in entries)
    caption = None if all(entry.is_exact for entry in entries) else LEGEND
    title = f"plan: {num_written} of {len(entries)} parameters change"
    return folded_table([cells(entry) for entry in entries], title=title, caption=caption)


def folded_table(rows: Iterable[dict[str, str]], *, title: str, caption: str | None = None) -> Table:
    """Return rows as a table; those that differ in nothing but the first cell share one.

    Args:
        rows: Mappings from column to cell, all with the same columns.
        title: What stands above.
        caption: What stands below.
    """
    table = Table(
        box=None, pad_edge=False, title=title, caption=caption, caption_justify="left", collapse_padding=False
    )
    folded: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if not table.columns:
            for column in row:
                table.add_column(column, justify="right" if column in NUMBERS else "left", overflow="fold")
        first, *others = map(printable, row.values())
        folded.setdefault(tuple(others), []).append(first)
    for others, names in folded.items():
        table.add_row(escape(span_of(names)), *(escape(cell) for cell in others))
    return table


def span_of(names: Sequence[str]) -> str:
    """Return names that share a row: one or two in full, of more the first and the last with their number.

    Example:
        >>> span_of(["0.bias", "2.bias", "4.bias"])
        '0.bias … 4.bias (3)'
    """
    return ", ".join(names) if len(names) <= NAMES_IN_FULL else f"{names[0]} … {names[-1]} ({len(names)})"


def as_text(renderable: RenderableType) -> str:
    """Return what a terminal would show, without colour, at a fixed width."""
    console = Console(file=io.StringIO(), width=PRINTED_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def as_html(renderable: RenderableType) -> str:
    """Return what a terminal would show as preformatted HTML, for notebooks."""
    console = Console(file=io.StringIO(), width=PRINTED_WIDTH, record=True)
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.3">{code}</pre>')
