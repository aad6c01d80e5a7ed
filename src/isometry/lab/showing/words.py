"""What came of an experiment, in words."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isometry.lab.experiment import Claim
from isometry.lab.study import Study
from isometry.report.language import say
from isometry.report.numerals import duration, numeral, quantity

if TYPE_CHECKING:
    from isometry.lab.outcome import Outcome

OWN_ERRORS = "isometry._errors."  # how the last line of a traceback begins


def held_word(outcome: "Outcome") -> str:
    """Return whether all claims held, in a sentence."""
    held = sum(claim.is_held for claim in outcome.claims)
    if not outcome.claims:
        return say("No seed ended well, so nothing was judged.")
    return say("{held} of {count} claims held.", held=held, count=len(outcome.claims))


def claim_rows(outcome: "Outcome") -> Iterator[tuple[str, str, str, str]]:
    """Yield for each claim whether it held, its text, what was measured and the range."""
    for claim in outcome.claims:
        word = say("held") if claim.is_held else say("not held")
        yield word, say(claim.text), say(quantity(claim.measured, claim.unit)), range_of(claim)


def range_of(claim: Claim) -> str:
    """Return the range that holds a claim up."""
    low, high = (None if math.isinf(end) else numeral(end) for end in (claim.low, claim.high))
    if low is None and high is None:
        return ""
    if low is None:
        return say("at most {high}", high=high)
    if high is None:
        return say("at least {low}", low=low)
    return say("{low} to {high}", low=low, high=high)


def setting_words(study: Study) -> str:
    """Return on which model a study ran and what was set otherwise than usual, as one would ask for it; or nothing."""
    model = [] if study.model is None else [f"--model {study.model.name}"]
    if study.model is None and study.settings == study.experiment.paper != study.experiment.quick:
        return "--preset paper"
    return " ".join([*model, *(f"--set {word}" for word in study.changes)])


def record_sentence(outcome: "Outcome") -> str:
    """Return how many seeds ran, how many failed or are still to end, and how long they took."""
    count, work = len(outcome.records), work_word(outcome)
    told = say("1 seed, {work} of work", work=work)
    if count != 1:
        told = say("{count} seeds, {work} of work", count=count, work=work)
    return "; ".join([told, *_not_finished(outcome)]) + "."


def work_word(outcome: "Outcome") -> str:
    """Return how long the seeds took, one after the other."""
    return duration(sum(record.seconds or 0 for record in outcome.records))


def seeds_word(outcome: "Outcome") -> str:
    """Return how many seeds there are, and how many of them failed or are still to end."""
    return ", ".join([str(len(outcome.records)), *_not_finished(outcome)])


def failures(outcome: "Outcome") -> Iterator[tuple[str, str]]:
    """Yield who failed and why: a sentence where isometry says it, else the traceback; equal ones once."""
    for error in dict.fromkeys(record.error.strip() for record in outcome.records if record.error):
        seeds = [record.trial.config["seed"] for record in outcome.records if record.error.strip() == error]
        yield ", ".join(say("seed {seed}", seed=seed) for seed in seeds), sentence_of(error) or error


def _not_finished(outcome: "Outcome") -> Iterator[str]:
    states = Counter(record.state for record in outcome.records)
    if states["failed"]:
        yield say("{count} failed", count=states["failed"])
    if states["unfinished"]:
        yield say("{count} not finished", count=states["unfinished"])


def sentence_of(error: str) -> str:
    """Return what isometry says in a traceback, such as `LabError: ...`; nothing if another error was raised."""
    last = error.strip().rpartition("\n")[2]
    return last.removeprefix(OWN_ERRORS) if last.startswith(OWN_ERRORS) else ""
