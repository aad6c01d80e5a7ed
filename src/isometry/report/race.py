"""A race of two networks as a table for the terminal: the sides beside each other, its own signs all ASCII."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry.probes.race_result import Evaluation, RaceResult, RaceSide
from isometry.report.glyphs import ASCII, Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import column_numeral, counted, duration, finite, percentage
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import plain_text

MAX_CHECKPOINTS = 12  # rows of the table; the first and the last look are always among them
MISSING = "-"
NOT_FINITE = "not finite"
CELL_WIDTH = 10  # cells of a loss or an accuracy
GAP = 3  # cells between columns

Checkpoint = tuple[int, Evaluation | None, Evaluation | None]


@dataclass(frozen=True, slots=True)
class RaceReport(SpokenReport):
    """The rich renderable of a race."""

    race: RaceResult
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        glyphs = glyphs_for(options.encoding)
        yield Text.assemble((say("Race"), "bold"), ": ", (glyphs.printable(winner_sentence(self.race)), "bold"))
        yield Padding(glyphs.text(say(self.race.reason)), (0, 0, 1, 2))
        yield Padding(_table(self.race, glyphs), (0, 0, 1, 2))
        for side in (self.race.first, self.race.second):
            yield Padding(glyphs.text(finals_sentence(side)), (0, 0, 0, 2))
        yield Text()
        yield glyphs.text(settings_sentence(self.race), style="dim")


def race_text(race: RaceResult, *, width: int = 80, encoding: str = "utf-8") -> str:
    """The table as plain text without colour.

    Args:
        race: What to report.
        width: Cells a line may take.
        encoding: Of the console the text is meant for; names are escaped where it is not UTF.

    Returns:
        Lines without trailing spaces and without a final line break.
    """
    return plain_text(RaceReport(race), width=width, encoding=encoding)


def winner_sentence(race: RaceResult) -> str:
    """Return who ended lower."""
    winners = {"first": race.first.name, "second": race.second.name}
    return say("{name} ended lower", name=winners[race.winner]) if race.winner in winners else say("no difference")


def finals_sentence(side: RaceSide) -> str:
    """Return the last losses of all repeats of one side."""
    losses = ", ".join(loss_numeral(loss) for loss in side.finals) or MISSING
    return say("final losses, {name}: {losses}", name=side.name, losses=losses)


def settings_sentence(race: RaceResult) -> str:
    """Return under which conditions both sides ran."""
    size, held_out = race.batch_size, race.held_out
    return say(
        "{steps} of {optimiser} on {batch}, {repeats} from seed {seed}, {judged}, {time}",
        steps=counted(race.steps, "step"),
        optimiser=race.optimiser,
        batch="the given batch" if size is None else say("batches of {count}", count=size),
        repeats=counted(race.repeats, "data order"),
        seed=race.seed,
        judged=say("{count} examples held out", count=held_out) if held_out else "judged on the training batch",
        time=duration(race.seconds),
    )


def checkpoints(race: RaceResult) -> tuple[Checkpoint, ...]:
    """Return at most `MAX_CHECKPOINTS` looks, spread evenly, with both sides' evaluations at the same step."""
    first = {evaluation.step: evaluation for evaluation in race.first.evaluations}
    second = {evaluation.step: evaluation for evaluation in race.second.evaluations}
    steps = spread(sorted(first.keys() | second.keys()), MAX_CHECKPOINTS)
    return tuple((step, first.get(step), second.get(step)) for step in steps)


def examples_of(race: RaceResult) -> str:
    """Return which examples the looks are taken on."""
    return say("{count} examples held out", count=race.held_out) if race.held_out else say("the training batch")


def has_accuracy(race: RaceResult) -> bool:
    """Return whether any look at either side has an accuracy."""
    looks = (*race.first.evaluations, *race.second.evaluations)
    return any(finite(look.accuracy) is not None for look in looks)


def loss_numeral(loss: float | None) -> str:
    """Return a loss, or the words for one that is not finite."""
    return say(NOT_FINITE) if finite(loss) is None or loss is None else column_numeral(loss, digits=3)


def accuracy_numeral(accuracy: float | None) -> str:
    """Return an accuracy as a percentage, or a dash."""
    return MISSING if finite(accuracy) is None or accuracy is None else percentage(accuracy)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the steps, evenly, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(number * (len(steps) - 1) / (most - 1))] for number in range(most)]


def _table(race: RaceResult, glyphs: Glyphs) -> Table:
    with_accuracy = has_accuracy(race)
    labels = say("loss").rjust(CELL_WIDTH) + (say("accuracy").rjust(CELL_WIDTH) if with_accuracy else "")
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    table.add_column(say("step"), justify="right", vertical="bottom", no_wrap=True)
    for side in (race.first, race.second):
        name = glyphs.shortened(side.name, len(labels)).rjust(len(labels))
        table.add_column(Text(f"{name}\n{labels}"), no_wrap=True)
    for step, first, second in checkpoints(race):
        table.add_row(Text(str(step)), *(Text(_cell(look, with_accuracy=with_accuracy)) for look in (first, second)))
    return table


def _cell(look: Evaluation | None, *, with_accuracy: bool) -> str:
    if look is None:
        return MISSING.rjust(CELL_WIDTH)
    accuracy = accuracy_numeral(look.accuracy).rjust(CELL_WIDTH) if with_accuracy else ""
    return loss_numeral(look.loss).rjust(CELL_WIDTH) + accuracy
