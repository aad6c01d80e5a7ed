"""What replayed stopping rules would have kept, as values and as a table."""

import statistics
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from isometry._console import printable
from isometry._phrases import Phrase
from isometry._registry import Registry
from isometry.planning.plan_table import as_html, as_text
from isometry.probes.running.readings import Evaluation
from isometry.report.language import say
from isometry.report.numerals import numeral


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one rule makes of one recording.

    Attributes:
        kept: The evaluation whose weights would be kept.
        stopped: The evaluation after which it stops, or the last one.
        budget: Share of the recorded steps until then, in [0, 1].
        score: Of the kept weights, in the metric's unit.
        reason: Why it stops; empty if it does not.
    """

    kept: Evaluation
    stopped: Evaluation
    budget: float
    score: float
    reason: Phrase


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What one rule makes of all recordings.

    Attributes:
        rule: Its name in the table.
        outcomes: One for each recording.
    """

    rule: str
    outcomes: tuple[Outcome, ...]

    @property
    def score(self) -> float:
        """Mean score of the kept weights over the recordings."""
        return statistics.fmean(each.score for each in self.outcomes)

    @property
    def spread(self) -> float:
        """Standard deviation of that over the recordings; 0 for a single one."""
        return statistics.stdev(scores) if len(scores := [each.score for each in self.outcomes]) > 1 else 0.0

    @property
    def budget(self) -> float:
        """Mean share of the recorded steps that was used, in [0, 1]."""
        return statistics.fmean(each.budget for each in self.outcomes)

    @property
    def num_stops(self) -> int:
        """Recordings in which the rule stopped, counts."""
        return sum(bool(each.reason) for each in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Stopping rules compared on the same recordings; print it for a table.

    Attributes:
        score: The metric that tells how good kept weights are.
        sign: 1 where less of it is better, -1 where more is.
        rows: One for each rule, in the order given.
        last: What training to the end without any rule leaves.
        oracle: The best evaluation there was, which no rule can know.
    """

    score: str
    sign: int
    rows: tuple[RuleRow, ...]
    last: RuleRow
    oracle: RuleRow

    def gained(self, row: RuleRow) -> float:
        """Return by how much what a rule keeps is better than the last weights; negative where stopping cost something.

        Args:
            row: One of the rows.
        """
        return self.sign * (self.last.score - row.score)

    def missed(self, row: RuleRow) -> float:
        """Return by how much what a rule keeps is worse than the best there was.

        Args:
            row: One of the rows.
        """
        return self.sign * (row.score - self.oracle.score)

    def __getitem__(self, rule: str) -> RuleRow:
        """Return a row by its name; of two rows with one name the first."""
        named = Registry[RuleRow]("replayed rule")
        for row in self.rows:
            if row.rule not in named:
                named.add(row.rule)(row)
        return named[rule]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        count = len(self.last.outcomes)
        table = Table(box=None, pad_edge=False)
        table.add_column(say("rule"), overflow="fold")
        for heading in (self.score, say("gained on the last"), say("short of the best"), say("budget used")):
            table.add_column(printable(heading), justify="right")
        table.add_column(say("stopped because") if count == 1 else say("stops"), overflow="fold")
        table.add_row(*self._cells(self.last, say("none: the last weights")), "")
        table.add_row(*self._cells(self.oracle, say("none can: the best weights")), "")
        for row in self.rows:
            stops = say("{stops} of {count}", stops=row.num_stops, count=count)
            reason = say(row.outcomes[0].reason) if row.num_stops else say("it did not stop")
            table.add_row(*self._cells(row, row.rule), Text(printable(reason if count == 1 else stops)))
        yield table

    def _cells(self, row: RuleRow, name: str) -> list[Text]:
        spread = f" ± {numeral(row.spread, digits=2)}" if len(row.outcomes) > 1 else ""
        gained, missed = (value + 0.0 for value in (self.gained(row), self.missed(row)))  # no minus before a zero
        cells = [f"{numeral(row.score, digits=4)}{spread}", f"{gained:+.2g}", f"{missed:.2g}"]
        return [Text(printable(name)), *map(Text, cells), Text(f"{row.budget:.0%}")]

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)
