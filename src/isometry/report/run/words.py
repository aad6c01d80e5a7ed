"""The parts of a run in words, before any layout: how it stands, what went wrong when, what the evaluations gave."""

from collections.abc import Iterator
from dataclasses import dataclass

from isometry.probes.running.readings import Evaluation, Fault
from isometry.report.finding import SEVERITIES, Finding, Severity
from isometry.report.language import say
from isometry.report.numerals import counted, duration, numeral
from isometry.report.outline import NOT_FINITE
from isometry.report.run.course import MetricCourse, losses_of, metric_courses, steps_per_second
from isometry.report.run.facts import RunFacts, State

SIGN_OF: dict[State, str] = {  # the verdict or severity whose sign and colour a state has
    "running": "running",
    "finished": "healthy",
    "stopped": "healthy",
    "interrupted": "warning",
    "lost": "warning",
    "failed": "error",
}
NO_NUMBERS = "numbers that are not finite"
DURING = {
    "forward": "in the forward pass",
    "loss": "in the loss",
    "backward": "in the backward pass",
    "update": "in the optimiser's step",
}
FROM_DATA = "input"  # stands for the operation of a fault where the model was given such numbers
ACTIONS = {
    "stop": "training was stopped",
    "skip": "this step was not made",
    "rollback": "training went back to an earlier step",
}


@dataclass(frozen=True, slots=True)
class Incident:
    """An event or a fault of a run: one line of its story.

    Attributes:
        step: The optimiser's steps that were made, counts.
        finding: What a rule found; None for a fault that no rule has spoken of.
        fault: The step that came to numbers which are not finite, if it is about one.
        rank: The process that saw it.
    """

    step: int
    finding: Finding | None
    fault: Fault | None
    rank: int

    @property
    def severity(self) -> Severity:
        """How grave it is; a fault after which training went on is a warning."""
        if self.fault is not None:
            return "error" if self.fault.action == "stop" else "warning"
        return "note" if self.finding is None else self.finding.severity

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        if self.finding is not None:
            return f"{self.finding.code} {self.finding.name}"
        return say(NO_NUMBERS) if self.fault is None else fault_title(self.fault)

    @property
    def time(self) -> str:
        """Its step, and the process that saw it if that was not the first one."""
        step = say("step {step}", step=self.step)
        return f"{step}, {say('process {rank}', rank=self.rank)}" if self.rank else step


def incidents(facts: RunFacts) -> list[Incident]:
    """Return events and faults in the order in which they happened; a fault and the event about it are one."""
    told = {event.step: event for event in facts.events if event.finding.code == NOT_FINITE}
    found = [
        Incident(event.step, event.finding, None, event.rank) for event in facts.events if event not in told.values()
    ]
    for fault in facts.faults:
        event = told.pop(fault.step, None)
        found.append(Incident(fault.step, None if event is None else event.finding, fault, fault.rank))
    found += [Incident(event.step, event.finding, None, event.rank) for event in told.values()]
    return sorted(found, key=lambda incident: incident.step)


def is_broken(facts: RunFacts) -> bool:
    """Return whether a run failed or something grave happened in it; a fault after which it went on is not."""
    return facts.state == "failed" or any(incident.severity == "error" for incident in incidents(facts))


def sign_of(facts: RunFacts) -> str:
    """Return the verdict or severity whose sign and colour a run has: no healthy one above an error."""
    sign = SIGN_OF[facts.state]
    return "error" if sign == "healthy" and is_broken(facts) else sign


def headline_words(facts: RunFacts) -> Iterator[str]:
    """Yield how a run stands on one line: its state, its name, its progress."""
    yield say(facts.state)
    yield facts.name
    yield from progress_words(facts)


def progress_words(facts: RunFacts) -> Iterator[str]:
    """Yield how far a run has come: step, loss, speed, time."""
    yield say("step {step}", step=str(facts.steps))
    losses = losses_of(facts.readings[-1:])
    if losses:
        yield say("loss {loss}", loss=numeral(losses[-1][1]))
    speed = steps_per_second(facts.readings)
    if speed is not None:
        yield say("{speed} steps/s", speed=numeral(speed))
    yield duration(facts.seconds)


def setting_words(facts: RunFacts) -> Iterator[str]:
    """Yield what runs: model, optimiser, how often it is measured, on how many processes, what is kept of it."""
    yield facts.model
    yield facts.optimizer
    yield say("every step measured") if facts.every == 1 else say("every {count} steps measured", count=facts.every)
    if facts.num_ranks > 1:
        yield say("{count} processes", count=facts.num_ranks)
    if facts.snapshots:
        yield say("last snapshot at step {step}", step=str(facts.snapshots[-1]))
    if facts.num_unread:
        yield say("lines of the records that cannot be read: {count}", count=facts.num_unread)


def tally_words(facts: RunFacts) -> Iterator[str]:
    """Yield how many incidents of each severity there were, or that there were none."""
    severities = [incident.severity for incident in incidents(facts)]
    if not severities:
        yield say("nothing to report")
    for severity in SEVERITIES:
        if severity in severities:
            yield counted(severities.count(severity), severity)


def fault_title(fault: Fault) -> str:
    """Return what was not finite first, in a few words."""
    if fault.operation == FROM_DATA:
        return say("numbers that are not finite in the data")
    place = fault.where or fault.operation
    return say("numbers that are not finite at {place}", place=place) if place else say(NO_NUMBERS)


def fault_sentence(fault: Fault) -> str:
    """Return where numbers ceased to be finite and what was done, in one sentence."""
    return f"{fault_cause(fault)}; {fault_action(fault)}"


def fault_cause(fault: Fault) -> str:
    """Return where numbers ceased to be finite."""
    during = say(DURING.get(fault.during, fault.during))
    if fault.operation == FROM_DATA:
        found = say("the model was given them")
    elif fault.operation and fault.where:
        found = say(
            "first made by {operation} at {where}, {during}",
            operation=fault.operation,
            where=fault.where,
            during=during,
        )
    elif fault.operation:
        found = say("first made by {operation}, {during}", operation=fault.operation, during=during)
    elif fault.where:
        found = say("first seen at {place}, {during}", place=fault.where, during=during)
    else:
        found = say("first seen {during}", during=during)
    return f"{found}; {say(fault.reason)}" if fault.reason else found


def fault_action(fault: Fault) -> str:
    """Return what was done about a fault."""
    if fault.restored is not None:
        return say("training went back to step {step}", step=str(fault.restored))
    return say(ACTIONS.get(fault.action, fault.action))


def evaluation_sentence(evaluation: Evaluation) -> str:
    """Return all that one evaluation gave."""
    values = ", ".join(f"{name} {numeral(value)}" for name, value in evaluation.metrics.items())
    return f"{evaluation_place(evaluation)}: {values}"


def evaluation_place(evaluation: Evaluation) -> str:
    """Return when an evaluation was made."""
    step = say("step {step}", step=str(evaluation.step))
    return step if evaluation.epoch is None else f"{step}, {say('epoch {epoch}', epoch=numeral(evaluation.epoch))}"


def metric_rows(facts: RunFacts) -> list[tuple[str, str]]:
    """Return each metric with its last value and its extremes."""
    return [(course.name, _metric_words(course)) for course in metric_courses(facts.evaluations)]


def _metric_words(course: MetricCourse) -> str:
    last, value = course.seen[-1]
    words = say("{value} at {place}", value=numeral(value), place=evaluation_place(last))
    finite = course.finite
    if len(finite) <= 1:
        return words
    lowest, highest = (choose(finite, key=lambda seen: seen[1]) for choose in (min, max))
    return words + say(
        "; lowest {low} at step {low_step}, highest {high} at step {high_step}",
        low=numeral(lowest[1]),
        low_step=str(lowest[0].step),
        high=numeral(highest[1]),
        high_step=str(highest[0].step),
    )
