"""Rules on the optimiser and the size of its steps (TRN)."""

from collections.abc import Iterator

import torch

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.step_size import RateCourse, StepSize, does_harm
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Remedy

# Share of the loss at the start by which a smaller rate must end lower. Rates that train well for all their jumps come
# within 0.2 of the best, those that ruin a training do not: benchmarks/trial.md.
MIN_LOWER = 0.25
IN_DOUBT = 2.0  # times that much, where the given rate was not followed for long enough
# Steps that the given rate would need for what a larger one does in the trial, if it went on as it began. Gradient
# descent at 1e-3 on a small perceptron, slow but in use, needs 30,000: benchmarks/trial.md.
MAX_PATIENCE = 100_000.0
SMALLEST_FALL = 1e-9  # of the loss at the start; less is rounding


@rule(
    "TRN101",
    severity="error",
    explained_by=(
        "NUM101",
        "INI103",
        "INI101",
        "INI105",
        "INI112",
        "DAT101",
        "LOS104",
        "LOS102",
        "FWD102",
        "BWD102",
        "FWD104",
    ),
)
def learning_rate_too_high(steps: StepSize, *, min_lower: float = MIN_LOWER) -> Iterator[Draft]:
    """The optimiser's steps are so long that they undo what they learn.

    Why:
        A step is right as long as the loss is nearly a straight line along it. One that goes further lands on the
        other side of the valley, higher up; rectifiers die, activations saturate, and the loss stays there or
        overflows.

    Measured:
        A trial of a few steps on a copy, always on the same batch, with the given learning rate and with a tenth
        to a ten thousandth of it. The finding needs both: the given rate diverges, ends no lower than it
        started, or jumps; and a smaller one learns and ends lower by a quarter of the loss at the start. Where the
        given one stayed finite, four times as many steps decide: some rates jump at first and train well. For
        gradient descent also the largest eigenvalue of the Hessian, which bounds stable rates by
        2 (1 + momentum) over it.

    Remedy:
        The smaller rate that learned, or a warm-up towards the given one.

    Source:
        LeCun, Bottou, Orr, Müller 1998, Efficient BackProp; Cohen, Kaur, Li, Kolter, Talwalkar 2021,
        arXiv:2103.00065.
    """
    lower = min_lower if steps.is_settled else IN_DOUBT * min_lower
    bound = steps.given.end - lower * abs(steps.given.start)
    better = [each for each in steps.smaller if each.learns and not does_harm(each) and each.end < bound]
    if not better:
        return
    best = min(better, key=lambda course: course.end)
    yield Draft(
        where=(),
        measured=steps.given.rate,
        allowed=best.rate,
        unit="learning rate",
        cause=_harm(steps, best),
        remedy=Remedy("optimizer", Phrase("Use a learning rate of about {rate:.1g}.", rate=best.rate)),
    )


@rule(
    "TRN102",
    severity="error",
    explained_by=(
        "NUM101",
        "INI101",
        "PAR101",
        "PAR102",
        "FWD103",
        "BWD101",
        "FWD101",
        "FWD104",
        "LOS102",
        "FWD105",
        "DAT101",
        "NUM103",
    ),
)
def learning_rate_too_low(steps: StepSize, *, max_patience: float = MAX_PATIENCE) -> Iterator[Draft]:
    """The optimiser's steps are so short that nothing would be learnt within any patience.

    Why:
        What a step changes is the product of rate and gradient; a thousand times too small a rate needs a thousand
        times as many steps.

    Measured:
        A trial of a few steps on a copy, always on the same batch, with the given learning rate and with rates from
        a thousand to a hundred million times as large, as long as they do better. The finding needs updates below
        1e-4 of the weights, and a larger rate that learns what the given one would need more than 100,000 steps for.
        Pretrained weights, which small steps are right for, and rates that a schedule still holds low are left in
        peace.

    Remedy:
        A rate at which an update is about a thousandth of the weight.

    Source:
        Bengio 2012, arXiv:1206.5533, section 3.1; Karpathy 2015, CS231n, ratio of weights to updates.
    """
    given = steps.given
    if not steps.is_fresh:
        return
    if given.rate == 0 and steps.update == 0:
        yield _too_low(steps, None, Phrase("the learning rate is zero, so no step moves anything"))
        return
    learned = [each for each in steps.larger if each.learns and not does_harm(each)]
    if not learned:
        return
    best = min(learned, key=lambda course: course.end)
    needed = steps.steps * (best.start - best.end) / max(given.start - given.end, SMALLEST_FALL * abs(given.start))
    if needed > max_patience:
        yield _too_low(steps, best.rate, _pace(steps, best, needed))


def _harm(steps: StepSize, best: RateCourse) -> Phrase:
    given = steps.given
    course = Phrase(
        "{steps} steps take the loss from {start:.4g} to {end}; at {rate:.1g} they take it to {other:.4g}",
        steps=steps.steps,
        start=given.start,
        end=f"{_last(given):.4g}",
        rate=best.rate,
        other=_last(best),
    )
    if steps.bound is None or steps.bound >= given.rate:
        return course  # what the curvature forbids further on it does not forbid at the start
    return Phrase(
        "{course}; with the curvature at the start no rate above {bound:.1g} is stable",
        course=course,
        bound=steps.bound,
    )


def _last(course: RateCourse) -> float:
    return course.end if course.last is None else course.last


def _pace(steps: StepSize, best: RateCourse, needed: float) -> Phrase:
    return Phrase(
        "{steps} steps take the loss from {start:.6g} to {end:.6g}; at {rate:.1g} they take it to {other:.4g}, for "
        "which the given rate would need some {needed:.0e} steps; its updates are {update:.1e} of the weights",
        steps=steps.steps,
        start=steps.given.start,
        end=_last(steps.given),
        rate=best.rate,
        other=_last(best),
        needed=needed,
        update=steps.update,
    )


def _too_low(steps: StepSize, rate: float | None, cause: Phrase) -> Draft:
    text = Phrase("Use a learning rate of about {rate:.1g}.", rate=rate) if rate else Phrase("Give a learning rate.")
    return Draft(
        where=(),
        measured=steps.given.rate,
        allowed=rate,
        unit="learning rate",
        cause=cause,
        remedy=Remedy("optimizer", text),
    )


@rule("PAR102", severity="error")
def unoptimised_parameters(trial: TrialResult) -> Iterator[Draft]:
    """The optimiser does not hold the parameters that the model trains with.

    Why:
        An optimiser moves the tensors it was given. Made from another model, from a copy, or before a layer was
        replaced, it moves tensors that the loss no longer depends on.

    Measured:
        The trainable parameters that get a gradient and are in no group of the optimiser, and the tensors in its
        groups that are none of the model's. None of the parameters held is an error; some missed while strangers
        are held, a warning; some missed without strangers may be meant, and is a note.

    Remedy:
        Make the optimiser after the model is complete, from that model's `parameters()`.

    Source:
        torch.optim, section Constructing it.
    """
    if not trial.is_given or not trial.missed:
        return
    yield Draft(
        where=trial.missed,
        measured=len(trial.missed),
        allowed=0,
        unit="parameters",
        cause=_who_is_held(trial),
        remedy=Remedy(
            "optimizer",
            Phrase("Make the optimiser from the parameters of this model, after its last layer was put in."),
            suggestion=_made_anew(trial.optimizer),
        ),
        severity=None if not trial.num_held else "warning" if trial.num_strangers else "note",
    )


def _made_anew(optimizer: str) -> str:
    """Return the line that makes an optimiser of the same kind and settings from all parameters."""
    kind, _, settings = optimizer.rstrip(")").partition("(")
    arguments = ", ".join(part for part in ("model.parameters()", settings) if part)
    return f"optimizer = {'torch.optim.' if hasattr(torch.optim, kind) else ''}{kind}({arguments})"


def _who_is_held(trial: TrialResult) -> Phrase:
    if trial.num_strangers:
        return Phrase(
            "the optimiser holds {held} of the model's parameters and {strangers} tensors that are none of them",
            held=trial.num_held or Phrase("none"),
            strangers=trial.num_strangers,
        )
    return Phrase("the optimiser was given {held} parameters alone", held=trial.num_held)
