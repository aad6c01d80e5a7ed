"""The pictures of a run over its steps: loss, evaluations, gradient, learning rate, noise, dead and saturated units."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from isometry.probes.running.readings import LayerReading, Reading
from isometry.report.axes import Axis, counting_axis, logarithmic_axis, loss_axis, share_axis
from isometry.report.language import say
from isometry.report.numerals import finite, numeral, percentage
from isometry.report.plot import Curve, Flag, Look, Picture, Point
from isometry.report.run.course import MetricCourse, losses_of, metric_courses, spread_out, stretches
from isometry.report.run.facts import RunFacts
from isometry.report.run.words import incidents

MAX_POINTS = 240  # of a course; more cannot be told apart at this width
SMOOTH_REACH = 8  # of these, those on either side that a smoothed course takes the mean of
LEAST_TO_SMOOTH = 60  # points of a course; a shorter one is shown as it is
MAX_METRICS = 12  # pictures of evaluations; the table has them all

Number = Callable[[Reading], float | None]
Share = Callable[[LayerReading], float | None]


def run_pictures(facts: RunFacts) -> Iterator[Picture]:
    """The courses of a run, each if there is a finite number to show.

    Args:
        facts: The run.

    Yields:
        The loss first, with what happened on the way; then evaluations, then what was recorded.
    """
    losses, others = _metrics(facts)
    flags = tuple(Flag(each.step, each.severity, f"{each.time}: {each.title}") for each in incidents(facts))
    metrics = (_metric_picture(facts, f"metric-{number}", course) for number, course in enumerate(others[:MAX_METRICS]))
    shown = spread_out(facts.readings, MAX_POINTS)
    marked = (replace(picture, flags=flags) for picture in (*_loss_pictures(facts, losses), *metrics))
    for picture in (*marked, *_number_pictures(facts, shown), *_layer_pictures(facts, shown)):
        if any(point.value is not None for curve in picture.curves for point in curve.points):
            yield picture


def _metrics(facts: RunFacts) -> tuple[list[MetricCourse], list[MetricCourse]]:
    """Return the metric that belongs beside the training loss, if there is one, and the others."""
    courses = metric_courses(facts.evaluations)
    losses = [course for course in courses if course.name.endswith("loss") and course.finite][:1]
    return losses, [course for course in courses if course not in losses]


def _loss_pictures(facts: RunFacts, metrics: Sequence[MetricCourse]) -> Iterator[Picture]:
    points = losses_of(facts.readings)
    if not points:
        return
    means = stretches(points, MAX_POINTS)
    raw = tuple(_point(mean.last, mean.mean if mean.is_whole else None) for mean in means)
    last, value = points[-1]
    raw = (*raw[:-1], _point(last, value))  # what stands beside the end is the last loss, as everywhere else
    is_smoothed = len(means) >= LEAST_TO_SMOOTH
    curves = [
        *([Curve(say("training"), "second", raw, is_faint=True)] if is_smoothed else []),
        *(Curve(course.name, "first", _seen(course)) for course in metrics),
        Curve(say("training"), "second", raw),
    ]
    axis = loss_axis(_values(curves))
    if is_smoothed:
        smooth = replace(curves[-1], points=_smoothed(raw, is_logarithmic=axis.is_logarithmic))
        curves = [*curves[:-1], smooth]
    yield _picture(facts, "loss", say("Loss"), curves=curves, y_axis=axis)


def _smoothed(points: Sequence[Point], *, is_logarithmic: bool) -> tuple[Point, ...]:
    """Return the mean around each point as the axis shows it, nearer towards the ends; a gap stays a gap."""

    def mean(place: int) -> float | None:
        reach = min(SMOOTH_REACH, place, len(points) - 1 - place)
        values = [point.value for point in points[place - reach : place + reach + 1] if point.value is not None]
        if points[place].value is None:
            return None
        if is_logarithmic:
            return math.exp(math.fsum(math.log(value) for value in values) / len(values))
        return math.fsum(value / len(values) for value in values)

    return tuple(replace(point, value=mean(place)) for place, point in enumerate(points))


def _metric_picture(facts: RunFacts, key: str, course: MetricCourse) -> Picture:
    axis = loss_axis([value for _, value in course.finite])
    title = say("Evaluations: {name}", name=course.name)
    return _picture(facts, key, title, curves=[Curve(course.name, "first", _seen(course))], y_axis=axis)


def _number_pictures(facts: RunFacts, readings: Sequence[Reading]) -> Iterator[Picture]:
    """Yield what a recorded step has one number of."""
    unit = next((reading.noise_unit for reading in readings if reading.noise_scale is not None), "")
    kinds: tuple[tuple[str, str, Number], ...] = (
        ("gradient", say("Norm of the gradient"), lambda reading: reading.gradient_norm),
        ("noise", say("Noise scale of the gradient, in {unit}", unit=say(unit)), lambda reading: reading.noise_scale),
        ("scale", say("Loss scale"), lambda reading: reading.loss_scale),
    )
    yield from _rate_pictures(facts, readings)
    for key, title, number in kinds:
        curve = _curve(title, "second", readings, number=number)
        yield _picture(facts, key, title, curves=[curve], y_axis=logarithmic_axis(_values([curve])))


def _rate_pictures(facts: RunFacts, readings: Sequence[Reading]) -> Iterator[Picture]:
    rated = [reading for reading in readings if reading.learning_rates]
    if not rated:
        return
    highest = _curve(say("highest group"), "second", rated, number=lambda reading: max(reading.learning_rates))
    lowest = _curve(say("lowest group"), "first", rated, number=lambda reading: min(reading.learning_rates))
    curves = [highest] if _values([highest]) == _values([lowest]) else [lowest, highest]
    yield _picture(facts, "rate", say("Learning rate"), curves=curves, y_axis=loss_axis(_values(curves)))


def _layer_pictures(facts: RunFacts, readings: Sequence[Reading]) -> Iterator[Picture]:
    """Yield what each layer has one number of, as the highest layer and the mean over them."""
    kinds: tuple[tuple[str, str, Share], ...] = (
        ("dead", say("Dead units, share of a layer's"), lambda layer: layer.dead_share),
        ("saturated", say("Saturated outputs, share of a layer's"), lambda layer: layer.saturated_share),
        ("logits", say("Largest logit of attention"), lambda layer: layer.logit_max),
    )
    for key, title, share in kinds:
        highest = _curve(say("highest layer"), "second", readings, number=_over_layers(share, _highest))
        mean = _curve(say("mean of the layers"), "first", readings, number=_over_layers(share, _mean))
        values = _values([highest, mean])
        axis, wording = (logarithmic_axis(values), _short) if key == "logits" else (share_axis(), percentage)
        yield _picture(facts, key, title, curves=[mean, highest], y_axis=axis, wording=wording)


def _over_layers(share: Share, merge: Callable[[list[float]], float]) -> Number:
    def number(reading: Reading) -> float | None:
        values = [value for layer in reading.layers if (value := share(layer)) is not None]
        return merge(values) if values else None

    return number


def _highest(values: list[float]) -> float:
    """Return the highest value; one that is no number above all."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def _mean(values: list[float]) -> float:
    return math.fsum(value / len(values) for value in values) if all(map(math.isfinite, values)) else math.nan


def _curve(name: str, look: Look, readings: Iterable[Reading], *, number: Number) -> Curve:
    return Curve(name, look, tuple(_point(reading.step, number(reading)) for reading in readings))


def _seen(course: MetricCourse) -> tuple[Point, ...]:
    return tuple(_point(evaluation.step, value) for evaluation, value in course.seen)


def _point(step: int, value: float | None) -> Point:
    return Point(step, finite(value), say("step {number}", number=step))


def _values(curves: Iterable[Curve]) -> list[float | None]:
    return [point.value for curve in curves for point in curve.points]


def _short(value: float) -> str:
    return numeral(value, digits=2)


def _picture(
    facts: RunFacts,
    key: str,
    title: str,
    *,
    curves: Sequence[Curve],
    y_axis: Axis,
    wording: Callable[[float], str] = _short,
) -> Picture:
    first = min((step for step, _ in losses_of(facts.readings[:1])), default=0)
    return Picture(
        key=f"run-{key}",
        title=title,
        description=" ".join(_in_words(curve) for curve in curves if not curve.is_faint),
        x_title=say("optimiser step"),
        x_axis=counting_axis(min(first, facts.steps), facts.steps),
        y_axis=y_axis,
        curves=tuple(curves),
        wording=wording,
    )


def _in_words(curve: Curve) -> str:
    shown = [(point, point.value) for point in curve.points if point.value is not None]
    if not shown:
        return say("{name}: nothing measured.", name=curve.name)
    (first, start), (last, end) = shown[0], shown[-1]
    return say(
        "{name}: from {start} at {first} to {end} at {last}; lowest {lowest}, highest {highest}.",
        name=curve.name,
        start=numeral(start),
        first=first.label,
        end=numeral(end),
        last=last.label,
        lowest=numeral(min(value for _, value in shown)),
        highest=numeral(max(value for _, value in shown)),
    )
