"""The pictures of the page: activation, its spread and gradient of the layers, loss and accuracy of a race."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from isometry.probes.race_result import Evaluation, RaceResult, RaceSide
from isometry.report.alignment import LayerPair
from isometry.report.axes import Axis, counting_axis, logarithmic_axis, loss_axis, share_axis
from isometry.report.facts import LayerRow
from isometry.report.language import say
from isometry.report.numerals import finite, numeral, percentage
from isometry.report.plot import Curve, Look, Picture, Point
from isometry.report.race import examples_of, has_accuracy

MAX_POINTS = 240  # of a training curve; more cannot be told apart at this width

Quantity = Callable[[LayerRow], float | None]


def layer_pictures(pairs: Sequence[LayerPair], *, names: Sequence[str]) -> Iterator[Picture]:
    """Activation, its spread between samples, and gradient over the layers, each if any layer has it.

    Args:
        pairs: The layers in the order of execution.
        names: What the diagnoses are called: one, or two if there is an `after`.

    Yields:
        The pictures.
    """
    quantities: tuple[tuple[str, str, Quantity], ...] = (
        ("activation", "Activation at each layer, root mean square", lambda layer: layer.activation_rms),
        ("spread", "What differs between samples, root mean square", lambda layer: layer.activation_spread),
        ("gradient", "Gradient at each layer, root mean square", lambda layer: layer.gradient_rms),
    )
    for key, title, quantity in quantities:
        curves = tuple(_layer_curves(pairs, quantity, names))
        values = [point.value for curve in curves for point in curve.points]
        if any(finite(value) is not None for value in values):
            yield _layer_picture(
                key, title, curves, num_layers=len(pairs), y_axis=logarithmic_axis(values), wording=_short
            )
    yield from _share_pictures(pairs, names)


def _share_pictures(pairs: Sequence[LayerPair], names: Sequence[str]) -> Iterator[Picture]:
    """Yield the shares of outputs that are zero and that are saturated, each if any layer has some."""
    quantities: tuple[tuple[str, str, Quantity], ...] = (
        ("zeros", "Zeros behind each layer, share of the outputs", lambda layer: layer.zero_share),
        ("saturated", "Saturated behind each layer, share of the outputs", lambda layer: layer.saturated_share),
    )
    for key, title, quantity in quantities:
        curves = tuple(_layer_curves(pairs, quantity, names))
        if any(finite(point.value) for curve in curves for point in curve.points):
            yield _layer_picture(key, title, curves, num_layers=len(pairs), y_axis=share_axis(), wording=percentage)


def _layer_picture(
    key: str, title: str, curves: tuple[Curve, ...], *, num_layers: int, y_axis: Axis, wording: Callable[[float], str]
) -> Picture:
    return Picture(
        key=f"picture-{key}",
        title=say(title),
        description=" ".join(map(_course, curves)),
        x_title=say("layer, in the order of execution"),
        x_axis=counting_axis(1, num_layers),
        y_axis=y_axis,
        curves=curves,
        wording=wording,
    )


def race_pictures(race: RaceResult) -> Iterator[Picture]:
    """Yield loss and accuracy over the steps, in that order; accuracy if the task has one."""
    examples = examples_of(race)
    courses = tuple(_training_curve(side, look) for side, look in _sides(race))
    looks = tuple(_evaluation_curve(side, look, lambda seen: seen.loss) for side, look in _sides(race))
    losses = [point.value for curve in (*courses, *looks) for point in curve.points]
    yield _race_picture(
        race, "loss", say("Loss on {examples}", examples=examples), curves=(*courses, *looks), y_axis=loss_axis(losses)
    )
    if has_accuracy(race):
        shares = tuple(_evaluation_curve(side, look, lambda seen: seen.accuracy) for side, look in _sides(race))
        picture = _race_picture(
            race, "accuracy", say("Accuracy on {examples}", examples=examples), curves=shares, y_axis=share_axis()
        )
        yield replace(picture, wording=percentage)


def _layer_curves(pairs: Sequence[LayerPair], quantity: Quantity, names: Sequence[str]) -> Iterator[Curve]:
    """Yield one curve a diagnosis; a layer that only the other one has leaves no gap."""
    looks: tuple[Look, ...] = ("second",) if len(names) == 1 else ("first", "second")
    sides = [pair.before for pair in pairs], [pair.after for pair in pairs]
    for name, look, layers in zip(names, looks, sides, strict=False):
        points = (
            Point(number, quantity(layer), say("layer {number} {name}", number=number, name=layer.name))
            for number, layer in enumerate(layers, start=1)
            if layer is not None
        )
        yield Curve(say(name), look, tuple(points))


def _short(value: float) -> str:
    return numeral(value, digits=2)


def _course(curve: Curve) -> str:
    """Return a curve in words."""
    shown = [(point, value) for point in curve.points if (value := finite(point.value)) is not None]
    if not shown:
        return say("{name}: nothing measured.", name=curve.name)
    (first, start), (last, end) = shown[0], shown[-1]
    lowest, highest = (numeral(choose(value for _, value in shown)) for choose in (min, max))
    return say(
        "{name}: from {start} at {first} to {end} at {last}; lowest {lowest}, highest {highest}.",
        name=curve.name,
        start=numeral(start),
        first=first.label,
        end=numeral(end),
        last=last.label,
        lowest=lowest,
        highest=highest,
    )


def _sides(race: RaceResult) -> tuple[tuple[RaceSide, Look], tuple[RaceSide, Look]]:
    return (race.first, "first"), (race.second, "second")


def _race_picture(race: RaceResult, key: str, title: str, *, curves: tuple[Curve, ...], y_axis: Axis) -> Picture:
    return Picture(
        key=f"picture-race-{key}",
        title=title,
        description=" ".join(_course(curve) for curve in curves if not curve.is_faint),
        x_title=say("optimiser step"),
        x_axis=counting_axis(0, race.steps),
        y_axis=y_axis,
        curves=curves,
    )


def _evaluation_curve(side: RaceSide, look: Look, number: Callable[[Evaluation], float | None]) -> Curve:
    points = (Point(seen.step, number(seen), say("step {number}", number=seen.step)) for seen in side.evaluations)
    return Curve(side.name, look, tuple(points))


def _training_curve(side: RaceSide, look: Look) -> Curve:
    """Return the loss before every step, in means over equal stretches; a stretch with a loss not finite is a gap."""
    stretch = max(1, -(-len(side.losses) // MAX_POINTS))
    points: list[Point] = []
    for first in range(0, len(side.losses), stretch):
        losses = [loss for loss in map(finite, side.losses[first : first + stretch]) if loss is not None]
        is_whole = len(losses) == len(side.losses[first : first + stretch])
        points.append(Point(first, sum(losses) / len(losses) if is_whole else None, say("step {number}", number=first)))
    return Curve(side.name, look, tuple(points), is_faint=True)
