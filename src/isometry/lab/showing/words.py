"""What came of an experiment, in words."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from isometry.lab.experiment import Claim
from isometry.lab.study import Study
from isometry.report.language import say
from isometry.report.numerals import SHARE, duration, numeral, quantity

if TYPE_CHECKING:
    from isometry.lab.outcome import Outcome

MIN_DIGITS, MAX_DIGITS = 3, 6  # of the ends of a range
CODE_DIGITS = 8  # of a hash, enough for people
OWN_ERRORS = "isometry._errors."  # how the last line of a traceback begins


def held_word(outcome: "Outcome") -> str:
    """Return whether all claims held, in a sentence; or why there are none."""
    held = sum(claim.is_held for claim in outcome.claims)
    if outcome.why_not:
        return say("Does not apply to this model: {reason}", reason=why_not_word(outcome))
    if outcome.error and not outcome.claims:
        return say("What was measured could not be judged.")
    if not outcome.claims:
        has_measured = any(record.result is not None for record in outcome.records)
        return say("Nothing was there to judge." if has_measured else "No seed ended well, so nothing was judged.")
    return say("{held} of {count} claims held.", held=held, count=len(outcome.claims))


def why_not_word(outcome: "Outcome") -> str:
    """Return why the experiment has no answer about the model; empty where it has one."""
    return " ".join(map(say, outcome.why_not))


def claim_rows(outcome: "Outcome") -> Iterator[tuple[str, str, str, str]]:
    """Yield for each claim whether it held, its text, what was measured and the range."""
    yield from map(claim_cells, outcome.claims)


def claim_cells(claim: Claim) -> tuple[str, str, str, str]:
    """Return whether a claim held, its text, what was measured and the range."""
    word = say("held") if claim.is_held else say("not held")
    return word, say(claim.text), say(quantity(claim.measured, claim.unit)), range_of(claim)


def sign_of(outcome: "Outcome") -> str:
    """Return how an outcome is marked: `healthy`, `broken`, or `note` where the experiment has nothing to judge."""
    if outcome.why_not or (outcome.is_held and not outcome.claims):
        return "note"
    return "healthy" if outcome.is_held else "broken"


def range_of(claim: Claim) -> str:
    """Return the range that holds a claim up, in as many digits as tell its ends apart."""
    low, high = _ends(claim, MIN_DIGITS)
    for digits in range(MIN_DIGITS + 1, MAX_DIGITS + 1):
        if low != high:
            break
        low, high = _ends(claim, digits)
    if low is None and high is None:
        return ""
    if low is None:
        return say("at most {high}", high=high)
    if high is None:
        return say("at least {low}", low=low)
    return say("{low} to {high}", low=low, high=high)


def setting_words(study: Study) -> str:
    """Return on which model a study ran and what was set otherwise than usual, as one would ask for it; or nothing.

    What was measured by another version of isometry, or on another state of the model's file, is told from what a run
    would give now.
    """
    model = [] if study.model is None else [f"--model {study.model.name}"]
    if study.model is None and study.settings == study.experiment.paper != study.experiment.quick:
        asked = ["--preset paper"]
    else:
        asked = [*model, *(f"--set {word}" for word in study.changes)]
    return " ".join([*asked, *_past(study)])


def _past(study: Study) -> Iterator[str]:
    if study.version != metadata.version("isometry"):
        yield f"(isometry {study.version})"
    if study.model is not None and not study.model.is_current:
        yield say("(the file as it was: {code})", code=study.model.code[:CODE_DIGITS])


def record_sentence(outcome: "Outcome") -> str:
    """Return how many seeds ran, how many failed or are still to end, and how long they took."""
    count, work = len(outcome.records), work_word(outcome)
    told = say("1 seed, {work} of work", work=work)
    if count != 1:
        told = say("{count} seeds, {work} of work", count=count, work=work)
    return "; ".join([told, *_not_finished(outcome)]) + "."


def origin_sentence(outcome: "Outcome") -> str:
    """Return when the seeds were measured, with which versions, and which they are."""
    records = outcome.records
    days = sorted({datetime.fromtimestamp(record.started, UTC).date().isoformat() for record in records})
    versions: dict[str, str] = {"isometry": outcome.study.version}
    for record in records:
        versions |= record.environment.get("versions", {})
    return say(
        "Measured on {date} with {versions}; seeds {seeds}.",
        date=", ".join(days),
        versions=", ".join(f"{name} {number}" for name, number in versions.items()),
        seeds=", ".join(str(record.trial.config["seed"]) for record in records),
    )


def work_word(outcome: "Outcome") -> str:
    """Return how long the seeds took, one after the other."""
    return duration(sum(record.seconds or 0 for record in outcome.records))


def seeds_word(outcome: "Outcome") -> str:
    """Return how many seeds there are, and how many of them failed or are still to end."""
    return ", ".join([str(len(outcome.records)), *_not_finished(outcome)])


def failures(outcome: "Outcome") -> Iterator[tuple[str, str]]:
    """Yield who or what failed and why: a sentence where isometry says it, else the traceback; equal ones once."""
    if outcome.why_not:
        return
    for error in dict.fromkeys(record.error for record in outcome.records if record.error):
        seeds = [record.trial.config["seed"] for record in outcome.records if record.error == error]
        yield ", ".join(say("seed {seed}", seed=seed) for seed in seeds), sentence_of(error) or say(error).strip()
    if outcome.error:
        yield say("judging and drawing"), sentence_of(outcome.error) or outcome.error.strip()


def _ends(claim: Claim, digits: int) -> tuple[str | None, str | None]:
    scale, sign = (100, " %") if claim.unit.startswith(SHARE) else (1, " %" if claim.unit == "%" else "")
    low, high = (
        None if math.isinf(end) else f"{numeral(scale * end, digits=digits)}{sign}" for end in (claim.low, claim.high)
    )
    return low, high


def _not_finished(outcome: "Outcome") -> Iterator[str]:
    states = Counter(record.state for record in outcome.records)
    if states["failed"]:
        yield say("{count} failed", count=states["failed"])
    if states["inapplicable"] and not outcome.why_not:
        yield say("{count} without an answer", count=states["inapplicable"])
    if states["unfinished"]:
        yield say("{count} not finished", count=states["unfinished"])


def sentence_of(error: str) -> str:
    """Return what isometry says in a traceback, such as `LabError: ...`; nothing if another error was raised."""
    last = error.strip().rpartition("\n")[2]
    return last.removeprefix(OWN_ERRORS) if last.startswith(OWN_ERRORS) else ""
