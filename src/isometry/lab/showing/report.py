"""The rich renderable of what came of a study."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from isometry.lab.showing.words import claim_rows, failures, held_word, record_sentence, setting_words, sign_of
from isometry.report.glyphs import STYLES, Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.spoken import SpokenReport

if TYPE_CHECKING:
    from isometry.lab.outcome import Outcome


@dataclass(frozen=True, slots=True)
class OutcomeReport(SpokenReport):
    """A study's question, its claims as held or not held, what its seeds took, and why seeds failed."""

    outcome: "Outcome"
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        outcome, glyphs = self.outcome, glyphs_for(options.encoding)
        yield headline(outcome, glyphs)
        yield glyphs.text(say(outcome.study.question))
        if outcome.claims:
            yield _claims(outcome, glyphs)
        yield glyphs.text(f"{held_word(outcome)} {record_sentence(outcome)}", style="dim")
        for who, why in failures(outcome):
            yield Text.assemble((f"{glyphs.signs['broken']} {who}", STYLES["broken"]))
            yield _explanation(why, glyphs)


def headline(outcome: "Outcome", glyphs: Glyphs) -> Text:
    """Return a study's name with a sign of whether all held, and what was set otherwise than usual."""
    sign = sign_of(outcome)
    words = setting_words(outcome.study)
    name = (f"{glyphs.signs[sign]} {outcome.study.name}", STYLES[sign])
    return Text.assemble(name, f"  {glyphs.printable(words)}" if words else "")


def plain_table(glyphs: Glyphs, *headings: str) -> Table:
    """Return an empty table without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(glyphs.text(say(heading)) if heading else "", overflow="fold")
    return table


def _explanation(why: str, glyphs: Glyphs) -> Text:
    """Return a sentence or a traceback, which keeps its lines and their indents; what is too long is wrapped."""
    lines = ((line[: len(line) - len(line.lstrip())], glyphs.printable(line)) for line in why.splitlines())
    return Text("\n".join(f"{indent}{line}" for indent, line in lines), overflow="fold")


def _claims(outcome: "Outcome", glyphs: Glyphs) -> Table:
    table = plain_table(glyphs, "", "claim", "measured", "range")
    for claim, (word, *cells) in zip(outcome.claims, claim_rows(outcome), strict=True):
        style = STYLES["healthy" if claim.is_held else "broken"]
        table.add_row(glyphs.text(word, style=style), *map(glyphs.text, cells))
    return table
