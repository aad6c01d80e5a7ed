"""Rules on the course of a run's loss (TRN)."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import mul

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.findings.watched.training import LOOK_BACK, SMALLER, latest, update_ratio
from isometry.probes.running.loss_course import TO_SIGMA, LossCourse, median, noise_of
from isometry.probes.running.readings import Evaluation, History
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
PLATEAU_STEPS = (
    1000  # without a gain; saddles that sound trainings leave again take hundreds: docs/explain/watched-runs.md
)
PLATEAU_WIDTH = 0.05  # of the baseline, by which the level may lie below it
MIN_EVALUATIONS = 3  # behind the best one
MIN_LOST = 0.1  # of the best validation loss, and of what had been gained: more is worth stopping for
SPIKE = 12.0  # standard deviations of the losses before it, above their level
MIN_JUMP = 0.5  # of what the run has gained, by which a spike rises
AFTER = 12  # losses behind a spike that say whether the run recovered
HELD_OUT = frozenset({"val", "valid", "validation", "test", "eval", "dev", "epoch", "mean"})
LOSSES = ({"loss"}, {"nll"}, {"perplexity"}, {"cross", "entropy"})
EVEN = Remedy("data", Phrase("See that targets and inputs belong together, and vary; then a larger or a smaller step."))
STOP = Remedy("none", Phrase("Stop there, or regularise: iso.EarlyStopping keeps the weights of the best evaluation."))
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
    """The loss stays at what the best constant prediction gives.

    Why:
        A network that says the same for every input has learnt how frequent the targets are and nothing else. Its
        inputs do not reach its outputs, or do not belong to its targets.

    Measured:
        The level of the latest losses, within a twentieth of the loss of the best constant predictor (`baseline`), a
        thousand steps after the first, and at no time lower. Without a baseline the level of the first losses takes
        its place, and it is a note: what can be reached is then unknown.

    Remedy:
        See that inputs and targets belong together and vary; `isometry check` tells whether the inputs reach the loss.

    Source:
        Karpathy 2019, A Recipe for Training Neural Networks, on the input-independent baseline.
    """
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
        "after {steps} steps at updates of {update:.1g} of the weights the network predicts the same for every input",
        steps=course.steps,
        update=update_ratio(history.readings[-1]),
    )


@rule("TRN105", severity="warning", explained_by=("TRN101",), table=WATCH_RULES)
def overfitting(history: History, course: LossCourse, *, min_lost: float = MIN_LOST) -> Iterator[Draft]:
    """The loss on held-out data rises while the training loss falls.

    Why:
        From there on the network learns what is true of its training data alone.

    Measured:
        Three evaluations or more behind the best: the median of the last three lies above it by a tenth of its value,
        by a tenth of what had been gained, and by four standard deviations of the noise between evaluations; the
        training loss fell meanwhile. A note where an accuracy that was evaluated with it has not fallen, since then
        the network is only surer of its errors.

    Remedy:
        Stop at the best evaluation, regularise, or get more data. With many wrong labels or few examples a longer
        training may descend a second time.

    Source:
        Prechelt 1998, Early stopping, but when?; Nakkiran et al. 2020, arXiv:1912.02292, on the second descent.
    """
    for name in _held_out(history.evaluations):
        series = [(each, each.metrics[name]) for each in history.evaluations if name in each.metrics]
        values = [value for _, value in series]
        best = min(range(len(values)), key=values.__getitem__)
        if len(values) - 1 - best < MIN_EVALUATIONS or not all(map(math.isfinite, values)):
            continue
        last = median(values[-MIN_EVALUATIONS:])
        rise = last - values[best]
        gained = max(values[0] - values[best], 0.0)
        noise = _second_differences(values)
        if rise <= max(min_lost * abs(values[best]), min_lost * gained, 4 * noise):
            continue
        if not _training_fell(history, course, since=series[best][0].step):
            continue
        yield _overfitted(name, series[best], last=last, history=history)


def _overfitted(name: str, best: tuple[Evaluation, float], *, last: float, history: History) -> Draft:
    return Draft(
        where=(name,),
        measured=last,
        allowed=best[1],
        unit="loss",
        cause=Phrase(
            "{name} was best at step {step} with {best:.4g} and stands at {last:.4g}, while the training loss fell",
            name=name,
            step=best[0].step,
            best=best[1],
            last=last,
        ),
        remedy=STOP,
        severity="note" if _is_still_as_right(history.evaluations, best[0]) else None,
    )


@rule("TRN106", severity="warning", table=WATCH_RULES)
def loss_spike(
    history: History, course: LossCourse, *, spike: float = SPIKE, min_jump: float = MIN_JUMP
) -> Iterator[Draft]:
    """The loss jumps in a single step, far out of its noise.

    Why:
        A batch unlike the others, or a step into a steep place, undoes in one step what many had learnt.

    Measured:
        A loss of the last 32 that lies twelve standard deviations above the level of those before it, and by half of
        what the run has gained. With twelve losses behind it: a note if they are back at the level, a warning if even
        their tenth percentile stays above it by a quarter of the gain. After a rise of the learning rate, as at a
        warm restart, it is none.

    Remedy:
        Look at the batch of that step; clip the gradient's norm; a longer warm-up.

    Source:
        Chowdhery et al. 2022, arXiv:2204.02311, section 5.1; Takase et al. 2023, arXiv:2312.16903.
    """
    window = course.window
    found = _jump(window, spike=spike, least=min_jump * course.gain)
    if found is None:
        return
    index, level = found
    steps = [step for step, _ in history.losses[-len(window) :]]
    if _rate_rose(history, since=steps[0]):
        return
    after = sorted(window[index + 1 :])
    stays = after[len(after) // 10] > level + 0.5 * min_jump * course.gain
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
        severity=None if stays else "note",
    )


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


def _held_out(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the names of the metrics that are losses on held-out data; parts of a loss may rise by design."""
    if len(evaluations) <= MIN_EVALUATIONS:
        return []
    return [name for name in evaluations[-1].metrics if _is_held_out_loss(name)]


def _is_held_out_loss(name: str) -> bool:
    words = set(re.findall(r"[a-z]+", name.lower())) - HELD_OUT
    return words in LOSSES


def _second_differences(values: Sequence[float]) -> float:
    """Return the noise of a smooth series; differences of differences know no trend."""
    bends = [abs(values[i + 2] - 2 * values[i + 1] + values[i]) for i in range(len(values) - 2)]
    return TO_SIGMA * median(bends) / math.sqrt(6) if bends else 0.0


def _training_fell(history: History, course: LossCourse, *, since: int) -> bool:
    around = [loss for step, loss in history.losses if abs(step - since) <= len(course.window) and math.isfinite(loss)]
    return bool(around) and course.recent < median(around)


def _is_still_as_right(evaluations: Sequence[Evaluation], best: Evaluation) -> bool:
    """Say whether an accuracy that was evaluated too has not fallen since the loss was best."""
    last = evaluations[-1].metrics
    names = [name for name in last if "acc" in name.lower() and "train" not in name.lower() and name in best.metrics]
    return bool(names) and all(last[name] >= best.metrics[name] for name in names)


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
