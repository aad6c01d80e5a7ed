"""The tables of the page: key numbers, layers, plan, race."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from isometry.probes.race_result import Evaluation, RaceResult
from isometry.report.alignment import LayerPair
from isometry.report.facts import Facts, LayerRow
from isometry.report.language import say
from isometry.report.markup import Column, Markup, table
from isometry.report.numerals import column_numeral, finite, numeral, percentage
from isometry.report.race import accuracy_numeral, checkpoints, examples_of, has_accuracy, loss_numeral

MISSING = "–"

Amount = tuple[str, Callable[[LayerRow], str]]


def key_numbers(diagnoses: Sequence[Facts], names: Sequence[str]) -> Markup:
    """What people compare first, a column a diagnosis.

    Args:
        diagnoses: One, or two to compare.
        names: What they are called.

    Returns:
        The table.
    """
    rows: list[tuple[str, Callable[[Facts], str]]] = [
        ("verdict", lambda diagnosis: say(diagnosis.verdict)),
        ("loss at the start", lambda diagnosis: loss_numeral(diagnosis.loss)),
        ("gradient, lowest layer", lambda diagnosis: _extreme(_gradients(diagnosis), min)),
        ("gradient, highest layer", lambda diagnosis: _extreme(_gradients(diagnosis), max)),
        ("activation, lowest layer", lambda diagnosis: _extreme(_activations(diagnosis), min)),
        ("activation, highest layer", lambda diagnosis: _extreme(_activations(diagnosis), max)),
    ]
    columns = (Column(say("number")), *(Column(say(name), is_number=True) for name in names))
    body = ((say(label), *(number(diagnosis) for diagnosis in diagnoses)) for label, number in rows)
    return table(say("Key numbers; those of layers are root mean squares"), columns, body)


def layer_table(pairs: Sequence[LayerPair], *, is_comparison: bool) -> Markup:
    """Return every layer, a row each: all that was measured, or the two main quantities before and after."""
    return _comparison_table(pairs) if is_comparison else _single_table([pair.layer for pair in pairs])


def plan_table(rows: Sequence[Mapping[str, str]]) -> Markup:
    """Return the plan as its own columns say, in the order in which the columns first appear."""
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    columns = [Column(say(heading)) for heading in headings]
    body = ([row.get(heading, MISSING) for heading in headings] for row in rows)
    return table(say("How each parameter is initialised"), columns, body)


def race_table(race: RaceResult) -> Markup:
    """Return loss and accuracy of both sides at the same steps."""
    kinds: list[tuple[str, Callable[[Evaluation], str]]] = [("loss", lambda seen: loss_numeral(seen.loss))]
    if has_accuracy(race):
        kinds.append(("accuracy", lambda seen: accuracy_numeral(seen.accuracy)))
    names = (race.first.name, race.second.name)
    columns = [Column(say("step"), is_number=True)]
    columns += [Column(f"{name}, {say(kind)}", is_number=True) for name in names for kind, _ in kinds]
    body = (
        [str(step), *(MISSING if seen is None else number(seen) for seen in sides for _, number in kinds)]
        for step, *sides in checkpoints(race)
    )
    title = "Loss and accuracy on {examples}" if len(kinds) > 1 else "Loss on {examples}"
    return table(say(title, examples=examples_of(race)), columns, body)


def _single_table(layers: Sequence[LayerRow]) -> Markup:
    amounts: Sequence[Amount] = (
        ("fan in", lambda layer: _count(layer.fan_in)),
        ("fan out", lambda layer: _count(layer.fan_out)),
        ("activation", lambda layer: _size(layer.activation_rms)),
        ("between samples", lambda layer: _size(layer.activation_spread)),
        ("gradient", lambda layer: _size(layer.gradient_rms)),
        ("weight", lambda layer: _size(layer.weight_rms)),
        ("weight's gradient", lambda layer: _size(layer.weight_gradient_rms)),
        ("zeros", lambda layer: _portion(layer.zero_share)),
        ("saturated", lambda layer: _portion(layer.saturated_share)),
    )
    columns = (
        Column(say("layer")),
        Column(say("no."), is_number=True),
        Column(say("kind")),
        *_numbers(name for name, _ in amounts),
    )
    body = (
        (layer.name, str(number), layer.kind, *(amount(layer) for _, amount in amounts))
        for number, layer in enumerate(layers, start=1)
    )
    return table(say("Layers in the order of execution; sizes are root mean squares"), columns, body)


def _comparison_table(pairs: Sequence[LayerPair]) -> Markup:
    headings = ("activation before", "activation after", "gradient before", "gradient after")
    columns = (
        *(Column(say("layer")), Column(say("no."), is_number=True), Column(say("kind"))),
        *_numbers(("fan in", "fan out", *headings)),
    )
    body = (
        (
            *(pair.layer.name, str(number), pair.layer.kind, _count(pair.layer.fan_in), _count(pair.layer.fan_out)),
            *(_size(None if side is None else side.activation_rms) for side in (pair.before, pair.after)),
            *(_size(None if side is None else side.gradient_rms) for side in (pair.before, pair.after)),
        )
        for number, pair in enumerate(pairs, start=1)
    )
    return table(say("Layers in the order of execution; sizes are root mean squares"), columns, body)


def _numbers(headings: Iterable[str]) -> list[Column]:
    return [Column(say(heading), is_number=True) for heading in headings]


def _gradients(diagnosis: Facts) -> list[float | None]:
    return [layer.gradient_rms for layer in diagnosis.layers]


def _activations(diagnosis: Facts) -> list[float | None]:
    return [layer.activation_rms for layer in diagnosis.layers]


def _extreme(values: Iterable[float | None], choose: Callable[[list[float]], float]) -> str:
    """Return the lowest or highest number; one that is not finite makes the layers incomparable and is named."""
    known = [value for value in values if value is not None]
    strange = [value for value in known if finite(value) is None]
    if strange:
        return numeral(strange[0])
    return numeral(choose(known)) if known else MISSING


def _size(value: float | None) -> str:
    return MISSING if value is None else column_numeral(value, digits=3)


def _count(value: float | None) -> str:
    return MISSING if value is None else numeral(value, digits=4)


def _portion(share: float | None) -> str:
    return MISSING if share is None else percentage(share)
