"""Signal and gradient on all their ways: through the depth of a network, and through the steps of its recurrences."""

from dataclasses import dataclass
from typing import TypeVar

from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.recurrence import Recurrences, RecurrentRuns, TimeTrace
from isometry.probes.traces import GradientTrace, SignalTrace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GradientCourse:
    """The gradient on its way back.

    Attributes:
        depth: Through the hidden layers; None where there are no two in a row.
        time: Through the steps of each recurrence.
    """

    depth: GradientTrace | None
    time: tuple[TimeTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class SignalCourse:
    """The signal on its way forward.

    Attributes:
        depth: Through the hidden layers; None where there are no two in a row.
        time: Through the steps of each recurrence.
    """

    depth: SignalTrace | None
    time: tuple[TimeTrace, ...] = ()


@probe(GradientCourse, RecurrentRuns)
def follow_gradients(evidence: Evidence) -> GradientCourse:
    """Follow the gradient through depth and time."""
    time = measure(evidence, Recurrences).traces
    return GradientCourse(_unless_in_time(evidence, GradientTrace, time), time)


@probe(SignalCourse, RecurrentRuns)
def follow_signal(evidence: Evidence) -> SignalCourse:
    """Follow the signal through depth and time."""
    time = measure(evidence, Recurrences).traces
    return SignalCourse(_unless_in_time(evidence, SignalTrace, time), time)


def _unless_in_time(evidence: Evidence, kind: type[T], time: tuple[TimeTrace, ...]) -> T | None:
    try:
        return measure(evidence, kind)
    except NotMeasuredError:
        if not time:
            raise
        return None
