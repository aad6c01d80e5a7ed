"""A diagnosis as a report for the terminal, readable from 60 cells on, with or without colour."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry.report.facts import IGNORED, Facts
from isometry.report.finding import Finding
from isometry.report.glyphs import STYLES, Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.outline import (
    Cause,
    causes,
    cost_sentence,
    jacobian_rows,
    loss_sentence,
    measured_against,
    places,
    proof_sentence,
    skipped_rows,
    suggestion,
    tally,
    trial_sentence,
)
from isometry.report.spoken import SpokenReport
from isometry.report.strip import layer_strip, strip_caption

INDENT = 2  # cells before what belongs to the line above
LABEL_WIDTH = 10  # cells of the widest label of a finding, `measured` or `explains`, and the gap after it


@dataclass(frozen=True, slots=True)
class TerminalReport(SpokenReport):
    """The rich renderable of a diagnosis; it adapts to the console's width and encoding.

    Attributes:
        diagnosis: What to report.
        lang: The language, `en` or `vi`.
        is_verbose: Whether it says why rules were skipped, not only which.
    """

    diagnosis: Facts
    lang: str = "en"
    is_verbose: bool = False

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        glyphs = glyphs_for(options.encoding)
        sections = (
            _headline(self.diagnosis, glyphs),
            *(_cause_block(cause, glyphs, options.max_width) for cause in causes(self.diagnosis.findings)),
            _layers(self.diagnosis, glyphs, options.max_width),
            _list("Trial", _trial(self.diagnosis), glyphs),
            _list("Jacobian, singular values", _jacobian(self.diagnosis), glyphs),
            self._skipped(glyphs),
            _list("Warnings", [(glyphs.signs["warning"], say(text)) for text in self.diagnosis.warnings], glyphs),
            _footer(self.diagnosis, glyphs),
        )
        filled = [section for section in sections if section]
        for number, section in enumerate(filled):
            if number:
                yield Text()
            yield from section

    def _skipped(self, glyphs: Glyphs) -> list[RenderableType]:
        skipped = self.diagnosis.skipped
        if self.is_verbose:
            return _list("Skipped rules", skipped_rows(skipped), glyphs)
        unjudged = ", ".join(sorted(row.code for row in skipped if row.reason != IGNORED))
        ignored = ", ".join(sorted(row.code for row in skipped if row.reason == IGNORED))
        parts = ((say("Skipped rules, --verbose says why"), unjudged), (say("Ignored rules"), ignored))
        return [glyphs.text(f"{title}: {codes}", style="dim") for title, codes in parts if codes]


def terminal_text(diagnosis: Facts, *, width: int = 80, encoding: str = "utf-8", lang: str = "en") -> str:
    """The report as plain text without colour.

    Args:
        diagnosis: What to report.
        width: Cells a line may take.
        encoding: Of the console the text is meant for; any other than UTF gets ASCII.
        lang: The language, `en` or `vi`.

    Returns:
        Lines without trailing spaces and without a final line break.
    """
    return plain_text(TerminalReport(diagnosis, lang), width=width, encoding=encoding)


def plain_text(renderable: RenderableType, *, width: int, encoding: str) -> str:
    """Return what a renderable looks like on a console without colour, without trailing spaces."""
    console = Console(
        file=TextIOWrapper(BytesIO(), encoding=encoding),
        width=width,
        color_system=None,
        force_terminal=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _headline(diagnosis: Facts, glyphs: Glyphs) -> list[RenderableType]:
    verdict = diagnosis.verdict
    return [
        Text.assemble(
            (f"{glyphs.signs[verdict]} {say(verdict)}", STYLES[verdict]),
            "  ",
            (glyphs.printable(diagnosis.model), "bold"),
            f" {glyphs.dot} {tally(diagnosis.findings)}",
            overflow="fold",
        )
    ]


def _cause_block(cause: Cause, glyphs: Glyphs, width: int) -> list[RenderableType]:
    finding = cause.finding
    heading = Text.assemble(
        (f"{glyphs.signs[finding.severity]} {finding.code}", STYLES[finding.severity]),
        " ",
        (glyphs.printable(finding.name), "bold"),
        f" {glyphs.dot} {say(finding.severity)}",
    )
    facts = _facts(
        [(say(label), glyphs.text(words)) for label, words in _cause_facts(finding) if words]
        + [
            (say("explains") if number == 0 else "", _symptom(symptom, glyphs, width - INDENT - LABEL_WIDTH))
            for number, symptom in enumerate(cause.symptoms)
        ]
    )
    return [heading, _indented(glyphs.text(say(finding.message))), _indented(facts)]


def _cause_facts(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "where", places(finding.where)
    yield "measured", measured_against(finding)
    yield "cause", say(finding.cause)
    yield "because", finding.because or ""
    yield "tested", "" if finding.proof is None else proof_sentence(finding.proof, finding.unit)
    yield "remedy", say(finding.remedy.text)
    yield "code", suggestion(finding.remedy)


def _symptom(finding: Finding, glyphs: Glyphs, width: int) -> Text:
    code = f"{glyphs.signs[finding.severity]} {finding.code}"
    words = glyphs.printable(f"{finding.name}: {measured_against(finding) or say(finding.message)}")
    return Text.assemble((code, STYLES[finding.severity]), " ", glyphs.cut(words, width - len(code) - 1))


def _layers(diagnosis: Facts, glyphs: Glyphs, width: int) -> list[RenderableType]:
    if not diagnosis.layers:
        return []
    return [
        Text.assemble((say("Layers"), "bold"), ", ", say("root mean squares at their outputs")),
        _indented(layer_strip(diagnosis.layers, glyphs, width=width - INDENT)),
        _indented(Text(strip_caption(diagnosis.layers), style="dim")),
    ]


def _list(title: str, rows: Iterable[tuple[str, str]], glyphs: Glyphs) -> list[RenderableType]:
    facts = [(glyphs.printable(label), glyphs.text(words)) for label, words in rows]
    return [Text(say(title), style="bold"), _indented(_facts(facts))] if facts else []


def _trial(diagnosis: Facts) -> list[tuple[str, str]]:
    return [] if diagnosis.trial is None else [(say("result"), trial_sentence(diagnosis.trial))]


def _jacobian(diagnosis: Facts) -> list[tuple[str, str]]:
    return [] if diagnosis.jacobian is None else jacobian_rows(diagnosis.jacobian)


def _footer(diagnosis: Facts, glyphs: Glyphs) -> list[RenderableType]:
    parts = (loss_sentence(diagnosis), say("seed {seed}", seed=diagnosis.seed), cost_sentence(diagnosis.cost))
    return [glyphs.text(f" {glyphs.dot} ".join(parts), style="dim")]


def _facts(rows: Iterable[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, words in rows:
        grid.add_row(Text(label), words)
    return grid


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, INDENT))
