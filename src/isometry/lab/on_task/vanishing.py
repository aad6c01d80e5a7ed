"""What each layer of somebody's own network does to the gradient, at its own start and at others."""

from collections.abc import Sequence
from dataclasses import dataclass

from isometry._phrases import Phrase
from isometry.findings.gradients import MAX_TOTAL_DECAY, MAX_TOTAL_GROWTH
from isometry.lab.apparatus.own_starts import (
    OWN,
    REPAIRED,
    STARTS,
    changes,
    courses_of_starts,
    figure_of_courses,
    worst,
)
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVanishingSettings:
    """Settings.

    Attributes:
        starts: `own`, `isometry` for what `isometry fix` writes, and names of recipes or schemes.
    """

    starts: tuple[str, ...] = STARTS


def measure(settings: OwnVanishingSettings, own: OwnTask, progress: Progress) -> Measured:
    """Follow gradient and signal through a copy at every start."""
    return courses_of_starts(own, settings.starts, progress)


def judge(settings: OwnVanishingSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the fall of the gradient from the last hidden layer to the first against the bounds of BWD101 and BWD102."""
    texts = {
        OWN: Phrase("from its own start the gradient neither vanishes nor explodes (BWD101, BWD102)"),
        REPAIRED: Phrase("after isometry fix it does not either"),
    }
    return tuple(
        Claim(
            text=text,
            measured=worst(changes(measured, start, "gradient")),
            low=-MAX_TOTAL_GROWTH,
            high=MAX_TOTAL_DECAY,
            unit="decades",
        )
        for start, text in texts.items()
        if start in settings.starts
    )


def draw(_settings: OwnVanishingSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw gradient and signal by layer, a curve a start."""
    return (
        figure_of_courses(
            "gradient", "Gradient by layer", measured, factor=1, y_axis="root mean square over the last's, decades"
        ),
        figure_of_courses("signal", "Signal by layer", measured, factor=1, y_axis="root mean square, decades"),
    )


ON_TASK.add("vanishing")(
    OnTask(
        question=Phrase("By what factor does each layer of this network shrink or grow the gradient?"),
        settings=OwnVanishingSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
