"""The value Memorisation: how fast a network fits its targets and random ones, and what that means in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.report.glyphs import ASCII, Glyphs, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import counted, duration, percentage
from isometry.report.race import spread
from isometry.report.spoken import SpokenReport
from isometry.report.terminal import plain_text
from isometry.training.labels.answers import Kind

FITTED: Mapping[Kind, float] = {"classes": 0.99, "labels": 0.99, "numbers": 0.95}  # of the constant answer's error
SLOWER = 1.5  # times as many epochs; targets that are all at random differ by less: benchmarks/memorise.md
MAX_ROWS = 10  # of the table

End = Literal["fitted", "standing still", "not finite", "out of epochs", "out of time"]
Verdict = Literal["memorises", "only-memorises", "limited", "undecided", "cannot-fit"]

_ENDS: Mapping[End, Phrase] = {
    "standing still": Phrase("and no more come"),
    "not finite": Phrase("then the loss is not finite"),
    "out of epochs": Phrase("and more may come"),
    "out of time": Phrase("and more may come; time was up"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCurve:
    """How well a network fitted its targets, epoch by epoch.

    Attributes:
        fits: Share of the best constant answer's error that was gone, before any epoch and after each, at most 1.
        end: Why there are no more: the last is a fit, they stood still, a loss was not finite, or a limit was reached.
    """

    fits: tuple[float, ...]
    end: End

    @property
    def is_fitted(self) -> bool:
        """Whether the last of them is a fit."""
        return self.end == "fitted"

    @property
    def epochs(self) -> int:
        """Epochs that were made, counts."""
        return len(self.fits) - 1

    @property
    def told(self) -> str:
        """The last fit as a percentage; worse than constant answers is none."""
        return percentage(max(self.fits[-1], 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Memorisation:
    """What the random-label test showed.

    Attributes:
        true: The course with the targets as they are.
        random: The course with a share of them dealt out anew.
        kind: Whether the targets are classes, labels that are on or off, or numbers.
        share: Share of the targets that was dealt out anew, in (0, 1].
        num_examples: Examples in each course, counts.
        max_epochs: Most epochs of each course, counts.
        optimizer: The optimiser and its settings, in words.
        loss: The loss, by its name.
        seed: Seed of examples, order and deal.
        seconds: How long the test took.
    """

    true: FitCurve
    random: FitCurve
    kind: Kind
    share: float
    num_examples: int
    max_epochs: int
    optimizer: str
    loss: str
    seed: int
    seconds: float

    @property
    def ratio(self) -> float | None:
        """Epochs to fit the random targets over epochs to fit the true ones; None where either was not fitted."""
        if not self.true.is_fitted or not self.random.is_fitted:
            return None
        return self.random.epochs / max(self.true.epochs, 1)

    @property
    def verdict(self) -> Verdict:
        """What the two courses say of the network."""
        if not self.true.is_fitted:
            return "cannot-fit"
        if self.ratio is None:
            return "limited" if self.random.end == "standing still" else "undecided"
        return "memorises" if self.ratio >= SLOWER else "only-memorises"

    @property
    def meaning(self) -> Phrase:
        """The verdict with its numbers, in a sentence."""
        true, random = self.true, self.random
        match self.verdict:
            case "memorises":
                return Phrase(
                    "memorises: it fits random targets in {random} epochs, {ratio:.2g} times as many as the true ones "
                    "take. Its capacity is no limit: what it does on new examples hangs on regularisation and on when "
                    "it stops.",
                    random=random.epochs,
                    ratio=self.ratio,
                )
            case "only-memorises":
                return Phrase(
                    "memorises its true targets too: they take {true} epochs and random ones {random}. Either many "
                    "targets are wrong or in the wrong order, or the inputs do not tell them: compare a few pairs by "
                    "eye, then iso.find_mislabelled.",
                    true=true.epochs,
                    random=random.epochs,
                )
            case "limited":
                return Phrase(
                    "fits its true targets in {true} epochs, but random ones not within {random} of {optimizer}: with "
                    "{fit} of them fitted neither the fit nor the loss moves on. Another rate or optimiser may get "
                    "further: give optimizer_factory.",
                    true=true.epochs,
                    random=random.epochs,
                    optimizer=self.optimizer,
                    fit=random.told,
                )
            case "undecided":
                return Phrase(
                    "fits its true targets in {true} epochs, but random ones not within {random}: {fit} of them are "
                    "fitted, {end}. Give max_epochs and max_seconds to know whether it ever does.",
                    true=true.epochs,
                    random=random.epochs,
                    fit=random.told,
                    end=_ENDS[random.end],
                )
            case "cannot-fit":
                return _unfitted(true)

    def __rich__(self) -> "MemorisationReport":
        return MemorisationReport(self)

    def __str__(self) -> str:
        return plain_text(MemorisationReport(self), width=80, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class MemorisationReport(SpokenReport):
    """The rich renderable of a random-label test."""

    found: Memorisation
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs = self.found, glyphs_for(options.encoding)
        yield Text.assemble((say("Random-label test"), "bold"), ": ", glyphs.printable(say(found.meaning)))
        yield Padding(_table(found), (1, 0, 1, 2))
        yield glyphs.text(_conditions(found, glyphs), style="dim")


def _unfitted(true: FitCurve) -> Phrase:
    return Phrase(
        "cannot fit even its true targets: after {epochs} epochs {fit} of them are fitted, {end}. It may be too small, "
        "need longer, or not train at all: isometry check.",
        epochs=true.epochs,
        fit=true.told,
        end=_ENDS[true.end],
    )


def _table(found: Memorisation) -> Table:
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("epoch", "true targets", "random targets"):
        table.add_column(say(column), justify="right", no_wrap=True)
    for epoch in spread(range(max(found.true.epochs, found.random.epochs) + 1), MAX_ROWS):
        table.add_row(str(epoch), _cell(found.true, epoch), _cell(found.random, epoch))
    return table


def _cell(curve: FitCurve, epoch: int) -> str:
    """Return the fit after an epoch; after the last, that of the last if it was a fit."""
    if epoch <= curve.epochs:
        return percentage(max(curve.fits[epoch], 0.0))
    return say("fitted") if curve.is_fitted else ""


def _conditions(found: Memorisation, glyphs: Glyphs) -> str:
    words = say(
        "share of the best constant answer's mistakes that are gone; {count} examples, {share} of the targets dealt "
        "out anew, at most {epochs} of {optimizer} on {loss}, seed {seed}, {time}",
        count=found.num_examples,
        share=percentage(found.share),
        epochs=counted(found.max_epochs, "epoch"),
        optimizer=found.optimizer,
        loss=say(found.loss),
        seed=found.seed,
        time=duration(found.seconds),
    )
    return glyphs.printable(words)
