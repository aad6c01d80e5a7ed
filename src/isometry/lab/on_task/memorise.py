"""Whether somebody's own network fits its targets, and how much longer the same targets take at random."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.lab.apparatus.own_data import own_examples
from isometry.lab.experiment import ON_TASK, Claim, Measured, OnTask, OwnTask, Progress
from isometry.lab.figure import Figure, Series
from isometry.training.labels.memorisation import FITTED, SLOWER
from isometry.training.labels.memorise import MIN_DEALT, can_memorise


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMemoriseSettings:
    """Settings, as for `iso.can_memorise`.

    Attributes:
        max_examples: Largest number of examples, counts.
        max_epochs: Most epochs of each fit, counts.
        batch_size: Examples of a step, counts.
        max_seconds: Of both fits together, after which neither goes on; a slow machine then knows less.
    """

    max_examples: int = 1000
    max_epochs: int = 200
    batch_size: int = 50
    max_seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.max_examples < MIN_DEALT or not self.max_seconds > 0:
            raise DomainError(
                f"max_examples={self.max_examples!r} and max_seconds={self.max_seconds!r}: targets change among at "
                f"least {MIN_DEALT} examples, and fitting takes time."
            )


def measure(settings: OwnMemoriseSettings, own: OwnTask, progress: Progress) -> Measured:
    """Fit the targets, and the same targets dealt out at random."""
    own_examples(own.task, most=settings.max_examples, seed=own.seed)
    found = can_memorise(
        own.task,
        max_examples=settings.max_examples,
        max_epochs=settings.max_epochs,
        batch_size=settings.batch_size,
        max_seconds=settings.max_seconds,
        seed=own.seed,
        on_progress=progress,
    )
    return {
        "kind": found.kind,
        "meaning": str(found.meaning),
        "true": {"fits": found.true.fits, "is_fitted": found.true.is_fitted},
        "random": {"fits": found.random.fits, "is_fitted": found.random.is_fitted},
    }


def judge(_settings: OwnMemoriseSettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Say whether the true targets were fitted, and whether random ones took longer."""
    return (
        Claim(
            text=Phrase("the network fits its true targets"),
            measured=100 * min(each["true"]["fits"][-1] for each in measured),
            low=100 * min(FITTED[each["kind"]] for each in measured),
            unit="%",
        ),
        Claim(
            text=Phrase("random targets take longer, if they are fitted at all"),
            measured=min(_ratio(each) for each in measured),
            low=SLOWER,
            unit="times the epochs",
        ),
    )


def draw(_settings: OwnMemoriseSettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how true and random targets are fitted."""
    names = {"true": "true targets", "random": "random targets"}
    curves = tuple(
        Series(name=name, x=range(len(each[key]["fits"])), y=[100 * max(fit, 0.0) for fit in each[key]["fits"]])
        for key, name in names.items()
        for each in measured
    )
    return (
        Figure(
            key="fit",
            title="How true and random targets are fitted",
            x_axis="epoch",
            y_axis="mistakes of a constant that are gone, %",
            series=curves,
        ),
    )


def _ratio(each: Measured) -> float:
    """Return how many times as many epochs random targets take, at least; NaN where the true ones are not fitted."""
    epochs = [len(each[key]["fits"]) - 1 for key in ("random", "true")]
    return epochs[0] / max(epochs[1], 1) if each["true"]["is_fitted"] else math.nan


ON_TASK.add("memorise")(
    OnTask(
        question=Phrase("Does this network fit its targets, and how much longer does it take to fit random ones?"),
        settings=OwnMemoriseSettings(),
        measure=measure,
        judge=judge,
        draw=draw,
    )
)
