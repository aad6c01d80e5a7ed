"""A watched run for the terminal: how it stands, its loss, what went wrong, its layers; while it runs or afterwards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry.report.glyphs import STYLES, Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.outline import measured_against, places, suggestion
from isometry.report.run.chart import Mark, loss_chart
from isometry.report.run.course import layer_states, losses_of
from isometry.report.run.facts import RunFacts
from isometry.report.run.health import MAX_ROWS, health_table
from isometry.report.run.words import (
    Incident,
    fault_action,
    fault_cause,
    fault_sentence,
    incidents,
    metric_rows,
    progress_words,
    setting_words,
    sign_of,
    tally_words,
)
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import plain_text

INDENT = 2  # cells before what belongs to the line above
CHART_HEIGHT, LOW_CHART_HEIGHT = 5, 3  # lines of the loss
MAX_FULL, MAX_LOW_FULL = 3, 1  # incidents with cause and remedy; older ones take a line each
MAX_INCIDENTS, MAX_LOW_INCIDENTS = 12, 4  # of all; older ones are counted
LOW = 40  # lines; on a lower screen less is shown
MAX_METRICS = 8
MIN_LAYERS = 4  # lines of the table of layers, however low the window is


@dataclass(frozen=True, slots=True)
class RunView(SpokenReport):
    """The rich renderable of a run; it adapts to the console's width, height and encoding.

    Attributes:
        facts: The run so far.
        lang: The language, `en` or `vi`.
        height: Lines it may take, for a view that must stay on one screen; None for a whole report.
    """

    facts: RunFacts
    lang: str = "en"
    height: int | None = None

    @property
    def _is_low(self) -> bool:
        return self.height is not None and self.height < LOW

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        glyphs = glyphs_for(options.encoding)
        sections = [section for section in self._above(glyphs, options.max_width) if section]
        taken = sum(_height(section, options) for section in sections) + len(sections)
        most = MAX_ROWS if self.height is None else max(MIN_LAYERS, min(MAX_ROWS, self.height - taken - 3))
        sections.append(self._layers(glyphs, options.max_width, most))
        for number, section in enumerate(section for section in sections if section):
            if number:
                yield Text()
            yield from section

    def _above(self, glyphs: Glyphs, width: int) -> Iterator[list[RenderableType]]:
        yield self._headline(glyphs)
        yield self._loss(glyphs, width)
        yield self._evaluations(glyphs)
        yield self._story(glyphs, width)

    def _headline(self, glyphs: Glyphs) -> list[RenderableType]:
        facts = self.facts
        sign = sign_of(facts)
        separator = f" {glyphs.dot} "
        lines: list[RenderableType] = [
            Text.assemble(
                (f"{glyphs.signs[sign]} {say(facts.state)}", STYLES[sign]),
                "  ",
                (glyphs.printable(facts.name), "bold"),
                separator,
                glyphs.printable(separator.join(progress_words(facts))),
                overflow="fold",
            )
        ]
        if facts.reason:
            lines.append(_indented(glyphs.text(say(facts.reason))))
        lines.append(_indented(glyphs.text(separator.join(setting_words(facts)), style="dim")))
        return lines

    def _loss(self, glyphs: Glyphs, width: int) -> list[RenderableType]:
        losses = losses_of(self.facts.readings)
        if not losses:
            return [glyphs.text(say("No step was recorded yet."), style="dim")]
        marks = [_mark(incident, glyphs) for incident in incidents(self.facts)]
        lines = loss_chart(
            losses, glyphs, width=width - INDENT, height=LOW_CHART_HEIGHT if self._is_low else CHART_HEIGHT, marks=marks
        )
        return [Text(say("Loss"), style="bold"), *map(_indented, lines)]

    def _evaluations(self, glyphs: Glyphs) -> list[RenderableType]:
        rows = metric_rows(self.facts)
        if not rows:
            return []
        shown = [(glyphs.printable(name), glyphs.text(words)) for name, words in rows[:MAX_METRICS]]
        if len(rows) > MAX_METRICS:
            shown.append(("", Text(say("and {count} more", count=len(rows) - MAX_METRICS))))
        return [Text(say("Evaluations"), style="bold"), _indented(_grid(shown))]

    def _story(self, glyphs: Glyphs, width: int) -> list[RenderableType]:
        newest = incidents(self.facts)[::-1]
        if not newest:
            return [glyphs.text(say("Nothing to report: no rule has found anything."))]
        most, full = (MAX_LOW_INCIDENTS, MAX_LOW_FULL) if self._is_low else (MAX_INCIDENTS, MAX_FULL)
        parts: list[RenderableType] = [
            Text.assemble((say("Events, newest first"), "bold"), f": {', '.join(tally_words(self.facts))}")
        ]
        for number, incident in enumerate(newest[:most]):
            parts.append(_incident_line(incident, glyphs, width - INDENT))
            if number < full:
                parts.append(_indented(_indented(_details(incident, glyphs))))
        rest = len(newest) - most
        if rest > 0:
            parts.append(_indented(Text(say("and {count} more", count=rest), style="dim")))
        return parts

    def _layers(self, glyphs: Glyphs, width: int, most: int) -> list[RenderableType]:
        reading = next((reading for reading in reversed(self.facts.readings) if reading.layers), None)
        if reading is None:
            return []
        states = layer_states(reading, self.facts.events)
        has_shares = any(layer.dead_share is not None or layer.saturated_share is not None for layer in reading.layers)
        return [
            Text.assemble(
                (say("Layers at step {step}", step=reading.step), "bold"),
                ", ",
                say("RMS sizes, shares behind activations") if has_shares else say("sizes are root mean squares"),
            ),
            _indented(health_table(states, glyphs, width=width - INDENT, most=most)),
        ]


def run_text(facts: RunFacts, *, width: int = 80, encoding: str = "utf-8", lang: str = "en") -> str:
    """A run as plain text without colour.

    Args:
        facts: What to show.
        width: Cells a line may take.
        encoding: Of the console the text is meant for; any other than UTF gets ASCII.
        lang: The language, `en` or `vi`.

    Returns:
        Lines without trailing spaces and without a final line break.
    """
    return plain_text(RunView(facts, lang), width=width, encoding=encoding)


def print_run(facts: RunFacts, console: Console, *, lang: str = "en") -> None:
    """Print a run whole; where there is no terminal, without trailing spaces.

    Args:
        facts: What to show.
        console: Where to.
        lang: The language, `en` or `vi`.
    """
    if console.is_terminal:
        console.print(RunView(facts, lang))
        return
    text = run_text(facts, width=console.width, encoding=console.encoding, lang=lang)
    console.print(Text(text), soft_wrap=True)


def _height(parts: Sequence[RenderableType], options: ConsoleOptions) -> int:
    """Return how many lines some parts take, counts."""
    shown = plain_text(Group(*parts), width=options.max_width, encoding=options.encoding)
    return shown.count("\n") + 1


def _incident_line(incident: Incident, glyphs: Glyphs, width: int) -> RenderableType:
    """Return an event or a fault on one line: its step, what it is, how much."""
    sign, style = _sign(incident, glyphs)
    finding = incident.finding
    measured = "" if finding is None or incident.fault is not None else measured_against(finding)
    line = Text.assemble(
        (f"{sign} {incident.time}", style),
        "  ",
        (glyphs.printable(incident.title), "bold"),
        glyphs.printable(f": {measured}" if measured else ""),
    )
    line.truncate(width, overflow="crop" if glyphs.is_ascii else "ellipsis")
    return _indented(line)


def _details(incident: Incident, glyphs: Glyphs) -> Table:
    return _grid([(say(label), glyphs.text(words)) for label, words in _rows(incident) if words])


def _rows(incident: Incident) -> Iterator[tuple[str, str]]:
    finding, fault = incident.finding, incident.fault
    if finding is None:
        yield "cause", "" if fault is None else fault_sentence(fault)
        return
    yield "where", places(finding.where)
    yield "cause", say(finding.cause) if fault is None else fault_cause(fault)
    yield "because", finding.because or ""
    yield "done", "" if fault is None else fault_action(fault)
    yield "remedy", say(finding.remedy.text)
    yield "code", suggestion(finding.remedy)


def _mark(incident: Incident, glyphs: Glyphs) -> Mark:
    return (incident.step, *_sign(incident, glyphs))


def _sign(incident: Incident, glyphs: Glyphs) -> tuple[str, str]:
    return glyphs.signs[incident.severity], STYLES[incident.severity]


def _grid(rows: Sequence[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim", max_width=20)
    grid.add_column(overflow="fold")
    for label, words in rows:
        grid.add_row(Text(label), words)
    return grid


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, INDENT))
