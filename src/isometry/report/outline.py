"""The parts of a report in words, before any layout: causes with the symptoms they explain, and single lines."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from isometry._phrases import Phrase
from isometry.probes.jacobian_result import JacobianResult, MeanField, Spectrum
from isometry.probes.trial_result import TrialResult
from isometry.report.facts import Cost, Facts, Skipped
from isometry.report.finding import SEVERITIES, Finding, Proof, Remedy
from isometry.report.language import say
from isometry.report.numerals import QUANTITIES, SHARE, amount, counted, duration, memory, numeral, quantity

NOT_FINITE = "NUM101"  # the finding that a loss is no number
DIVERGED = 10.0  # times the first loss, at the end of a trial; jumps of a step that is a little too long stay below
ROUNDING = 2.0**-23  # of the largest singular value, dimensionless: what float32 rounds off
MAX_PLACES = 3  # names of layers that are written out; the others are counted


@dataclass(frozen=True, slots=True)
class Cause:
    """A finding that no other finding explains, with those that it explains, also through others."""

    finding: Finding
    symptoms: tuple[Finding, ...]


def causes(findings: Sequence[Finding]) -> tuple[Cause, ...]:
    """Folds findings under the ones that explain them; none is lost.

    A finding whose explanation is not among the findings, or which explains itself in a circle, stands as a cause.

    Args:
        findings: All findings in the order of their rank.

    Returns:
        The causes in the same order, each with its symptoms in the same order.
    """
    because = {finding.code: finding.because for finding in reversed(findings)}
    roots = [_root(finding, because) for finding in findings]
    symptoms: dict[str, list[Finding]] = {root: [] for root in roots if root is not None}
    for finding, root in zip(findings, roots, strict=True):
        if root is not None:
            symptoms[root].append(finding)
    leaders = [finding for finding, root in zip(findings, roots, strict=True) if root is None]
    return tuple(Cause(leader, tuple(symptoms.pop(leader.code, ()))) for leader in leaders)


def tally(findings: Sequence[Finding]) -> str:
    """Return how many findings of each severity, such as `1 error, 2 warnings`."""
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    return ", ".join(counted(count, severity) for severity, count in counts.items() if count) or say("no findings")


def places(where: Sequence[str]) -> str:
    """Return the first names and the number of the others."""
    rest = len(where) - MAX_PLACES
    return ", ".join(where[:MAX_PLACES]) + (" " + say("and {count} more", count=rest) if rest > 0 else "")


def measured_against(finding: Finding) -> str:
    """Return the measured number and the allowed one with their unit; empty if the finding has no measured number."""
    if finding.measured is None:
        return ""
    measured = say(quantity(finding.measured, finding.unit))
    if finding.allowed is None:
        return measured
    template = _BOUNDS.get(finding.unit, "{measured}, allowed {allowed}")
    return say(template, measured=measured, allowed=amount(finding.allowed, finding.unit))


_BOUNDS = {  # where the second number is no upper bound
    "copied units": "{measured} of {allowed}",
    "different samples": "{measured}, at least {allowed} needed",
    "different targets": "{measured}, at least {allowed} needed",
    "distinct modules": "{measured} of {allowed}",
    "distinct units": "{measured} of {allowed}",
    "numbers": "{measured}, at least {allowed} needed",
    "outputs": "{measured}, at least {allowed} needed",
    "relative deviation": "{measured}, at least {allowed} needed",
}


def proof_sentence(proof: Proof, unit: str) -> str:
    """Return what the counterfactual experiment changed and what the measured number then did."""
    sentence = say(
        "{verdict}: with {change} it goes from {before} to {after}",
        verdict=_verdict(proof),
        change=proof.change,
        before=amount(proof.before, proof.unit or unit),
        after=_after(proof.after, proof.unit or unit),
    )
    if proof.loss_before is None or proof.loss_after is None or proof.unit:
        return sentence
    before, after = numeral(proof.loss_before), numeral(proof.loss_after)
    if proof.is_share:
        return sentence + say(
            "; after a few steps the loss is {after} of what it began with instead of {before}",
            before=before,
            after=after,
        )
    return sentence + say("; after a few steps the loss is {after} instead of {before}", before=before, after=after)


def _verdict(proof: Proof) -> str:
    if proof.open_after is not None:
        return Phrase("not shown in {steps} steps", steps=proof.open_after)
    return "confirmed" if proof.confirmed else "not confirmed"


def _after(value: float, unit: str) -> str:
    """Return a number with its unit, where a sentence has named what the unit of a quantity or a share names."""
    is_named = unit in QUANTITIES or unit.startswith(SHARE)
    return amount(value, unit) if is_named else say(quantity(value, unit))


def suggestion(remedy: Remedy) -> str:
    """Return the change as a line of code; only where it is words it is said in another language."""
    return say(remedy.suggestion) if isinstance(remedy.suggestion, Phrase) else remedy.suggestion


def trial_sentence(trial: TrialResult) -> str:
    """Return what the trial did and what came of it."""
    finite = list(itertools.takewhile(math.isfinite, trial.losses))
    sentence = say(
        "{steps} of {optimizer} on one batch: the loss goes from {first} to {last}",
        steps=counted(len(trial.losses) - 1, "step"),
        optimizer=trial.optimizer
        if trial.is_given
        else Phrase("isometry's own {optimizer}", optimizer=trial.optimizer),
        first=numeral(trial.losses[0]),
        last=numeral(finite[-1] if finite else trial.losses[-1]),
    )
    if trial.constant is not None:
        sentence += say(", a constant predictor has {constant}", constant=numeral(trial.constant))
    return f"{sentence}; {_outcome(trial, num_finite=len(finite))}"


def _outcome(trial: TrialResult, *, num_finite: int) -> str:
    if num_finite < len(trial.losses) or trial.failure is not None:
        step = num_finite if trial.failure is None else trial.failure.step
        if not step:
            return say("the loss is no finite number before any step")
        return say("training breaks: from step {step} on there are numbers that are not finite", step=step)
    first, last = trial.losses[0], trial.losses[-1]
    if not trial.learns and last > DIVERGED * abs(first) and last > (trial.constant or 0.0):
        step = len(trial.losses) - len(list(itertools.takewhile(lambda loss: loss > first, reversed(trial.losses))))
        return say("it diverges: from step {step} on the loss is above its start", step=step)
    return say("the network learns") if trial.learns else say("that shows nothing learned yet")


def jacobian_rows(jacobian: JacobianResult) -> list[tuple[str, str]]:
    """Return the Jacobian's numbers and the theory's beside them, each with its label."""
    rows = [(say("input to output"), _spectrum_words(jacobian.whole))]
    theory = jacobian.theory
    if theory is None:
        return [*rows, (say("theory"), say(jacobian.why_no_theory))]
    rows.append((say("predicted"), say("mean square {value}", value=numeral(theory.mean_square))))
    if jacobian.hidden is not None:
        rows.append((say("hidden layers"), _spectrum_words(jacobian.hidden)))
    point = say(
        "{activation} at weight variance {weight}, bias variance {bias}: {phase}, a layer multiplies the squared "
        "gradient by {slope}, {reach}",
        activation=theory.activation,
        weight=numeral(theory.weight_variance),
        bias=numeral(theory.bias_variance),
        phase=theory.phase,
        slope=numeral(theory.slope),
        reach=_reach(theory),
    )
    return [*rows, (say("theory"), point)]


def _reach(theory: MeanField) -> str:
    """Return over how many layers theory says that samples come to their last correlation, or signals die or grow."""
    if not math.isfinite(theory.depth_scale):
        return say("correlations between samples settle more slowly than exponentially")
    depth = numeral(theory.depth_scale)
    if not 0 < theory.length < math.inf:
        return say("signals and gradients change by a factor e in mean square over {depth} layers", depth=depth)
    return say("correlations between samples settle over {depth} layers", depth=depth)


def _spectrum_words(spectrum: Spectrum) -> str:
    return say(
        "largest {largest}, smallest {smallest}, mean square {mean}, relative spread {spread}",
        largest=numeral(spectrum.largest),
        smallest=_smallest(spectrum),
        mean=numeral(spectrum.mean_square),
        spread=numeral(spectrum.spread),
    )


def _smallest(spectrum: Spectrum) -> str:
    """Return the smallest singular value, or below what it lies where rounding hides it."""
    if spectrum.smallest is None:
        return "not known"
    noise = spectrum.largest * ROUNDING
    return say("below {bound}", bound=numeral(noise)) if spectrum.smallest < noise else numeral(spectrum.smallest)


def skipped_rows(skipped: Iterable[Skipped]) -> list[tuple[str, str]]:
    """Return how many rules were skipped for each reason, and the reason with their codes."""
    codes: dict[str, list[str]] = {}
    for row in skipped:
        codes.setdefault(row.reason, []).append(row.code)
    return [(counted(len(each), "rule"), f"{say(reason)} ({', '.join(each)})") for reason, each in codes.items()]


def loss_sentence(diagnosis: Facts) -> str:
    """Return the loss at the start and which loss it is."""
    is_broken = any(finding.code == NOT_FINITE for finding in diagnosis.findings)
    missing = "not finite" if is_broken else "not computed"
    value = missing if diagnosis.loss is None else numeral(diagnosis.loss)
    return say("loss {value} ({name})", value=value, name=diagnosis.loss_name)


def cost_sentence(cost: Cost) -> str:
    """Return what the check took, and the watched step of training in it."""
    parts = [say("checked in {time}", time=duration(cost.seconds))]
    if cost.step_seconds > 0:
        parts.append(say("{time} of it in one watched step", time=duration(cost.step_seconds)))
    if cost.peak_bytes is not None:
        parts.append(say("peak {memory}", memory=memory(cost.peak_bytes)))
    return ", ".join(parts)


def _root(finding: Finding, because: Mapping[str, str | None]) -> str | None:
    """Return the code at the end of the chain of explanations, or None if the finding stands for itself."""
    code, seen = finding.because, {finding.code}
    if code is None or code not in because:
        return None
    while code not in seen:
        seen.add(code)
        following = because[code]
        if following is None or following not in because:
            return code
        code = following
    return None
