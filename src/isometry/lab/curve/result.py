"""The value Curve: a family's errors over width, epochs or samples, and what they say of one member."""

from dataclasses import dataclass
from typing import Literal

from isometry._phrases import Phrase
from isometry.lab.curve.family import Axis
from isometry.lab.curve.reading import Course, Difference, Position
from isometry.lab.curve.report import CurveReport, curve_figure, meaning_of
from isometry.lab.figure import Figure
from isometry.report.numerals import numeral, percentage
from isometry.report.terminal import plain_text
from isometry.training.labels.answers import Kind

Verdict = Literal["before", "at", "after", "no-peak"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What a remedy was measured to bring at the current place.

    Attributes:
        decay: Of the weights in each step, times the rate, dimensionless; None for a stop at the best epoch.
        error: The test error with it.
        lower: By how much that is lower than without.
    """

    decay: float | None
    error: float
    lower: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Where a family of models stands on the curve of its test error.

    Errors are shares of wrong answers; of numbers, mean squares over the variance of all targets to learn.

    Attributes:
        over: `width`, `epochs` or `samples`.
        values: Widths, epochs or examples that were tried, growing, counts.
        train_error: At each, the mean over seeds.
        test_error: Likewise, at the end of training.
        best_error: Likewise, at the best epoch up to there, which half of the held-out examples chose for the other.
        best_epoch: Of each, the mean, counts.
        noise: Standard error of each test error, over seeds and held-out examples.
        diverged: Values at which training diverged with a seed or more: answers that are no numbers, or losses that
            are far above the first.
        course: Whether the test error has a peak, falls, rises, or differs by no more than noise; `diverged` where
            training did at most values.
        threshold: The first value at which everything is fitted, over samples the last; None if there is none.
        peak: The value with the highest peak; None without one.
        current: The value that was asked about; None without.
        position: On which side of the peak that is; None without either.
        better: The nearest value above the current one that is surely better than it; None without.
        gains: What remedies bring at the current value, a stop at the best epoch first; none without one.
        kind: Whether the targets are classes, labels that are on or off, or numbers.
        num_epochs: Each was trained for, counts.
        num_train: Examples that were learnt, counts; over samples the most.
        num_test: Examples that were held out, counts.
        num_seeds: Counts.
        optimizer: The optimiser and its settings, in words.
        loss: The loss, by its name.
        seconds: How long all took.
    """

    over: Axis
    values: tuple[int, ...]
    train_error: tuple[float, ...]
    test_error: tuple[float, ...]
    best_error: tuple[float, ...]
    best_epoch: tuple[float, ...]
    noise: tuple[float, ...]
    diverged: tuple[int, ...]
    course: Course
    threshold: int | None
    peak: int | None
    current: int | None
    position: Position | None
    better: int | None
    gains: tuple[Gain, ...]
    kind: Kind
    num_epochs: int
    num_train: int
    num_test: int
    num_seeds: int
    optimizer: str
    loss: str
    seconds: float

    @property
    def verdict(self) -> Verdict | None:
        """The side of the peak, or that there is none; None where there is a peak and no current value."""
        return self.position if self.peak is not None else "no-peak"

    @property
    def meaning(self) -> Phrase:
        """What the curve says, in a sentence with its numbers."""
        return meaning_of(self)

    @property
    def lowest(self) -> int:
        """The value with the lowest test error."""
        return self.values[self.test_error.index(min(self.test_error))]

    def place(self, value: int) -> Phrase:
        """Return a value with what it counts."""
        match self.over:
            case "width":
                return Phrase("width {value}", value=value)
            case "epochs":
                return Phrase("epoch {value}", value=value)
            case "samples":
                return Phrase("{value} examples", value=value)

    def told(self, value: int) -> str:
        """Return the test error at a value."""
        return self.amount(self.test_error[self.values.index(value)])

    def amount(self, error: float) -> str:
        """Return an error as a percentage, or of numbers as it is."""
        return numeral(error) if self.kind == "numbers" else percentage(error)

    def __rich__(self) -> CurveReport:
        return CurveReport(self)

    def __str__(self) -> str:
        return plain_text(CurveReport(self), width=80, encoding="utf-8")

    @property
    def figure(self) -> Figure:
        """The errors over the values as a picture, which `isometry.lab.save_png` draws."""
        return curve_figure(self)
