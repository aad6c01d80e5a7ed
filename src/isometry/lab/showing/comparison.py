"""The claims of several outcomes side by side."""

from collections.abc import Sequence
from typing import final

from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.lab.experiment import Claim
from isometry.lab.outcome import Outcome
from isometry.lab.showing.report import plain_table
from isometry.lab.showing.words import claim_cells, setting_words, why_not_word
from isometry.report.glyphs import Glyphs, glyphs_for
from isometry.report.language import say, speaking

Row = dict[int, Claim]  # a claim as each outcome has it, by the outcome's place


def comparison_table(pairs: Sequence[tuple[str, Outcome]], *, encoding: str, lang: str = "en") -> Table:
    """Return the claims of several outcomes, a column an outcome.

    Args:
        pairs: Where each is recorded, and what came of it.
        encoding: Of the console.
        lang: The language, `en` or `vi`.

    Returns:
        A table with a row a claim; claims that differ by a setting alone share one, where that stands as dots.
    """
    glyphs = glyphs_for(encoding)
    with speaking(lang):
        table = plain_table(glyphs, "claim")
        for place, outcome in pairs:
            words = dict.fromkeys((outcome.study.name, setting_words(outcome.study), place))
            table.add_column(Text("\n".join(glyphs.printable(word) for word in words if word)), overflow="fold")
        for row in _rows([outcome.claims for _, outcome in pairs]):
            cells = (_cell(row.get(place), glyphs) for place in range(len(pairs)))
            table.add_row(glyphs.text(_text(list(row.values()), glyphs)), *cells)
        if any(outcome.why_not for _, outcome in pairs):
            reasons = (glyphs.text(why_not_word(outcome)) for _, outcome in pairs)
            table.add_row(glyphs.text(say("does not apply")), *reasons)
        return table


def _rows(columns: Sequence[Sequence[Claim]]) -> list[Row]:
    """Return claims side by side: equal ones, then those that differ by what is filled in alone."""
    rows: list[Row] = []
    for place, claims in enumerate(columns):
        left = list(claims)
        for key in (str, _template):
            for claim in tuple(left):
                if row := next((row for row in rows if place not in row and key(_first(row)) == key(claim.text)), None):
                    row[place] = claim
                    left.remove(claim)
        rows += [{place: claim} for claim in left]
    return rows


def _first(row: Row) -> Phrase:
    return next(iter(row.values())).text


def _template(text: Phrase) -> str:
    return text.template


def _text(claims: Sequence[Claim], glyphs: Glyphs) -> str:
    """Return the sentence of claims that differ at most by what is filled in, with dots where they do."""
    first = claims[0].text
    open_ = _Open(glyphs.ellipsis)
    values = {
        name: value if all(claim.text.values[name] == value for claim in claims) else open_
        for name, value in first.values.items()
    }
    return say(Phrase(first.template, **values))


def _cell(claim: Claim | None, glyphs: Glyphs) -> Text:
    """Return what was measured, whether that holds the claim up, and the range below."""
    if claim is None:
        return Text("")
    word, _, measured, allowed = claim_cells(claim)
    return Text("\n").join(glyphs.text(line) for line in (f"{measured} ({word})", allowed) if line)


@final
class _Open:
    """Stands in a sentence for what is not the same everywhere, in whatever format it is asked for."""

    def __init__(self, sign: str) -> None:
        self._sign = sign

    def __format__(self, _: str) -> str:
        return self._sign
