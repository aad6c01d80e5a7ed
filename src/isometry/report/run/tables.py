"""The tables of a run's summary: key numbers, evaluations, and every layer and parameter at the last recorded step."""

import math
from collections.abc import Callable, Iterator, Sequence

from isometry.probes.running.readings import LayerReading, ParameterReading, Reading
from isometry.report.language import say
from isometry.report.markup import EMPTY, Column, Markup, table
from isometry.report.numerals import column_numeral, duration, numeral, percentage
from isometry.report.run.course import losses_of, metric_courses, spread_out, steps_per_second
from isometry.report.run.facts import RunFacts
from isometry.report.run.history import Grid
from isometry.report.run.words import metric_rows

MISSING = "–"
MAX_COLUMNS = 6  # recorded steps of a grid as a table
MAX_EVALUATIONS = 200  # rows
EXTREMES = {
    "activation_rms": "activation",
    "zero_share": "share of zeros",
    "saturated_share": "share of saturated outputs",
    "dead_share": "share of dead units",
    "logit_max": "largest logit",
    "loss": "loss",
}


def key_numbers(facts: RunFacts) -> Markup:
    """Return what people look for first."""
    columns = (Column(say("number")), Column(say("value")))
    return table(say("Key numbers of the run"), columns, list(_key_rows(facts)))


def evaluation_table(facts: RunFacts) -> Markup:
    """Return all evaluations, a row each; nothing without one."""
    if not facts.evaluations:
        return EMPTY
    names = [course.name for course in metric_courses(facts.evaluations)]
    columns = (
        Column(say("step"), is_number=True),
        Column(say("epoch"), is_number=True),
        *(Column(name, is_number=True) for name in names),
    )
    stride = max(1, -(-len(facts.evaluations) // MAX_EVALUATIONS))
    body = [
        (str(seen.step), _number(seen.epoch), *(_number(seen.metrics.get(name)) for name in names))
        for seen in facts.evaluations[::-1][::stride][::-1]
    ]
    return table(say("Evaluations of the run"), columns, body)


def extreme_table(facts: RunFacts) -> Markup:
    """Return the worst that any of several processes saw; nothing for one process."""
    if not facts.extremes:
        return EMPTY
    columns = (
        Column(say("what")),
        Column(say("value"), is_number=True),
        Column(say("layer")),
        *(Column(say(heading), is_number=True) for heading in ("step", "process")),
    )
    body = [
        (say(EXTREMES.get(each.quantity, each.quantity)), _size(each.value), each.where, str(each.step), str(each.rank))
        for each in facts.extremes
    ]
    return table(say("The largest that any process saw; elsewhere stand means over the processes"), columns, body)


def grid_table(title: str, grid: Grid) -> Markup:
    """Return a few columns of a grid, every layer a row."""
    places = spread_out(range(len(grid.steps)), MAX_COLUMNS)
    columns = (
        Column(say("layer")),
        *(Column(say("step {step}", step=grid.steps[place]), is_number=True) for place in places),
    )
    body = [(name, *(_size(row[place]) for place in places)) for name, row in zip(grid.names, grid.rows, strict=True)]
    return table(title, columns, body)


def layer_table(facts: RunFacts) -> Markup:
    """Return every layer at the last step that recorded one; nothing without."""
    reading = _last(facts, lambda reading: reading.layers)
    if reading is None:
        return EMPTY
    kinds: tuple[tuple[str, Callable[[LayerReading], float | None], Callable[[float | None], str]], ...] = (
        ("activation", lambda layer: layer.activation_rms, _size),
        ("zeros", lambda layer: layer.zero_share, _portion),
        ("saturated", lambda layer: layer.saturated_share, _portion),
        ("dead", lambda layer: layer.dead_share, _portion),
        ("largest logit", lambda layer: layer.logit_max, _size),
    )
    kept = [kind for kind in kinds if any(kind[1](layer) is not None for layer in reading.layers)]
    columns = (Column(say("layer")), Column(say("kind")), *(Column(say(name), is_number=True) for name, _, _ in kept))
    body = [(layer.name, layer.kind, *(words(of(layer)) for _, of, words in kept)) for layer in reading.layers]
    title = say("Layers at step {step}, in the order of execution", step=reading.step)
    if any(heading in {"zeros", "saturated", "dead"} for heading, _, _ in kept):
        title += f"; {say('shares are those of the activation function behind the layer')}"
    return table(title, columns, body)


def parameter_table(facts: RunFacts) -> Markup:
    """Return every parameter at the last step that recorded one; nothing without."""
    reading = _last(facts, lambda reading: reading.parameters)
    if reading is None:
        return EMPTY
    kinds: tuple[tuple[str, Callable[[ParameterReading], float | None]], ...] = (
        ("weight", lambda each: each.weight_rms),
        ("gradient", lambda each: each.gradient_rms),
        ("update", lambda each: each.update_rms),
        ("update/weight", lambda each: each.update_ratio),
        ("trust ratio", lambda each: each.trust_ratio),
    )
    is_trusted = any(each.trust_ratio is not None for each in reading.parameters)
    kept = kinds if is_trusted else kinds[:-1]
    columns = (Column(say("parameter")), *(Column(say(heading), is_number=True) for heading, _ in kept))
    body = [(each.name, *(_size(of(each)) for _, of in kept)) for each in reading.parameters]
    return table(say("Parameters at step {step}; sizes are root mean squares", step=reading.step), columns, body)


def _key_rows(facts: RunFacts) -> Iterator[tuple[str, str]]:
    yield say("state"), say(facts.state)
    yield say("optimiser's steps"), str(facts.steps)
    yield say("time"), duration(facts.seconds)
    speed = steps_per_second(facts.readings)
    if speed is not None:
        yield say("steps in a second"), numeral(speed)
    yield from _loss_rows(facts)
    yield from metric_rows(facts)
    if facts.snapshots:
        yield say("last snapshot"), say("step {step}", step=facts.snapshots[-1])
    if facts.num_ranks > 1:
        yield say("processes"), str(facts.num_ranks)


def _loss_rows(facts: RunFacts) -> Iterator[tuple[str, str]]:
    losses = losses_of(facts.readings)
    if not losses:
        return
    yield say("first loss"), numeral(losses[0][1])
    finite = [(loss, step) for step, loss in losses if math.isfinite(loss)]
    if finite:
        loss, step = min(finite)
        yield say("lowest loss"), say("{loss} at step {step}", loss=numeral(loss), step=step)
    yield say("last loss"), numeral(losses[-1][1])


def _last(
    facts: RunFacts, part: Callable[[Reading], Sequence[LayerReading] | Sequence[ParameterReading]]
) -> Reading | None:
    return next((reading for reading in reversed(facts.readings) if part(reading)), None)


def _number(value: float | None) -> str:
    return MISSING if value is None else numeral(value, digits=4)


def _size(value: float | None) -> str:
    return MISSING if value is None else column_numeral(value, digits=3)


def _portion(share: float | None) -> str:
    return MISSING if share is None else percentage(share)
