"""The value RateBound: a learning rate beside the largest stable one, with what it means in words."""

import math
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.report.glyphs import Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import duration, numeral
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import plain_text

EDGE = 1.2  # times the bound; full-batch training in its midst hovers up to there: Cohen et al. 2021, arXiv:2103.00065


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBound:
    """A learning rate beside the bound of stability.

    Attributes:
        curvature: Largest eigenvalue of the Hessian, as the optimiser's preconditioner sees it, in the unit of the
            inverse learning rate; 0 where no direction curves upwards.
        rate: The learning rate of the first group that moves; above 0.
        bound: The rate at which the first direction would begin to grow, all groups changed alike; may be infinite.
        optimizer: The optimiser and its settings, in words.
        examples: Examples in the batch, counts; None if the batch was used as given.
        warm_up: Steps on a copy before the measurement, counts.
        groups: Groups of parameters, counts; 1 also for several with the same rate.
        seconds: How long it took.
    """

    curvature: float
    rate: float
    bound: float
    optimizer: str
    examples: int | None
    warm_up: int
    groups: int
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
        if math.isinf(self.bound):
            return Phrase("no direction curves upwards here, so that curvature sets the rate no bound")
        if self.groups > 1:
            return _verdict_of_groups(self)
        if self.is_stable:
            return Phrase(
                "the rate {rate:.3g} is stable here: the bound is {bound:.3g}", rate=self.rate, bound=self.bound
            )
        if self.ratio <= EDGE:
            return Phrase(
                "the rate {rate:.3g} is {ratio:.4g} times the bound {bound:.3g}: at the edge of stability. In its "
                "midst a training hovers there by itself; at its start take half",
                rate=self.rate,
                ratio=self.ratio,
                bound=self.bound,
            )
        return Phrase(
            "the rate {rate:.3g} is {ratio:.4g} times the bound {bound:.3g}: steps along the sharpest direction grow "
            "until the loss has found a flatter place, as it does with batch norm, or left for good; warm up, or race "
            "it against {below:.2g}",
            rate=self.rate,
            ratio=self.ratio,
            bound=self.bound,
            below=_rounded_down(self.bound),
        )

    def __rich__(self) -> "RateReport":
        return RateReport(self)

    def __str__(self) -> str:
        return plain_text(RateReport(self), width=80, encoding="utf-8")


def _verdict_of_groups(found: RateBound) -> Phrase:
    """Return what the ratio means for rates of several groups, of which none is to blame alone."""
    if found.is_stable:
        return Phrase(
            "the rates of the {groups} groups are stable here: the bound is all of them times {share:.3g}",
            groups=found.groups,
            share=1 / found.ratio,
        )
    if found.ratio <= EDGE:
        return Phrase(
            "the rates of the {groups} groups are {ratio:.4g} times the bound: at the edge of stability. In its midst "
            "a training hovers there by itself; at its start take half of each",
            groups=found.groups,
            ratio=found.ratio,
        )
    return Phrase(
        "the rates of the {groups} groups are {ratio:.4g} times the bound: steps along the sharpest direction grow "
        "until the loss has found a flatter place, as it does with batch norm, or left for good; warm up, or race them "
        "against all groups times {share:.2g}",
        groups=found.groups,
        ratio=found.ratio,
        share=_rounded_down(1 / found.ratio),
    )


def _rounded_down(bound: float) -> float:
    """Return a bound with two digits and not above it: what is proposed must not be what is condemned."""
    return float(Context(prec=2, rounding=ROUND_DOWN).create_decimal_from_float(bound))


@dataclass(frozen=True, slots=True)
class RateReport(SpokenReport):
    """The rich renderable of a bound."""

    found: RateBound
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs = self.found, glyphs_for(options.encoding)
        style = "bold green" if found.is_stable else "bold yellow"
        yield Text.assemble((say("Learning rate"), "bold"), ": ", (glyphs.printable(say(found.verdict)), style))
        yield Padding(_facts(found, glyphs), (0, 0, 0, 2))


def _facts(found: RateBound, glyphs: Glyphs) -> Table:
    rows = (
        ("optimiser", found.optimizer),
        ("rate", _rate(found)),
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


def _rate(found: RateBound) -> str:
    rate = numeral(found.rate)
    return rate if found.groups == 1 else say("{rate}, the first of {count} groups", rate=rate, count=found.groups)


def _conditions(found: RateBound) -> str:
    return say(
        "on {batch}, after {steps} steps on a copy, in {time}",
        batch="the given batch" if found.examples is None else say("a batch of {count}", count=found.examples),
        steps=found.warm_up,
        time=duration(found.seconds),
    )
