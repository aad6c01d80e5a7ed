"""Rules on the size of the steps that a run makes (TRN)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from isometry._phrases import Phrase
from isometry.findings.rule import WATCH_RULES, Draft, rule
from isometry.probes.running.loss_course import LossCourse, median
from isometry.probes.running.readings import History, LayerReading, Reading
from isometry.report.finding import Remedy

MIN_RISE = 0.2  # of the start's size by which even the lowest tenth of the losses must lie above it
BLOWN_UP = 20.0  # times the start's size; a loss that stays there needs no further ground
MIN_JUMP = 1.0  # times the start's size, above it, of a leap from which the run must have recovered in time
PATIENCE = 30  # steps; some rates leap at first and train well
URGENT = 12  # steps, where the loss is twenty times its start
LEARNED = 0.1  # of the start's size; a run that has gained as much has recovered
# Update over weight, the median over the parameters. Adam's first steps reach 0.03 in sound trainings, and those of
# rates that ruin one 0.1 and more.
MIN_LONG_UPDATE = 0.05
MAX_SHORT_UPDATE = 1e-6  # update over weight: a million steps in one direction to write a weight anew
MIN_STILL_STEPS = 100  # steps without any gain
MIN_SLOPE = 1e-4  # gradient over weight; below it no rate that is in use moves the weights, and none is to blame
STILL_GAIN = 0.02  # of the loss at the start; less is none
LATEST = 10  # readings that are looked back at
STEEP_STEPS = 100  # after which a loss twenty times its start that rises still needs no long update
MAX_ALIKE = 1e-6  # by which rows of a layer's output differ, relative; in sound runs they do by a twentieth or more
LOOK_BACK = 64  # readings that are searched for a long update, where the loss says that there was one
SMALLER = Remedy(
    "optimizer", Phrase("A tenth of the learning rate, or a warm-up towards it; clip the gradient's norm.")
)
DOWNHILL = Remedy("optimizer", Phrase("See that the loss has its right sign; then a tenth of the learning rate."))
LARGER = Remedy("optimizer", Phrase("A learning rate at which an update is about a thousandth of the weight."))


@rule("TRN101", severity="error", explained_by=("TRN106",), table=WATCH_RULES)
def learning_rate_too_high(
    history: History,
    course: LossCourse,
    *,
    min_rise: float = MIN_RISE,
    blown_up: float = BLOWN_UP,
    min_jump: float = MIN_JUMP,
    min_update: float = MIN_LONG_UPDATE,
) -> Iterator[Draft]:
    """The loss rose above its start and stays there, after steps that were long beside the weights.

    Why:
        A step is right as long as the loss is nearly a straight line along it. One that goes further lands on the
        other side of the valley, higher up; rectifiers die, activations saturate, and the loss stays there or
        overflows.

    Measured:
        Both must hold. Of the last thirty losses even the tenth percentile lies above the first, by a fifth of its
        size and four standard deviations of the noise; or the last twelve are twenty times as high; or the loss leapt
        to twice its start at the beginning and has gained nothing thirty steps later. And in one of the readings
        up to there the update was a twentieth of the weight or more, as the median over the parameters that did not
        start at zero. Without a long update a loss twenty times its start is told where it rises still after a hundred
        steps; as a note where the start was next to nothing, as where values are learnt.

    Remedy:
        A smaller rate, a warm-up, or a bound on the gradient's norm.

    Source:
        LeCun, Bottou, Orr, Müller 1998, Efficient BackProp; Karpathy 2015, CS231n, ratio of weights to updates.
    """
    stands_above = _stands_above(course, min_rise, blown_up)
    if not stands_above and not _never_recovered(course, min_jump):
        return
    readings = [*latest(history, LOOK_BACK)] if stands_above else [*islice(history.readings, LOOK_BACK)]
    longest = longest_update(history, readings)
    is_long = longest >= min_update
    if not is_long and not _climbs(course, blown_up):
        return
    yield Draft(
        where=(),
        measured=longest,
        allowed=min_update,
        unit="update over weight",
        cause=Phrase(
            "the loss began at {start:.4g} and stands at {recent:.4g} after {steps} steps; the updates came to "
            "{longest:.2g} of the weights",
            start=course.start,
            recent=course.recent,
            steps=course.steps,
            longest=longest,
        ),
        remedy=SMALLER if is_long else DOWNHILL,
        severity="note" if course.starts_near_zero and not is_long else None,
        message=_rise(course, stands_above=stands_above, is_long=is_long),
    )


def _rise(course: LossCourse, *, stands_above: bool, is_long: bool) -> Phrase:
    """Return how far the loss rose, and where it stands if that is elsewhere."""
    start, peak, recent = course.start, course.peak, course.recent
    if not is_long:
        return Phrase(
            "The steps lead uphill: the loss went from {start:.4g} up to {peak:.4g}.", start=start, peak=recent
        )
    if stands_above:
        return Phrase(
            "The steps are too long: the loss went from {start:.4g} up to {peak:.4g}.", start=start, peak=recent
        )
    return Phrase(
        "The steps are too long: the loss leapt from {start:.4g} to {peak:.4g} and stands at {recent:.4g}.",
        start=start,
        peak=peak,
        recent=recent,
    )


def _stands_above(course: LossCourse, min_rise: float, blown_up: float) -> bool:
    """Say whether the loss has stood above its start for so long that it does not come back by itself."""
    recent = sorted(course.window[-PATIENCE:])
    if course.start > 0 and course.steps > URGENT and min(course.window[-URGENT:]) > blown_up * course.start:
        return True
    return course.steps > PATIENCE and recent[len(recent) // 10] > course.start + course.margin(min_rise)


def _climbs(course: LossCourse, blown_up: float) -> bool:
    """Say whether the loss has left its start far behind, after many steps, and rises on."""
    is_far = course.start > 0 and min(course.window[-URGENT:]) > blown_up * course.start
    return is_far and course.steps >= STEEP_STEPS and course.recent > course.before + 4 * course.noise


def _never_recovered(course: LossCourse, min_jump: float) -> bool:
    """Say whether the loss leapt up at the beginning and has not come below its start since."""
    height = max(min_jump * abs(course.start), 12 * course.noise)
    is_settled = course.steps >= PATIENCE and max(course.window[-PATIENCE:]) < course.peak
    return (
        is_settled
        and course.peak > course.start + height
        and course.recent > course.start - LEARNED * abs(course.start)
    )


@rule("TRN102", severity="error", explained_by=("NUM103", "FWD103", "BWD101"), table=WATCH_RULES)
def learning_rate_too_low(
    history: History,
    course: LossCourse,
    *,
    max_update: float = MAX_SHORT_UPDATE,
    still_steps: float = MIN_STILL_STEPS,
    still_gain: float = STILL_GAIN,
    min_slope: float = MIN_SLOPE,
) -> Iterator[Draft]:
    """The steps are so short that the weights stay where they are, and so does the loss.

    Why:
        What a step changes is the product of rate and gradient. Updates of a millionth of the weights need a million
        steps in one direction to write them anew; in bfloat16 they are rounded away altogether.

    Measured:
        Update over weight below 1e-6, as the median over the parameters that move, in each of the last ten readings and
        in the first; over a hundred steps or more in which the loss gained less than a fiftieth of its start. The
        gradient must be 1e-4 of the weight or more: where it has vanished the rate is not to blame. Rates that were
        higher before or rise since, as those of schedules, are left in peace.

    Remedy:
        A rate at which an update is about a thousandth of the weight.

    Source:
        Bengio 2012, arXiv:1206.5533, section 3.1; Karpathy 2015, CS231n, ratio of weights to updates.
    """
    readings = latest(history)
    if course.steps < still_steps or len(readings) < LATEST or course.first - course.recent > course.margin(still_gain):
        return
    if update_ratio(readings[-1]) >= max_update:
        return
    seen = (history.readings[0], *readings)
    largest = max(map(update_ratio, seen))
    rates = [max(reading.learning_rates, default=0.0) for reading in seen]
    slope = median([_slope(reading) for reading in readings])
    if largest >= max_update or rates[0] != rates[-1] or slope < min_slope:
        return
    yield Draft(
        where=(),
        measured=largest,
        allowed=max_update,
        unit="update over weight",
        cause=Phrase(
            "in {steps} steps the loss went from {start:.6g} to {recent:.6g}, at a learning rate of {rate:.2g}",
            steps=course.steps,
            start=course.first,
            recent=course.recent,
            rate=rates[-1],
        ),
        remedy=LARGER,
        message=Phrase(
            "The steps are too short: an update is {measured:.1g} of the weight or less ({allowed:.0e} is the least).",
            measured=largest,
            allowed=max_update,
        ),
    )


def latest(history: History, count: int = LATEST) -> list[Reading]:
    """Return the last readings, oldest first."""
    return list(islice(reversed(history.readings), count))[::-1]


def outputs_are_alike(readings: Sequence[Reading]) -> bool:
    """Say whether in each of ten readings or more the network's outputs were seen to be the same for every row."""
    return _are_alike([[layer for layer in each.layers if layer.is_output] for each in readings])


def inputs_are_alike(readings: Sequence[Reading]) -> bool:
    """Say whether in each of ten readings or more what the first layer gave was the same for every row."""
    return _are_alike([each.layers[:1] for each in readings])


def _are_alike(layers: Sequence[Sequence[LayerReading]]) -> bool:
    found = [max((one.difference for one in each if one.difference is not None), default=None) for each in layers]
    return len(found) >= LATEST and all(each is not None and each <= MAX_ALIKE for each in found)


def longest_update(history: History, readings: Iterable[Reading]) -> float:
    """Return the largest update over weight of some readings, dimensionless.

    Parameters that started at zero are left out where there are others: for Adam theirs is one over the step, at any
    rate.
    """
    first = history.readings[0].parameters
    zero = frozenset(each.name for each in first if each.weight_rms == 0)
    besides = zero if len(zero) < len(first) else frozenset[str]()
    return max((update_ratio(each, besides=besides) for each in readings), default=0.0)


def makes_long_updates(history: History) -> bool:
    """Say whether one of the latest updates was long beside the weights."""
    return longest_update(history, latest(history, LOOK_BACK)) >= MIN_LONG_UPDATE


def update_ratio(reading: Reading, *, besides: frozenset[str] = frozenset()) -> float:
    """Return update over weight of a reading, dimensionless: the median over the parameters that moved.

    Args:
        reading: The reading.
        besides: Names of parameters to leave out.

    Returns:
        The ratio; zero where nothing moved.
    """
    ratios = [ratio for each in reading.parameters if (ratio := each.update_ratio) and each.name not in besides]
    return median(ratios) if ratios else 0.0


def _slope(reading: Reading) -> float:
    slopes = [
        each.gradient_rms / each.weight_rms for each in reading.parameters if each.gradient_rms and each.weight_rms
    ]
    return median(slopes) if slopes else 0.0
