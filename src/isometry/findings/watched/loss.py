"""Rules on the course of a run's loss (TRN)."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import mul

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.findings.watched.training import (
    LATEST,
    LOOK_BACK,
    SMALLER,
    inputs_are_alike,
    latest,
    makes_long_updates,
    outputs_are_alike,
    update_ratio,
)
from isometry.probes.running.loss_course import RUN, TO_SIGMA, LossCourse, median, noise_of
from isometry.probes.running.readings import History, Reading
from isometry.report.finding import Remedy

MIN_SWING = 0.5  # of the level, from the tenth percentile to the ninetieth
MIN_UPDATE = (
    0.02  # update over weight; steps of a hundredth swing with their batches, such as those of two tasks in turn
)
MIN_SWINGS = 3  # up and down again; fewer are drift
MAX_PERIOD = 4  # steps; longer ones are smooth from step to step
MIN_REGULARITY = 0.6  # autocorrelation of the ranks; the noise of random batches has none, and 0.13 by chance
MIN_GAIN = 0.5  # of the start; a run that gained more swings at the bottom of its valley, which is healthy
LEAST_FALL = 0.1  # of the swing, from the one half of the window to the other; less is no progress
MIN_WINDOW = 48  # losses in which a swing shows itself
PLATEAU_STEPS = 1000  # without a gain; saddles that sound trainings leave again take hundreds
ALIKE_STEPS = 50  # before outputs that are alike count; heads that start at zero have them in the first
MIN_ALIKE_GAIN = 0.1  # of the loss at the start; a run that gained more has targets that a constant can learn
PLATEAU_WIDTH = 0.05  # of the baseline, by which the level may lie below it
SPIKE = 12.0  # standard deviations of the losses before it, above their level
MIN_JUMP = 0.5  # of what the run has gained, by which a spike rises
AFTER = 12  # losses behind a spike that say whether the run recovered
LONG_AFTER = 20  # that say whether harder data are being learnt
EVEN = Remedy("data", Phrase("See that targets and inputs belong together, and vary; then a larger or a smaller step."))
FEED = Remedy("data", Phrase("Print two inputs of a batch: the loader, or what normalises them, makes them one."))
REACH = Remedy("model", Phrase("Look for the layer that no longer tells inputs apart: isometry check names it."))
SKIP = Remedy("data", Phrase("Look at the batch of that step; clip the gradient's norm."))


@rule("TRN103", severity="warning", explained_by=("TRN101",), table=WATCH_RULES)
def oscillating_loss(
    history: History,
    course: LossCourse,
    *,
    min_update: float = MIN_UPDATE,
    min_swing: float = MIN_SWING,
    min_regularity: float = MIN_REGULARITY,
    min_gain: float = MIN_GAIN,
) -> Iterator[Draft]:
    """The loss swings up and down every few steps and gets no lower.

    Why:
        Steps too long for the curvature leap from one side of the valley to the other. At the edge of stability that
        is healthy as long as the loss falls; where it does not, the swing is all there is.

    Measured:
        All must hold over the last 64 losses: from the tenth percentile to the ninetieth they span half of the loss
        at the start or more; they go up and down again three times or more; each follows from the one before, or from
        the one a period of two to four steps before, with an autocorrelation of the ranks above 0.6, which the noise of
        random batches has not; the later half lies no lower than the earlier, by a tenth of the swing; and the run has
        gained less than half of its start, or has lost again half of what it had gained. And the updates of the last
        ten readings must be a fiftieth of the weights or more: shorter ones do not leap across a valley.

    Remedy:
        A smaller learning rate, or less momentum.

    Source:
        Cohen, Kaur, Li, Kolter, Talwalkar 2021, arXiv:2103.00065, on the edge of stability; Zhang et al. 2021
        (AutoTrainer), arXiv:2002.11893, for the symptom.
    """
    window = sorted(course.window)
    low, high = window[len(window) // 10], window[-1 - len(window) // 10]
    level = max(abs(course.recent), abs(course.start))
    is_costly = not course.has_learned(min_gain) or course.has_fallen_back(0.5)
    is_falling = course.before - course.recent > LEAST_FALL * (high - low)
    if len(window) < MIN_WINDOW or is_falling or not is_costly or high - low <= min_swing * level:
        return
    if median([update_ratio(each) for each in latest(history)]) < min_update:
        return
    swings = _swings(course.window)
    if swings < MIN_SWINGS or _regularity(course.window) <= min_regularity:
        return
    yield Draft(
        where=(),
        measured=(high - low) / level,
        allowed=min_swing,
        unit="swing over level",
        cause=Phrase(
            "in the last {steps} steps the loss went {swings} times from about {low:.4g} to {high:.4g} and back",
            steps=len(window),
            swings=swings,
            low=low,
            high=high,
        ),
        remedy=SMALLER,
    )


@rule(
    "TRN104",
    severity="warning",
    explained_by=("NUM101", "NUM103", "TRN101", "TRN102", "FWD103", "FWD104", "BWD101"),
    table=WATCH_RULES,
)
def loss_plateau(
    history: History,
    course: LossCourse,
    *,
    plateau_steps: float = PLATEAU_STEPS,
    plateau_width: float = PLATEAU_WIDTH,
) -> Iterator[Draft]:
    """The loss stays at what the best constant prediction gives, or the outputs are the same for every input.

    Why:
        A network that says the same for every input has learnt how frequent the targets are and nothing else. Its
        inputs do not reach its outputs, or do not belong to its targets.

    Measured:
        The outputs: a warning where those of all rows are alike to a millionth in each of the last ten readings, after
        fifty steps, or where those of the first layer are and nothing is learnt; a note where the loss falls
        nevertheless, or swings about zero, since targets may be constant too. And the loss: the level of the latest
        losses, within a twentieth of the loss of the best constant predictor (`baseline`), a thousand steps after the
        first, and at no time lower. Without a baseline the level of the first losses takes its place, and it is a note:
        what can be reached is then unknown.

    Remedy:
        See that inputs and targets belong together and vary; `isometry check` tells whether the inputs reach the loss.

    Source:
        Karpathy 2019, A Recipe for Training Neural Networks, on the input-independent baseline.
    """
    alike = _outputs_that_are_alike(history, course)
    if alike is not None:
        yield alike
        return
    level = course.first if history.baseline is None else history.baseline
    width = max(plateau_width * abs(level), 4 * course.noise if history.baseline is None else 0.0)
    if course.steps < plateau_steps or abs(course.recent - level) > width or course.best < level - width:
        return
    yield Draft(
        where=(),
        measured=course.recent,
        allowed=history.baseline,
        unit="loss",
        cause=_why_a_plateau(history, course),
        remedy=EVEN,
        severity="note" if history.baseline is None else None,
        message=None if history.baseline is not None else Phrase("The loss is where it was at the start."),
    )


def _why_a_plateau(history: History, course: LossCourse) -> Phrase:
    if history.baseline is None:
        return Phrase("it stood at {first:.4g} at the start, {steps} steps ago", first=course.first, steps=course.steps)
    return Phrase(
        "after {steps} steps at updates of {update:.1g} of the weights the network is no better than a constant "
        "prediction",
        steps=course.steps,
        update=update_ratio(history.readings[-1]),
    )


def _outputs_that_are_alike(history: History, course: LossCourse) -> Draft | None:
    """Return what is to be said where the network was seen to give the same for every input; None where it does not."""
    readings = latest(history)
    if course.steps < ALIKE_STEPS or len(readings) < LATEST:
        return None
    is_constant, is_fed_alike = outputs_are_alike(readings), inputs_are_alike(readings)
    is_learning = course.learns(MIN_ALIKE_GAIN)
    if not is_constant and (not is_fed_alike or is_learning):
        return None
    return Draft(
        where=tuple(layer.name for layer in readings[-1].layers if layer.is_output) if is_constant else (),
        measured=course.recent,
        allowed=history.baseline,
        unit="loss",
        cause=Phrase("the inputs do not differ from row to row: look at what the loader gives")
        if is_fed_alike
        else Phrase("the inputs differ from row to row, and the outputs do not: nothing of an input reaches them"),
        remedy=FEED if is_fed_alike else REACH,
        severity="note" if is_learning or abs(course.first) <= 4 * course.noise else None,
        message=Phrase(
            "For {steps} steps or more the network has had one answer for all inputs.", steps=_span(readings)
        )
        if is_constant
        else Phrase(
            "For {steps} steps or more the network has been given one input over and over.", steps=_span(readings)
        ),
    )


def _span(readings: Sequence[Reading]) -> int:
    return readings[-1].step - readings[0].step


@rule("TRN106", severity="warning", table=WATCH_RULES)
def loss_spike(
    history: History, course: LossCourse, *, spike: float = SPIKE, min_jump: float = MIN_JUMP
) -> Iterator[Draft]:
    """The loss jumps in a single step, far out of its noise.

    Why:
        A batch unlike the others, or a step into a steep place, undoes in one step what many had learnt.

    Measured:
        A loss of the last 32 that lies twelve standard deviations above the level of those before it, and by half of
        what the run has gained or risen by. With twelve losses behind it: a note if they are back at the level, a
        warning if even their tenth percentile stays above it by a quarter of that. Where the losses behind it are
        nearly as high as the jump, the data may have become harder: then it takes twenty losses, and it is a note if
        they fall. A note, too, where the run began at next to nothing, as where values are learnt. After a rise of the
        learning rate, as at a warm restart, it is none.

    Remedy:
        Look at the batch of that step; clip the gradient's norm; a longer warm-up.

    Source:
        Chowdhery et al. 2022, arXiv:2204.02311, section 5.1; Takase et al. 2023, arXiv:2312.16903.
    """
    window = course.window
    found = _jump(window, spike=spike, least=min_jump * course.reach if course.gain > 0 else 0.0)
    if found is None:
        return
    index, level = found
    steps = [step for step, _ in history.losses[-len(window) :]]
    if _rate_rose(history, since=steps[0]):
        return
    after = sorted(window[index + 1 :])
    stays = after[len(after) // 10] > level + 0.5 * min_jump * course.reach
    is_harder = _is_harder_data(window[index:], level) and (len(after) < LONG_AFTER or _falls(window[index + 1 :]))
    tells_nothing = course.starts_near_zero and not makes_long_updates(history)
    yield Draft(
        where=(),
        measured=window[index],
        allowed=level,
        unit="loss",
        cause=Phrase(
            "at step {step} it went from {level:.4g} to {peak:.4g}, and {count} steps later it stands at {now:.4g}",
            step=steps[index],
            level=level,
            peak=window[index],
            count=len(after),
            now=median(after),
        ),
        remedy=SKIP,
        severity=None if stays and not is_harder and not tells_nothing else "note",
    )


def _is_harder_data(jumped: Sequence[float], level: float) -> bool:
    """Say whether the losses behind a jump are nearly as high, as no single batch or step would leave them."""
    return median(jumped[1 : 1 + RUN]) - level > 0.5 * (jumped[0] - level)


def _falls(values: Sequence[float]) -> bool:
    """Say whether the later of some losses lie clearly below the earlier."""
    part = len(values) // 3
    earlier, later = median(values[:part]), median(values[-part:])
    return earlier - later > 2 * noise_of(values) / math.sqrt(part)


def _swings(window: Sequence[float]) -> int:
    """Return how often a window goes from its lowest quarter to its highest and back."""
    ordered = sorted(window)
    low, high = ordered[len(window) // 4], ordered[-1 - len(window) // 4]
    ends = [value >= high for value in window if value <= low or value >= high]
    return sum(first and not second for first, second in pairwise(ends))


def _regularity(window: Sequence[float]) -> float:
    """Return how much the ranks in a window follow from those before them, in [-1, 1]; those of noise do not.

    The autocorrelation after one step where the swings are smooth, or after a period of two to four steps.
    """
    order = sorted(range(len(window)), key=window.__getitem__)
    middle = (len(window) - 1) / 2
    ranks = [0.0] * len(window)
    for rank, place in enumerate(order):
        ranks[place] = rank - middle
    power = sum(rank * rank for rank in ranks) / len(ranks)
    lags = [sum(map(mul, ranks, ranks[lag:])) / (len(ranks) - lag) / power for lag in range(2 * MAX_PERIOD + 1)]
    return max(lags[1], *(min(lags[lag], lags[2 * lag]) for lag in range(2, MAX_PERIOD + 1)))


def _jump(window: Sequence[float], *, spike: float, least: float) -> tuple[int, float] | None:
    """Return where a window jumps out of its noise and the level before it; None without one or too early to tell."""
    if least <= 0:
        return None
    half = len(window) // 2
    floor = median(window[:half]) + least
    for index in range(half, len(window) - AFTER):
        if window[index] <= floor:
            continue
        before = window[:index]
        level = median(before)
        spread = max(TO_SIGMA * median([abs(value - level) for value in before]), noise_of(before))
        usual = max(before) - level  # single batches that stand out, as those of heavy-tailed losses do
        if window[index] > level + max(spike * spread, 3 * usual, least):
            return index, level
    return None


def _rate_rose(history: History, *, since: int) -> bool:
    """Say whether the learning rate rose since a step, or in the reading that was open in it."""
    readings = latest(history, LOOK_BACK)
    older = [reading for reading in readings if reading.step < since]
    rates = [max(each.learning_rates, default=0.0) for each in (*older[-1:], *readings[len(older) :])]
    return max(rates) > 1.01 * rates[0]
