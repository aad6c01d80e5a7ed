"""The value Suspects: labels that are likely wrong, and how the network came to doubt them."""

from collections import Counter
from dataclasses import dataclass

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.report.glyphs import ASCII, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import duration, percentage
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import plain_text

MAX_ROWS = 10  # of the table
MAX_PAIRS = 3  # of classes that are named


@dataclass(frozen=True, slots=True)
class Suspect:
    """One label that is more likely wrong than right.

    Attributes:
        row: Which example of the data set.
        given: Its class by its label.
        suggested: Its class by the networks that have not learned it.
        rank: Share of the suggested class's own examples that are at least as clearly not of the given class, in
            (0, 1]; the smaller, the surer.
    """

    row: int
    given: int
    suggested: int
    rank: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """What was found out about the labels of a data set.

    Attributes:
        suspects: Labels that are more likely wrong than right, the most doubtful first.
        ranking: All examples, the most doubtful first: suspects, other contradicted labels, then the rest.
        noise_rate: Estimated share of wrong labels, in [0, 1]; None if the networks learnt too little to judge.
        agreement: Share of the labels that the networks gave too, of examples they had not learned, in [0, 1].
        epochs: Epochs whose answers were averaged, counts.
        tried: Epochs that were made, counts.
        folds: Copies that were trained, counts.
        optimizer: The optimiser and its settings, in words.
        loss: The loss, by its name.
        seconds: How long it took.
    """

    suspects: tuple[Suspect, ...]
    ranking: tuple[int, ...]
    noise_rate: float | None
    agreement: float
    epochs: int
    tried: int
    folds: int
    optimizer: str
    loss: str
    seconds: float

    @property
    def pairs(self) -> tuple[tuple[int, int, int], ...]:
        """Given class, suggested class and the number of suspects with both, the most frequent first."""
        counts = Counter((each.given, each.suggested) for each in self.suspects)
        return tuple((given, suggested, count) for (given, suggested), count in counts.most_common())

    @property
    def meaning(self) -> Phrase:
        """What was found, in a sentence."""
        if self.noise_rate is None:
            return Phrase(
                "nothing can be said: on examples it has not learned the network agrees with {agreement} of the "
                "labels, hardly more than by chance, in {epochs} epochs of {optimizer}. Give max_epochs or an "
                "optimiser with a higher rate, or start with isometry check.",
                agreement=percentage(self.agreement),
                epochs=self.tried,
                optimizer=self.optimizer,
            )
        return Phrase(
            "{count} of {total} labels are more likely wrong than right; estimated share of wrong labels: {rate}",
            count=len(self.suspects),
            total=len(self.ranking),
            rate=percentage(self.noise_rate),
        )

    def __rich__(self) -> "SuspectsReport":
        return SuspectsReport(self)

    def __str__(self) -> str:
        return plain_text(SuspectsReport(self), width=80, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class SuspectsReport(SpokenReport):
    """The rich renderable of doubtful labels."""

    found: Suspects
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs = self.found, glyphs_for(options.encoding)
        yield Text.assemble((say("Labels"), "bold"), ": ", glyphs.printable(say(found.meaning)))
        if found.suspects:
            yield Padding(_table(found), (1, 0, 1, 2))
            yield glyphs.text(_most_frequent(found))
        yield glyphs.text(_conditions(found), style="dim")


def _table(found: Suspects) -> Table:
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("example", "given class", "suggested class", "rank"):
        table.add_column(say(column), justify="right", no_wrap=True)
    for each in found.suspects[:MAX_ROWS]:
        table.add_row(str(each.row), str(each.given), str(each.suggested), f"{each.rank:.3f}")
    if len(found.suspects) > MAX_ROWS:
        table.add_row(say("{count} more", count=len(found.suspects) - MAX_ROWS))
    return table


def _most_frequent(found: Suspects) -> str:
    pairs = [
        say("{given} for {suggested} ({count} times)", given=given, suggested=suggested, count=count)
        for given, suggested, count in found.pairs[:MAX_PAIRS]
    ]
    return say("Most frequent: {pairs}", pairs=", ".join(pairs))


def _conditions(found: Suspects) -> str:
    return say(
        "{folds} folds, answers of {epochs} epochs with {optimizer} on {loss}; they agree with {agreement} of the "
        "labels; {time}",
        folds=found.folds,
        epochs=found.epochs,
        optimizer=found.optimizer,
        loss=say(found.loss),
        agreement=percentage(found.agreement),
        time=duration(found.seconds),
    )
