"""Puts the errors of all members of a family together, and reads them as a curve."""

from collections.abc import Sequence

import numpy as np

from isometry._errors import BuilderError
from isometry.lab.curve.member import Measured
from isometry.lab.curve.plan import Plan
from isometry.lab.curve.reading import Errors, FloatArray, course_of, peak_of, position_of, threshold_of
from isometry.lab.curve.result import Curve, Gain

Bundle = Sequence[Measured]


def curve_of(plan: Plan, found: Sequence[Measured], *, seconds: float) -> Curve:
    """Return the curve of what was measured.

    Args:
        plan: What was trained.
        found: Of each job, in the plan's order.
        seconds: That it took.

    Raises:
        BuilderError: If members were given different data.
    """
    _require_same_data(found)
    count, seeds = plan.num_curves, len(plan.seeds)
    bundles = [found[first : first + seeds] for first in range(0, len(found), seeds)]
    ends, best = (_each_example(bundles[:count], key) for key in ("test_errors", "best_errors"))
    train = _at_each_place(bundles[:count], "train_error")
    errors, place = Errors(ends), None if plan.current is None else plan.values.index(plan.current)
    peak, threshold = peak_of(errors), threshold_of(train, is_falling=plan.over != "samples")
    diverged = _at_each_place(bundles[:count], "has_diverged")
    has_failed = 2 * sum(map(bool, diverged)) > len(diverged)
    if has_failed:
        peak = None
    last = found[count * seeds - 1]
    return Curve(
        over=plan.over,
        values=plan.values,
        train_error=train,
        test_error=tuple(errors.means.tolist()),
        best_error=tuple(best.mean((1, 2)).tolist()),
        best_epoch=_at_each_place(bundles[:count], "best_epochs"),
        diverged=tuple(value for value, share in zip(plan.values, diverged, strict=True) if share),
        noise=tuple(errors.noise(each) for each in range(len(plan.values))),
        course="diverged" if has_failed else course_of(errors),
        threshold=None if threshold is None else plan.values[threshold],
        peak=None if peak is None else plan.values[peak],
        current=plan.current,
        position=None if peak is None or place is None else position_of(errors, peak, place),
        better=None if place is None else _better(plan, errors, place),
        gains=() if place is None else _gains(plan, ends[place], [best[place], *map(_end, bundles[count:])]),
        kind=last["kind"],
        num_epochs=plan.epochs,
        num_train=last["num_train"],
        num_test=ends.shape[2],
        num_seeds=seeds,
        optimizer=last["optimizer"],
        loss=last["loss"],
        seconds=seconds,
    )


def _require_same_data(found: Sequence[Measured]) -> None:
    if len({each["data"] for each in found}) > 1:
        raise BuilderError(
            "the builder gives other inputs or targets at some sizes or seeds than at others, so that their errors "
            "cannot be compared. Draw the data with a generator of its own seed, or give them beside the builder."
        )


def _better(plan: Plan, errors: Errors, place: int) -> int | None:
    """Return the nearest value above a place that is surely better."""
    later = range(place + 1, len(plan.values))
    return next((plan.values[each] for each in later if errors.difference(place, each).is_sure), None)


def _each_example(bundles: Sequence[Bundle], key: str) -> FloatArray:
    """Return the errors of all held-out examples, (places, seeds, examples), with a place a look of each bundle."""
    stacked = np.array([[each[key] for each in bundle] for bundle in bundles], dtype=np.float64)
    return stacked.transpose(0, 2, 1, 3).reshape(-1, stacked.shape[1], stacked.shape[3])


def _end(bundle: Bundle) -> FloatArray:
    return np.array([each["test_errors"][-1] for each in bundle], dtype=np.float64)


def _at_each_place(bundles: Sequence[Bundle], key: str) -> tuple[float, ...]:
    """Return the means over seeds."""
    means = (np.mean([each[key] for each in bundle], 0) for bundle in bundles)
    return tuple(float(value) for row in means for value in row)


def _gains(plan: Plan, end: FloatArray, remedies: Sequence[FloatArray]) -> tuple[Gain, ...]:
    """Hold each remedy against the end of training at the current value."""
    found: list[Gain] = []
    for decay, errors in zip((None, *plan.decays), remedies, strict=True):
        lower = Errors(np.stack([end, errors])).difference(0, 1)
        found.append(Gain(decay=decay, error=float(errors.mean()), lower=lower))
    return tuple(found)
