"""Whether another learning rate would do what the given one does not: the same trial with the step shrunk or grown."""

import itertools
import math
import statistics
import time
from dataclasses import dataclass

from isometry.probes.course import TIME_BUDGET, Course
from isometry.probes.curvature import largest_curvature, stability_bound
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.trial import affordable_steps, course_of, learns
from isometry.probes.trial_result import TrialResult

SHRUNK = (0.1, 0.01, 1e-3, 1e-4)  # of the given rate
GROWN = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8)  # less is a matter of patience, not of failure
LONGER = 4  # times as many steps, where the given rate may yet come down from where its first steps led
TAIL = 0.25  # share of the losses, the last ones, whose median is where a course ends; one may be a spike
SMALL_UPDATE = 1e-4  # of the weight in one step, median over the parameters; at 1e-3 networks learn in 1,000 steps
HARMFUL_RISES = 0.5  # of the loss at the start
RESTLESS_RISES = 0.2  # of the loss at the start
CLEAR_FALL = 0.05  # of the loss at the start; there may be next to nothing to learn but the mean of the targets
STILL = 1e-5  # of the loss at the start; by less it moves neither up nor down, but by rounding
SMALLEST = 1e-30


@dataclass(frozen=True, slots=True)
class RateCourse:
    """What a course of training at one learning rate came to.

    Attributes:
        rate: The learning rate of the first group.
        start: The loss before any step.
        end: Median of the last losses; infinite if one of them, or a weight, is not finite.
        rises: Sum of all rises from one step to the next, over the loss at the start, dimensionless; infinite
            likewise.
        learns: Whether the network came to tell its samples apart.
        last: The last loss itself, for people; None where it is that at the end.
    """

    rate: float
    start: float
    end: float
    rises: float
    learns: bool
    last: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """The user's learning rate beside others.

    Attributes:
        given: The course at the given rate.
        smaller: Courses at smaller rates, where the given one does harm; from the largest to the smallest.
        larger: Courses at larger rates, where the given one does next to nothing; from the smallest to the largest.
        steps: Steps of each course, counts; more than those of the trial where the first look left a doubt.
        is_settled: Whether the given rate was followed for longer than the trial, or need not be.
        update: Median over the parameters of the first update over the weight, dimensionless.
        bound: Up to which rate gradient descent is stable at the start; None if it was not measured.
        is_fresh: Whether the weights are newly initialised.
    """

    given: RateCourse
    smaller: tuple[RateCourse, ...]
    larger: tuple[RateCourse, ...]
    steps: int
    is_settled: bool
    update: float
    bound: float | None
    is_fresh: bool


@probe(StepSize)
def measure_step_size(evidence: Evidence) -> StepSize:
    """Look at the trial, and repeat it with other rates where it went badly."""
    if evidence.task.optimizer_factory is None:
        raise NotMeasuredError("no optimiser was given")
    trial = measure(evidence, TrialResult)
    if trial.learning_rate is None:
        raise NotMeasuredError("the optimiser has no learning rate")
    if trial.is_warming_up:
        raise NotMeasuredError("a schedule holds the learning rate below what it will be")
    if not trial.num_held:
        raise NotMeasuredError("the optimiser does not hold the model's parameters")
    given, num_steps = _summary(trial.learning_rate, trial.losses, is_learning=trial.learns), len(trial.losses) - 1
    update = statistics.median([each.ratio for each in trial.updates] or [math.inf])  # weights of zero always move far
    smaller = larger = ()
    is_short = update < SMALL_UPDATE
    if (does_harm(given) or is_restless(given)) and not (is_short and stands_still(given)):
        smaller = _others(evidence, trial, SHRUNK)
        given, smaller, num_steps = _second_look(evidence, given, smaller, num_steps=num_steps)
    elif not given.learns and is_short and trial.learning_rate > 0:
        larger = _others(evidence, trial, GROWN)
    return StepSize(
        given=given,
        smaller=smaller,
        larger=larger,
        steps=num_steps,
        is_settled=num_steps > len(trial.losses) - 1 or not math.isfinite(given.end),
        update=update,
        bound=_bound(evidence, trial) if smaller else None,
        is_fresh=evidence.task.is_fresh,
    )


def does_harm(course: RateCourse) -> bool:
    """Say whether a course of training came to nothing, and not for want of movement."""
    return course.end >= course.start or (not course.learns and course.rises > HARMFUL_RISES)


def stands_still(course: RateCourse) -> bool:
    """Say whether a loss neither rose nor fell: what it did is rounding."""
    is_level = abs(course.end - course.start) <= STILL * abs(course.start)
    return math.isfinite(course.end) and is_level and course.rises <= STILL


def is_restless(course: RateCourse) -> bool:
    """Say whether the loss rose on its way more than noise explains: the random numbers are the same at all steps."""
    return course.rises > RESTLESS_RISES


def _second_look(
    evidence: Evidence, given: RateCourse, smaller: tuple[RateCourse, ...], *, num_steps: int
) -> tuple[RateCourse, tuple[RateCourse, ...], int]:
    """Follow the given rate and the smaller ones for longer, if the given one may still come down."""
    steps = LONGER * num_steps
    affordable = int(TIME_BUDGET / max(steps * measure(evidence, TrialResult).step_seconds, SMALLEST)) - 1
    learned = sorted((each for each in smaller if each.learns), key=lambda course: course.end)[: max(affordable, 0)]
    if not learned or not math.isfinite(given.end):
        return given, smaller, num_steps
    longer = [_course_at(evidence, each.rate / given.rate, steps) for each in (given, *learned)]
    return longer[0], tuple(longer[1:]), steps


def _course_at(evidence: Evidence, factor: float, steps: int) -> RateCourse:
    course = course_of(evidence.task, steps=steps, seed=evidence.seed, rate_factor=factor)
    return _summary(course.learning_rate or 0.0, course.losses, is_learning=learns(course) or _falls(course))


def _falls(course: Course) -> bool:
    """Say whether a loss of which no more is known falls clearly."""
    start, end = course.losses[0], course.losses[-1]
    return not course.progress and course.is_finite and start - end > CLEAR_FALL * abs(start)


def _others(evidence: Evidence, trial: TrialResult, factors: tuple[float, ...]) -> tuple[RateCourse, ...]:
    """Return courses at other rates, up to the first that is worse than one at which the network learned."""
    steps = min(affordable_steps(evidence), len(trial.losses) - 1) or 1
    found: list[RateCourse] = []
    deadline = time.perf_counter() + TIME_BUDGET
    for factor in factors:
        if time.perf_counter() + steps * trial.step_seconds > deadline:
            break
        found.append(_course_at(evidence, factor, steps))
        learned = [each.end for each in found if each.learns and not does_harm(each)]
        if learned and found[-1].end > min(learned):
            break
    return tuple(found)


def _summary(rate: float, losses: tuple[float, ...], *, is_learning: bool) -> RateCourse:
    last = losses[-max(round(TAIL * len(losses)), 1) :]
    if not all(math.isfinite(loss) for loss in losses):
        return RateCourse(rate, losses[0], math.inf, math.inf, is_learning, losses[-1])
    rises = sum(max(after - before, 0.0) for before, after in itertools.pairwise(losses))
    return RateCourse(
        rate, losses[0], statistics.median(last), rises / max(abs(losses[0]), SMALLEST), is_learning, losses[-1]
    )


def _bound(evidence: Evidence, trial: TrialResult) -> float | None:
    if not trial.optimizer.startswith("SGD("):
        return None  # the others divide by what they have seen of the gradient
    curvature = largest_curvature(evidence.task, seed=evidence.seed)
    return None if curvature is None else stability_bound(curvature, trial.momentum)
