"""The rich renderable of how lazily a network trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry.report.glyphs import ASCII, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import numeral
from isometry.report.spoken import SpokenReport

if TYPE_CHECKING:
    from isometry.lab.lazy import Laziness, LazyLook

MISSING = "-"


@dataclass(frozen=True, slots=True)
class LazinessReport(SpokenReport):
    """How far kernel and weights moved, and a row a look."""

    found: "Laziness"
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs, last = self.found, glyphs_for(options.encoding), self.found.looks[-1]
        moved = say(
            "In {steps} steps of {optimizer} on {loss} the tangent kernel moved by {kernel} of its size and the "
            "weights by {weights} of theirs.",
            steps=last.step,
            optimizer=found.optimizer,
            loss=say(found.loss),
            kernel=_cell(last.kernel_drift),
            weights=_cell(last.weight_drift),
        )
        meaning = say(
            "0 is lazy: the network trains as its linearisation would. From some tenths on it learns features of its "
            "own."
        )
        yield glyphs.text(f"{moved} {meaning}")
        for warning in found.warnings:
            yield glyphs.text(say(warning), style="yellow")
        yield Padding(_table(found), (1, 0, 1, 2))
        yield glyphs.text(
            say(
                "kernel of {examples} examples, mean over {outputs} outputs",
                examples=found.num_examples,
                outputs=found.num_outputs,
            ),
            style="dim",
        )


def _table(found: "Laziness") -> Table:
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    headings = (
        say("step"),
        say("loss"),
        say("kernel drift"),
        say("weight drift"),
        say("alignment"),
        say("largest eigenvalue"),
        say("effective rank"),
    )
    for heading in headings:
        table.add_column(heading, justify="right", vertical="bottom")
    for look in found.looks:
        table.add_row(str(look.step), *_cells(look))
    return table


def _cells(look: "LazyLook") -> tuple[Text, ...]:
    numbers = (look.loss, look.kernel_drift, look.weight_drift, look.alignment, look.largest, look.effective_rank)
    return tuple(Text(_cell(number)) for number in numbers)


def _cell(number: float | None) -> str:
    return MISSING if number is None else numeral(number)
