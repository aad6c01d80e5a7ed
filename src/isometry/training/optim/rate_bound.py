"""The value RateBound: a learning rate beside the largest stable one, with what it means in words."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.report.glyphs import Glyphs, glyphs_for
from isometry.report.language import say, speaking
from isometry.report.numerals import duration, numeral
from isometry.report.terminal import plain_text

EDGE = 1.2  # times the bound; full-batch training in its midst was seen up to there: benchmarks/rate_bound.md


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBound:
    """A learning rate beside the bound of stability.

    Attributes:
        curvature: Largest eigenvalue of the Hessian, as the optimiser's preconditioner sees it, in the unit of the
            inverse learning rate; 0 where no direction curves upwards.
        rate: The learning rate of the first group.
        bound: The rate at which the first direction would begin to grow, all groups changed alike; may be infinite.
        optimizer: The optimiser and its settings, in words.
        examples: Examples in the batch, counts; None if the batch was used as given.
        warm_up: Steps on a copy before the measurement, counts.
        seconds: How long it took.
    """

    curvature: float
    rate: float
    bound: float
    optimizer: str
    examples: int | None
    warm_up: int
    seconds: float

    @property
    def ratio(self) -> float:
        """Rate over bound, dimensionless."""
        return self.rate / self.bound

    @property
    def is_stable(self) -> bool:
        """Whether the rate is at most the bound."""
        return self.rate <= self.bound

    @property
    def verdict(self) -> Phrase:
        """What the ratio means, in a sentence."""
        if self.ratio == 0:
            return Phrase("no direction curves upwards here, so that curvature sets the rate no bound")
        if self.is_stable:
            return Phrase(
                "the rate {rate:.3g} is stable here: the bound is {bound:.3g}", rate=self.rate, bound=self.bound
            )
        if self.ratio <= EDGE:
            return Phrase(
                "the rate {rate:.3g} is {ratio:.3g} times the bound {bound:.3g}: at the edge of stability. In its "
                "midst a training hovers there by itself; at its start take half",
                rate=self.rate,
                ratio=self.ratio,
                bound=self.bound,
            )
        return Phrase(
            "the rate {rate:.3g} is {ratio:.3g} times the bound {bound:.3g}: steps along the sharpest direction grow "
            "until the loss has found a flatter place or left for good; take {bound:.1g}, or warm up",
            rate=self.rate,
            ratio=self.ratio,
            bound=self.bound,
        )

    def __rich__(self) -> "RateReport":
        return RateReport(self)

    def __str__(self) -> str:
        return plain_text(RateReport(self), width=80, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class RateReport:
    """The rich renderable of a bound."""

    found: RateBound
    lang: str = "en"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with speaking(self.lang):
            yield from list(self._parts(options))  # all at once, so that nothing else is said in this language

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs = self.found, glyphs_for(options.encoding)
        style = "bold green" if found.is_stable else "bold yellow"
        yield Text.assemble((say("Learning rate"), "bold"), ": ", (glyphs.printable(say(found.verdict)), style))
        yield Padding(_facts(found, glyphs), (0, 0, 0, 2))


def _facts(found: RateBound, glyphs: Glyphs) -> Table:
    rows = (
        ("optimiser", found.optimizer),
        ("rate", numeral(found.rate)),
        ("largest curvature", numeral(found.curvature)),
        ("bound", numeral(found.bound)),
        ("rate / bound", numeral(found.ratio)),
        ("measured", _conditions(found)),
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, words in rows:
        grid.add_row(Text(say(label)), glyphs.text(words))
    return grid


def _conditions(found: RateBound) -> str:
    return say(
        "on {batch}, after {steps} steps on a copy, in {time}",
        batch="the given batch" if found.examples is None else say("a batch of {count}", count=found.examples),
        steps=found.warm_up,
        time=duration(found.seconds),
    )
