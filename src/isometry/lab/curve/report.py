"""A curve in words, as a table for the terminal, and as a picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isometry._phrases import Phrase
from isometry.lab.curve.family import Axis
from isometry.lab.curve.reading import Difference
from isometry.lab.figure import Figure, Series
from isometry.report.glyphs import ASCII, glyphs_for
from isometry.report.language import say
from isometry.report.numerals import counted, duration
from isometry.report.spoken import SpokenReport

if TYPE_CHECKING:
    from isometry.lab.curve.result import Curve, Gain

DRAWN = Phrase("seeds, each with its own draw of what is learnt, and held-out examples")
NOT_DRAWN = Phrase("seeds and held-out examples, not over other examples to learn")
AXES: Mapping[Axis, Phrase] = {"width": Phrase("width"), "epochs": Phrase("epochs"), "samples": Phrase("examples")}


@dataclass(frozen=True, slots=True)
class CurveReport(SpokenReport):
    """The rich renderable of a curve."""

    found: "Curve"
    lang: str = "en"

    def _parts(self, options: ConsoleOptions) -> RenderResult:
        found, glyphs = self.found, glyphs_for(options.encoding)
        yield Text.assemble((say("Where on the curve"), "bold"), ": ", glyphs.printable(say(found.meaning)))
        for sentence in sentences(found):
            yield Padding(glyphs.text(say(sentence)), (0, 0, 0, 2))
        yield Padding(_table(found), (1, 0, 1, 2))
        if found.gains:
            yield Padding(_gains(found), (0, 0, 1, 2))
        yield glyphs.text(_conditions(found), style="dim")


def meaning_of(curve: "Curve") -> Phrase:
    """Return what a curve says, in a sentence with its numbers."""
    last, lowest = curve.values[-1], curve.lowest
    match curve.course:
        case "peak":
            return _where(curve)
        case "falls":
            return Phrase(
                "no peak was seen: the test error falls, to {error} at {place}.",
                error=curve.told(lowest),
                place=curve.place(lowest),
            )
        case "rises":
            return Phrase(
                "no peak was seen, but the test error rises from {least} at {low} to {last} at {high}: if there is a "
                "peak it lies beyond. Give larger values to know.",
                least=curve.told(lowest),
                low=curve.place(lowest),
                last=curve.told(last),
                high=curve.place(last),
            )
        case "diverged":
            return Phrase("nothing can be said: training diverged at most places. Give a smaller learning rate.")
        case "flat":
            return Phrase(
                "nothing can be said: the test errors, {low} to {high}, differ by no more than noise. Give more "
                "held-out examples, more seeds, or values that lie farther apart.",
                low=curve.amount(min(curve.test_error)),
                high=curve.amount(max(curve.test_error)),
            )


def sentences(curve: "Curve") -> Iterator[Phrase]:
    """Yield what else a curve says: where everything is fitted, what is best, and what is better than here."""
    if curve.diverged:
        yield Phrase(
            "Training diverged at {places}: answers are no numbers there, or losses far above the first.",
            places=", ".join(say(curve.place(value)) for value in curve.diverged),
        )
    yield _fitted(curve)
    if curve.course in {"flat", "diverged"}:
        return
    yield Phrase(
        "The lowest test error is {error} at {place}.", error=curve.told(curve.lowest), place=curve.place(curve.lowest)
    )
    if curve.current is not None and curve.current != curve.values[-1]:
        here = curve.place(curve.current)
        if curve.better is None:
            yield Phrase("No larger value that was tried is surely better than {here}.", here=here)
        else:
            yield Phrase(
                "Surely better than {here} is {place}: {error}.",
                here=here,
                place=curve.place(curve.better),
                error=curve.told(curve.better),
            )


def curve_figure(curve: "Curve") -> Figure:
    """Return the errors over the values, with the places that count."""
    factor, y_axis = (1.0, "error, variances of the targets") if curve.kind == "numbers" else (100.0, "error, %")
    lines = {"test, at the end": curve.test_error, "test, at its best epoch": curve.best_error}
    if curve.over == "epochs":
        lines.popitem()
    lines["training"] = curve.train_error
    ends = [(error - noise, error + noise) for error, noise in zip(curve.test_error, curve.noise, strict=True)]
    band = Series(
        name="test, at the end",
        x=curve.values,
        y=[factor * low for low, _ in ends],
        upper=[factor * high for _, high in ends],
        mark="band",
    )
    words: dict[int, str] = {} if curve.threshold is None else {curve.threshold: "fitted"}
    if curve.current is not None:
        words[curve.current] = "here, fitted" if curve.current == curve.threshold else "here"
    return Figure(
        key=f"curve-over-{curve.over}",
        title=Phrase("Errors over {axis}", axis=AXES[curve.over]),
        x_axis=AXES[curve.over],
        y_axis=y_axis,
        x_scale="log",
        series=(
            band,
            *(Series(name=name, x=curve.values, y=[factor * each for each in line]) for name, line in lines.items()),
        ),
        x_marks=tuple((float(place), word) for place, word in words.items()),
    )


def _where(curve: "Curve") -> Phrase:
    assert curve.peak is not None, "this curve has a peak"
    values = {"peak": curve.place(curve.peak), "high": curve.told(curve.peak)}
    if curve.current is None:
        return Phrase("the test error has its peak at {peak}: {high}.", **values)
    values |= {"here": curve.place(curve.current), "error": curve.told(curve.current)}
    match curve.position:
        case "before":
            return Phrase("{here} is before the peak: {error}, and {high} at {peak}.", **values)
        case "after":
            return Phrase("{here} is behind the peak: {error}, and {high} at {peak}.", **values)
        case _:
            return Phrase("{here} is at the peak: {error}.", here=values["here"], error=values["error"])


def _fitted(curve: "Curve") -> Phrase:
    least = curve.amount(min(curve.train_error))
    if curve.threshold is None:
        return Phrase("Nowhere is everything fitted: the training error is at least {least}.", least=least)
    place = curve.place(curve.threshold)
    if curve.over == "samples":
        return Phrase("Up to {place} everything is fitted.", place=place)
    return Phrase("From {place} on everything is fitted.", place=place)


def _table(curve: "Curve") -> Table:
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    headings = [say(AXES[curve.over]), say("training"), say("test, at the end"), say("noise")]
    if curve.over != "epochs":
        headings += [say("at its best epoch"), say("epoch")]
    for heading in headings:
        table.add_column(heading, justify="right", vertical="bottom")
    for place, value in enumerate(curve.values):
        shown = [curve.train_error[place], curve.test_error[place], curve.noise[place]]
        cells = [str(value), *map(curve.amount, shown)]
        if curve.over != "epochs":
            cells += [curve.amount(curve.best_error[place]), f"{curve.best_epoch[place]:.0f}"]
        table.add_row(*cells, style="bold" if value == curve.current else "")
    return table


def _gains(curve: "Curve") -> Table:
    assert curve.current is not None, "gains are of the current place"
    table = Table(box=ASCII.head_line(), show_edge=False, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(say("remedy at {here}", here=curve.place(curve.current)))
    table.add_column(say("test error"), justify="right")
    table.add_column(say("change"))
    for gain in curve.gains:
        table.add_row(say(_remedy(curve, gain)), curve.amount(gain.error), say(_change(curve, gain.lower)))
    return table


def _remedy(curve: "Curve", gain: "Gain") -> Phrase:
    if gain.decay is None:
        epoch = curve.best_epoch[curve.values.index(curve.current or 0)]
        return Phrase("stop at about epoch {epoch:.0f}", epoch=epoch)
    return Phrase("weight decay {decay:g}", decay=gain.decay)


def _change(curve: "Curve", lower: Difference) -> Phrase:
    values = {"amount": curve.amount(abs(lower.mean)), "noise": curve.amount(lower.error)}
    if lower.is_sure:
        return Phrase("lower by {amount}, noise {noise}", **values)
    if Difference(-lower.mean, lower.error).is_sure:
        return Phrase("higher by {amount}, noise {noise}", **values)
    return Phrase("none beyond noise")


def _conditions(curve: "Curve") -> str:
    return say(
        "{train} examples learnt, {test} held out, {seeds}, {epochs} of {optimizer} on {loss}, {time}; noise is a "
        "standard error over {over}, and sure is what lies beyond three of it",
        train=curve.num_train,
        test=curve.num_test,
        seeds=say("{count} seeds", count=curve.num_seeds),
        over=say(DRAWN if curve.over == "samples" else NOT_DRAWN),
        epochs=counted(curve.num_epochs, "epoch"),
        optimizer=curve.optimizer,
        loss=say(curve.loss),
        time=duration(curve.seconds),
    )
