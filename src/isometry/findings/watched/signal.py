"""Rules on the signal in the layers of a run (FWD)."""

from collections.abc import Iterator
from itertools import islice

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.findings.watched.training import LATEST, latest, outputs_are_alike
from isometry.probes.running.loss_course import LossCourse, median
from isometry.probes.running.readings import History, LayerReading, Reading
from isometry.report.finding import Remedy

MAX_DEAD_SHARE = 0.9  # of a layer's units, as in `check`: a network with 0.81 learned, one with 0.97 did not
MAX_SATURATED_SHARE = 0.5  # of an activation's outputs, as in `check`
LOST_SATURATED_SHARE = 0.8  # likewise
MIN_KILLED = 0.1  # of a layer's units that died while they were watched; fewer come and go
MIN_FLATTENED = 0.1  # of an activation's outputs, likewise
NUM_FIRST = 5  # readings whose median is the share at the start
AT_BASELINE = 0.95  # of a constant prediction's loss; a run that stands above has learnt nothing
MIN_STEPS = 50  # before a run that gains nothing is held to be stuck
MIN_GAIN = 0.1  # of the loss at the start; a run that gained more learns with what its layers leave it
MAX_LOGIT = 100.0  # largest size of an attention's logits; beyond, a softmax is one key's alone
MIN_GROWTH = 3.0  # times the logits of the first reading
MIN_LATE_GROWTH = 1.05  # times over the last ten readings; less is growth that has come to its end
SMALLER_STEP = Remedy(
    "optimizer", Phrase("Draw the layer anew and train with a smaller step, or with leaky ReLU; units do not revive.")
)
NORMS = Remedy("model", Phrase("A norm before the activation, smaller weights, or a smaller step."))
QK_NORM = Remedy(
    "model",
    Phrase("Normalise queries and keys before their product, or train with a smaller step and a warm-up."),
    suggestion="query, key = query_norm(query), key_norm(key)",
)


@rule("FWD103", severity="error", explained_by=("TRN101",), table=WATCH_RULES)
def dying_relu(
    history: History, course: LossCourse, *, max_silent_share: float = MAX_DEAD_SHARE, min_gain: float = MIN_GAIN
) -> Iterator[Draft]:
    """Almost all units of a layer have been silent for many steps.

    Why:
        A rectifier passes no gradient where it is zero; a unit that is zero everywhere never learns again. A step
        that was too long kills many at once.

    Measured:
        Share of units behind a rectifier that were exactly zero on every row looked at in the last recorded steps,
        ten unless the run says otherwise, after fifty steps at the earliest. An error where the loss has gained less
        than a tenth of its start, or lost again what it had gained; a note where the run learns nevertheless, as with
        activations that are meant sparse. Units that were silent from the first readings on are a note, too, as those
        of a network that was pruned, unless the loss has risen, or is no lower than that of a constant prediction
        (`baseline`), or the outputs are the same for every input.

    Remedy:
        A smaller step from fresh weights, biases at zero, or leaky ReLU.

    Source:
        Lu, Shin, Su, Karniadakis 2019, arXiv:1903.06733.
    """
    last = history.readings[-1]
    dead = [layer for layer in last.layers if (layer.dead_share or 0) > max_silent_share]
    if not dead or course.steps < MIN_STEPS:
        return
    worst = max(dead, key=lambda layer: layer.dead_share or 0)
    share, step = _dead_at_first(history, worst)
    was_killed = share <= (worst.dead_share or 0) - MIN_KILLED
    yield Draft(
        where=tuple(layer.name for layer in dead),
        measured=worst.dead_share,
        allowed=max_silent_share,
        unit="share of units",
        cause=Phrase(
            "at step {step} it was {share:.0%} of them: steps of the optimiser killed them", step=step, share=share
        )
        if was_killed
        else Phrase("they gave nothing from the first steps on"),
        remedy=SMALLER_STEP,
        severity=None if not course.learns(min_gain) and (was_killed or _is_crippled(history, course)) else "note",
        message=Phrase(
            "{share:.0%} of the units behind {where} have been zero for many steps.",
            share=worst.dead_share,
            where=repr(worst.name),
        ),
    )


def _dead_at_first(history: History, worst: LayerReading) -> tuple[float, int]:
    """Return the share of a layer's units that can have been dead at first, and the step in which that was seen.

    Deaths are known after a few readings only; what was not zero in the first reading was alive in it.
    """
    for reading in history.readings:
        for layer in reading.layers:
            if layer.name == worst.name:
                known = [each for each in (layer.dead_share, layer.zero_share) if each is not None]
                if known:
                    return min(known), reading.step
    return worst.dead_share or 0.0, history.readings[-1].step


def _is_crippled(history: History, course: LossCourse) -> bool:
    """Say whether the run is the worse for what its layers are: of a network that was made so they are not."""
    has_risen = course.has_fallen_back(0.5) or course.recent > course.first + course.margin(MIN_GAIN)
    is_at_baseline = history.baseline is not None and course.recent > AT_BASELINE * history.baseline
    return has_risen or is_at_baseline or outputs_are_alike(latest(history))


@rule("FWD104", severity="error", explained_by=("TRN101",), table=WATCH_RULES)
def saturated_activation(
    history: History,
    course: LossCourse,
    *,
    max_share: float = MAX_SATURATED_SHARE,
    lost_share: float = LOST_SATURATED_SHARE,
    min_gain: float = MIN_GAIN,
) -> Iterator[Draft]:
    """Most outputs of a bounded function lie where its slope is almost gone, and the run does not learn.

    Why:
        Outside of the zone around zero a sigmoid or tanh passes no gradient, however large the error is.

    Measured:
        Share of outputs behind a hidden layer whose slope is below 5 % of the largest, as the median over the last ten
        readings: above 50 % a warning, above 80 % an error, while after fifty steps or more the loss has gained less
        than a tenth of its start, or lost again what it had gained. The outputs of the last layer are left out: those
        of a trained classifier lie at the ends by design. A note where the share is what it was in the first readings,
        as of codes that are meant binary, unless the loss has risen, or is no lower than that of a constant prediction
        (`baseline`), or the outputs are the same for every input.

    Remedy:
        A norm before the activation, smaller weights or a smaller step.

    Source:
        Glorot, Bengio 2010, section 3; Zhang, Zhai, Ma, Shen 2021, arXiv:2002.11893 for the automated check.
    """
    readings = latest(history)
    hidden = readings[-1].layers[:-1]
    is_flat = any((layer.saturated_share or 0) > max_share for layer in hidden)
    if not is_flat or course.steps < MIN_STEPS or course.learns(min_gain):
        return
    shares = {layer.name: _typical(readings, layer.name) for layer in hidden if layer.saturated_share is not None}
    flat = sorted((name for name in shares if shares[name] > max_share), key=lambda name: -shares[name])
    if not flat:
        return
    share = shares[flat[0]]
    first = _typical([*islice(history.readings, NUM_FIRST)], flat[0])
    is_news = share > first + MIN_FLATTENED or _is_crippled(history, course)
    yield Draft(
        where=tuple(flat),
        measured=share,
        allowed=lost_share if share > lost_share else max_share,
        unit="share of outputs",
        cause=Phrase(
            "the inputs of the activation behind {layer} are too large, and the loss stands at {recent:.4g}, after "
            "{start:.4g} at the start",
            layer=repr(flat[0]),
            recent=course.recent,
            start=course.start,
        ),
        remedy=NORMS,
        severity="note" if not is_news else None if share > lost_share else "warning",
    )


@rule("FWD108", severity="warning", explained_by=("TRN101",), table=WATCH_RULES)
def growing_logits(
    history: History,
    *,
    max_logit: float = MAX_LOGIT,
    min_growth: float = MIN_GROWTH,
    min_late_growth: float = MIN_LATE_GROWTH,
) -> Iterator[Draft]:
    """The logits of an attention grow, and the growth does not stop.

    Why:
        A softmax of logits that are far apart looks at one key alone: its weights are zero and one, queries and keys
        get no gradient, and the loss of large models has been seen to diverge some thousand steps later.

    Measured:
        Largest size of the logits before the softmax: above 100, three times what it was in the first reading, and
        still growing by a twentieth between the two halves of the last ten readings.

    Remedy:
        Norms on queries and keys, a smaller step with a warm-up, or weight decay on what makes queries and keys.

    Source:
        Dehghani et al. 2023, arXiv:2302.05442, section 3.1; Wortsman et al. 2023, arXiv:2309.14322, section 3.1.1;
        Zhai et al. 2023, arXiv:2303.06296.
    """
    last = history.readings[-1]
    readings = latest(history)
    if not any((layer.logit_max or 0) > max_logit for layer in last.layers) or len(readings) < LATEST:
        return
    growing: list[tuple[float, float, str]] = []
    for layer in last.layers:
        logits = _logits(readings, layer.name)
        start = _logits([history.readings[0]], layer.name)
        if len(logits) < LATEST or not start:
            continue
        earlier, later = median(logits[: LATEST // 2]), median(logits[LATEST // 2 :])
        if later > max(max_logit, min_growth * start[0], min_late_growth * earlier):
            growing.append((later, start[0], layer.name))
    if growing:
        later, start, name = max(growing)
        yield Draft(
            where=tuple(each[-1] for each in sorted(growing, reverse=True)),
            measured=later,
            allowed=max_logit,
            unit="largest logit",
            cause=Phrase(
                "queries and keys grow: the logits of {name} came from {first:.3g} to {now:.3g} in {steps} steps",
                name=repr(name),
                first=start,
                now=later,
                steps=last.step,
            ),
            remedy=QK_NORM,
        )


def _logits(readings: list[Reading], name: str) -> list[float]:
    layers = (layer for each in readings for layer in each.layers if layer.name == name)
    return [layer.logit_max for layer in layers if layer.logit_max is not None]


def _typical(readings: list[Reading], name: str) -> float:
    layers = (layer for each in readings for layer in each.layers if layer.name == name)
    shares = [layer.saturated_share for layer in layers if layer.saturated_share is not None]
    return median(shares) if shares else 0.0
