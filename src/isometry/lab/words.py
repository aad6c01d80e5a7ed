"""What came of an experiment, in words."""

import math
from collections.abc import Iterator

from isometry.lab.experiment import Claim
from isometry.lab.runner import Outcome
from isometry.report.language import say
from isometry.report.numerals import numeral


def held_word(outcome: Outcome) -> str:
    """Return whether all claims held, in a sentence."""
    held = sum(claim.is_held for claim in outcome.claims)
    if not outcome.claims:
        return say("No seed ended well, so nothing was judged.")
    return say("{held} of {count} claims held.", held=held, count=len(outcome.claims))


def claim_rows(outcome: Outcome) -> Iterator[tuple[str, str, str, str]]:
    """Yield for each claim whether it held, its text, what was measured and the range."""
    for claim in outcome.claims:
        word = say("held") if claim.is_held else say("not held")
        yield word, say(claim.text), _with_unit(claim.measured, claim.unit), range_of(claim)


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


def record_sentence(outcome: Outcome) -> str:
    """Return how many seeds ran, how many failed, and how long they took."""
    seconds = sum(record.seconds or 0 for record in outcome.records)
    failed = sum(record.state != "finished" for record in outcome.records)
    told = say("{count} seeds in {seconds:.1f} s of work", count=len(outcome.records), seconds=seconds)
    return told if not failed else say("{told}; {failed} did not end well", told=told, failed=failed)


def _with_unit(value: float, unit: str) -> str:
    return f"{numeral(value)} {unit}".strip()
