"""Rules on the gradient's way back through the layers, and through the steps of a recurrence (BWD)."""

import math
from collections.abc import Iterator, Sequence

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.courses import GradientCourse
from isometry.probes.recurrence import TimeTrace
from isometry.probes.traces import GradientTrace
from isometry.report.finding import Remedy, Severity

# Decades between the last hidden layer and the first. Plain networks that lost less than 3.2 learned; between 3.3 and
# 3.8 one reached its accuracy late and the next hardly any of it; of those that lost 4 none reached 0.6 of 0.97, and
# at 7 they stay at chance. The like for growth, if less sharply: benchmarks/thresholds.md and benchmarks/repair.md.
SAFE_TOTAL_DECAY = 3.2
MAX_TOTAL_DECAY = 4.0
SAFE_TOTAL_GROWTH = 3.0
MAX_TOTAL_GROWTH = 4.0
# Decades over all steps of a recurrence that the loss reads at its end: benchmarks/recurrence.md. Whoever must remember
# the first step fails from 4 on; where every step tells something, 13 cost some accuracy and 40 most of it.
HEARD_DECAY = 4.0
SAFE_TIME_DECAY = 9.0  # between the 7 of thirty steps of torch's own start, and the 13 that cost 12 points of 93
MAX_TIME_DECAY = 16.0  # between those, and the 26 that cost 43
# Decades a step. Gates that are half open lose 0.2, and learn to lose less; those that a bias holds shut learn nothing.
SAFE_GATED_DECAY = 0.5
MAX_GATED_DECAY = 0.75
REPAIR = Remedy("init", Phrase("Initialise at the critical point of the activation: isometry fix."))
ORTHOGONAL = Phrase("Start the recurrent weights orthogonal.")
OPEN = Phrase("Start the gates that keep the state open: a bias of the logarithm of the steps to be remembered.")
CLIP = Phrase("Start the recurrent weights orthogonal; clipping the gradient's norm helps against single steps.")


@rule(
    "BWD101",
    severity="error",
    explained_by=("NUM101", "INI103", "INI101", "INI105", "INI112", "LOS102", "FWD103", "FWD104", "NUM102"),
    is_statistic=True,
)
def vanishing_gradient(
    course: GradientCourse,
    *,
    safe_decay: float = SAFE_TOTAL_DECAY,
    max_decay: float = MAX_TOTAL_DECAY,
    safe_time_decay: float = SAFE_TIME_DECAY,
    max_time_decay: float = MAX_TIME_DECAY,
    safe_gated_decay: float = SAFE_GATED_DECAY,
    max_gated_decay: float = MAX_GATED_DECAY,
    heard_decay: float = HEARD_DECAY,
) -> Iterator[Draft]:
    """Gradients shrink geometrically on the way from the loss to the input.

    Why:
        Layers near the input learn slower than those near the loss, and deeper networks more so. A sigmoid's slope
        is at most 0.25, so 15 such layers leave at most 1e-9 of the gradient. In a recurrence the same happens from
        step to step, and what came early is never learned from.

    Measured:
        Fall of log10 of the gradient's root mean square from the last hidden layer to the first, along the layers that
        every way to the loss passes; the rate per layer goes into the cause. The total decides: a plain ReLU stack at
        PyTorch's default loses 0.39 decades a layer and still trains at 8 layers with Adam. From 3.2 decades on it is a
        warning, from 4 on an error; from half of 3.2 on it is a note where the network does not begin to learn in 80
        steps of the given optimiser, and does in 20 with the layers drawn anew. Through time: the fall from the step
        that the loss reads to the one furthest from it, where every step has an input of its own: a warning from 9
        decades on, an error from 16, and a note from 4. Networks with gates are judged by the rate, 0.5 and 0.75
        decades a step.

    Remedy:
        Initialise at the critical point of the activation: `isometry fix`. Residual paths and norms help as well;
        in recurrences orthogonal weights, or forget gates that start open.

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232; Glorot, Bengio 2010; Bengio, Simard,
        Frasconi 1994 for recurrences.
    """
    if course.depth is not None:
        yield from _vanishing_in_depth(course.depth, safe_decay, max_decay)
    traces = [trace for trace in course.time if trace.total_decay > heard_decay]
    if traces:
        worst = max(traces, key=lambda trace: trace.total_decay)
        bounds = (safe_gated_decay, max_gated_decay) if worst.is_gated else (safe_time_decay, max_time_decay)
        yield _vanishing_in_time(worst, bounds, heard_decay)


def _vanishing_in_depth(trace: GradientTrace, safe_decay: float, max_decay: float) -> Iterator[Draft]:
    is_lost = trace.total_decay > max_decay
    allowed = max_decay if is_lost else safe_decay
    # A gradient that is gone at once met something flat, such as a step: that is no-gradient.
    if min(trace.total_decay, trace.decay_while_alive) > min(allowed, safe_decay):
        yield Draft(
            where=trace.weakest_layers,
            measured=trace.total_decay,
            allowed=allowed,
            unit="decades",
            cause=_cause_in_depth(trace, allowed),
            remedy=REPAIR,
            severity=None if is_lost else "warning",
        )


def _cause_in_depth(trace: GradientTrace, allowed: float) -> Phrase:
    values: dict[str, object] = {
        "factor": trace.factor_per_layer,
        "scale": trace.depth_scale,
        "layer": repr(trace.lost_from(allowed)),
        "left": 10**-allowed,
    }
    lost = trace.lost_to_format()
    if lost is None:
        return Phrase(
            "each layer multiplies the gradient by {factor:.3g} on its way back, by 1/e every {scale:.2g} layers; "
            "from {layer} down to the input less than {left:.1g} of it is left",
            **values,
        )
    return Phrase(
        "each layer multiplies the gradient by {factor:.3g} on its way back, by 1/e every {scale:.2g} layers; "
        "from {layer} down to the input less than {left:.1g} of it is left, and {format} holds nothing of it from "
        "{lost} on",
        **values,
        format=lost[0],
        lost=repr(lost[1]),
    )


def _vanishing_in_time(trace: TimeTrace, bounds: tuple[float, float], heard_decay: float) -> Draft:
    safe, highest = bounds
    rate = trace.decay_per_step if trace.is_gated else trace.total_decay
    severity: Severity = "error" if rate > highest else "warning" if rate > safe else "note"
    is_rate = trace.is_gated and severity != "note"
    return Draft(
        where=(trace.name,),
        measured=rate if is_rate else trace.total_decay,
        allowed={"error": highest, "warning": safe, "note": heard_decay}[severity],
        unit="decades a step" if is_rate else "decades",
        cause=Phrase(
            "through time each step multiplies the gradient by {factor:.3g} on its way back; of {steps} steps the loss "
            "hears the nearest {heard}, the others are fainter by {decades:g} decades or more",
            factor=trace.factor_per_step,
            steps=len(trace.gradient),
            heard=trace.horizon(heard_decay),
            decades=heard_decay,
        ),
        remedy=_open(trace) if trace.is_gated else Remedy("init", ORTHOGONAL, suggestion=_orthogonal(trace)),
        severity=severity,
        message=_message_in_time(trace, is_rate=is_rate),
    )


def _message_in_time(trace: TimeTrace, *, is_rate: bool) -> Phrase:
    values = {"total": trace.total_decay, "steps": trace.num_steps + 1, "where": repr(trace.name)}
    if not is_rate:
        return Phrase("The gradient falls by {total:.3g} decades through {steps} steps of {where}.", **values)
    return Phrase(
        "The gradient falls by {rate:.3g} decades a step in {where}, by {total:.3g} over {steps} steps.",
        **values,
        rate=trace.decay_per_step,
    )


def _open(trace: TimeTrace) -> Remedy:
    """Return the bias under which a gate keeps the state for about as many steps as there are: arXiv:1804.11188."""
    first, end = trace.gate
    fill = f".data[{first}:{end}].fill_({math.log(len(trace.gradient)):.1f})"
    return Remedy("init", OPEN, suggestion=_on_each(trace.biases, "{}" + fill) if end else "")


def _orthogonal(trace: TimeTrace) -> str:
    return _on_each(trace.weights, "nn.init.orthogonal_({})")


def _on_each(names: Sequence[str], code: str) -> str:
    """Return a line of code for a parameter, or for each of several."""
    if len(names) <= 1:
        return "".join(code.format(f"model.get_parameter({name!r})") for name in names)
    return f"for name in {[*names]}: " + code.format("model.get_parameter(name)")


@rule("BWD102", severity="error", explained_by=("NUM101", "INI103", "INI101", "INI105", "INI112"), is_statistic=True)
def exploding_gradient(
    course: GradientCourse, *, safe_growth: float = SAFE_TOTAL_GROWTH, max_growth: float = MAX_TOTAL_GROWTH
) -> Iterator[Draft]:
    """Gradients grow geometrically on the way from the loss to the input.

    Why:
        A step that suits the last layers throws the first ones far off, and a step that suits the first leaves the
        last ones where they are. A product of 100 random matrices explodes just so.

    Measured:
        Growth of log10 of the gradient's root mean square from the last hidden layer to the first, along the layers
        that every way to the loss passes; the rate goes into the cause. From 3 decades on it is a warning, from 4
        on an error. Likewise from the last step of a recurrence to the first, an error from 4 decades on.

    Remedy:
        Initialise at the critical point of the activation: `isometry fix`. Clipping hides the symptom only.

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232; Pascanu, Mikolov, Bengio 2013,
        arXiv:1211.5063.
    """
    if course.depth is not None and -course.depth.total_decay > min(safe_growth, max_growth):
        is_lost = -course.depth.total_decay > max_growth
        yield Draft(
            where=course.depth.strongest_layers,
            measured=-course.depth.total_decay,
            allowed=max_growth if is_lost else safe_growth,
            unit="decades",
            cause=Phrase(
                "each layer multiplies the gradient by {factor:.3g} on its way back",
                factor=course.depth.factor_per_layer,
            ),
            remedy=REPAIR,
            severity=None if is_lost else "warning",
        )
    for trace in course.time:
        if -trace.total_decay > max_growth:
            yield _exploding_in_time(trace, max_growth)


def _exploding_in_time(trace: TimeTrace, allowed: float) -> Draft:
    return Draft(
        where=(trace.name,),
        measured=-trace.total_decay,
        allowed=allowed,
        unit="decades",
        cause=Phrase(
            "through time each step multiplies the gradient by {factor:.3g} on its way back, over {steps} steps",
            factor=trace.factor_per_step,
            steps=trace.num_steps,
        ),
        remedy=Remedy("init", CLIP, suggestion="" if trace.is_gated else _orthogonal(trace)),
        message=Phrase(
            "The gradient grows by {measured:.3g} decades through the {steps} steps of {where}.",
            measured=-trace.total_decay,
            steps=len(trace.gradient),
            where=repr(trace.name),
        ),
    )
