"""The trial and the Jacobian on the page: the loss of the steps, singular values, the order-to-chaos diagram."""

import math
from collections.abc import Iterator, Sequence

from isometry.probes.jacobian_result import JacobianResult, MeanField, Spectrum
from isometry.report.axes import counting_axis, linear_axis, logarithmic_axis, loss_axis
from isometry.report.facts import Facts
from isometry.report.language import say
from isometry.report.markup import Column, Markup, table
from isometry.report.numerals import numeral
from isometry.report.outline import jacobian_rows
from isometry.report.plot import Curve, Look, Picture, Point

MAX_VALUES = 200  # points of a spectrum; more cannot be told apart at this width
LOOKS: tuple[Look, Look] = ("first", "second")


def trial_pictures(diagnoses: Sequence[Facts]) -> Iterator[Picture]:
    """Yield the loss over the steps of the trials, if any was made.

    Args:
        diagnoses: One, or one before and one after a repair.

    Yields:
        At most one picture.
    """
    looks: tuple[Look, ...] = ("second",) if len(diagnoses) == 1 else LOOKS
    names = ("measured",) if len(diagnoses) == 1 else ("before", "after")
    curves = [
        Curve(
            say(name),
            look,
            tuple(Point(step, loss, say("step {number}", number=step)) for step, loss in enumerate(each.trial.losses)),
        )
        for name, look, each in zip(names, looks, diagnoses, strict=True)
        if each.trial is not None
    ]
    if curves:
        yield Picture(
            key="picture-trial",
            title=say("Loss of the trial, on one batch"),
            description=" ".join(map(_course, curves)),
            x_title=say("optimiser step"),
            x_axis=counting_axis(0, max(len(curve.points) for curve in curves) - 1),
            y_axis=loss_axis([point.value for curve in curves for point in curve.points]),
            curves=tuple(curves),
        )


def jacobian_pictures(jacobian: JacobianResult) -> Iterator[Picture]:
    """Yield the singular values of the whole network, those from layer to layer, and the phase diagram.

    Args:
        jacobian: The spectra.

    Yields:
        The pictures for which there are numbers.
    """
    if any(value > 0 for value in _values(jacobian.whole)):
        yield _spectrum_picture(jacobian.whole)
    if jacobian.layers:
        yield _layers_picture(jacobian.layers)
    if jacobian.theory is not None and jacobian.theory.edge:
        yield _phase_picture(jacobian.theory)


def jacobian_table(jacobian: JacobianResult) -> Markup:
    """Return the numbers of the Jacobian and of theory as a table."""
    columns = (Column(say("from where to where")), Column(say("singular values")))
    return table(say("Singular values of the Jacobian"), columns, jacobian_rows(jacobian))


def _course(curve: Curve) -> str:
    start, end = (numeral(curve.points[place].value or 0.0) for place in (0, -1))
    return say("{name}: from {start} to {end}.", name=curve.name, start=start, end=end)


def _values(spectrum: Spectrum) -> list[float]:
    """Return singular values, falling: all of them, or those that Lanczos iterations estimate."""
    return list(spectrum.values) or [math.sqrt(square) for square, _ in spectrum.density]


def _spectrum_picture(spectrum: Spectrum) -> Picture:
    values = _values(spectrum)
    shown = list(enumerate(values, start=1))[:: math.ceil(len(values) / MAX_VALUES)]
    points = tuple(Point(rank, value, say("number {rank}", rank=rank)) for rank, value in shown)
    kind = "All singular values, input to output" if spectrum.values else "Estimated singular values, input to output"
    return Picture(
        key="picture-spectrum",
        title=say(kind),
        description=say("From {start} to {end}.", start=numeral(values[0]), end=numeral(values[-1])),
        x_title=say("rank"),
        x_axis=counting_axis(1, max(len(values), 2)),
        y_axis=logarithmic_axis(values),
        curves=(Curve(say("measured"), "second", points),),
    )


def _layers_picture(layers: Sequence[Spectrum]) -> Picture:
    def curve(name: str, look: Look, numbers: Sequence[float]) -> Curve:
        places = enumerate(zip(numbers, layers, strict=True), start=1)
        return Curve(say(name), look, tuple(Point(place, number, say(layer.name)) for place, (number, layer) in places))

    largest = [layer.largest for layer in layers]
    typical = [math.sqrt(layer.mean_square) for layer in layers]
    low, high = numeral(min(largest)), numeral(max(largest))
    return Picture(
        key="picture-layers",
        title=say("Singular values from layer to layer"),
        description=say("The largest lie between {low} and {high}.", low=low, high=high),
        x_title=say("layer, in the order of execution"),
        x_axis=counting_axis(1, max(len(layers), 2)),
        y_axis=logarithmic_axis([*largest, *typical]),
        curves=(curve("largest", "first", largest), curve("root mean square", "second", typical)),
    )


def _phase_picture(theory: MeanField) -> Picture:
    own = (theory.weight_variance, theory.bias_variance)
    reach = 2 * max(own[0], 1.0)
    edge = [point for point in theory.edge if point[0] <= reach]
    points = [*edge, own]
    label = say("weight variance {weight}, bias variance {bias}", weight=numeral(own[0]), bias=numeral(own[1]))
    return Picture(
        key="picture-phase",
        title=say("Order, chaos and this network: variance of the biases over that of the weights"),
        description=f"{label}: {say(theory.phase)}.",
        x_title=say("weight variance; order left of the line, chaos right of it"),
        x_axis=linear_axis([weight for weight, _ in points]),
        y_axis=linear_axis([bias for _, bias in points]),
        curves=(
            Curve(say("edge"), "first", tuple(Point(weight, bias, say("edge of chaos")) for weight, bias in edge)),
            Curve(say("this network"), "second", (Point(*own, label),)),
        ),
    )
