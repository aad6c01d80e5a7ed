import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.probes.running.readings import Evaluation, LayerReading, ParameterReading, Reading
from isometry.report.run.course import (
    layer_states,
    losses_of,
    metric_courses,
    owner_of,
    spread_out,
    steps_per_second,
    stretches,
)
from isometry.report.run.facts import Event
from tests.report.run.cases import DYING, SPIKE


def recorded(step: int, *losses: float, seconds: float = 0.0) -> Reading:
    return Reading(step=step, seconds=seconds, losses=losses, learning_rates=(0.1,))


def test_each_loss_belongs_to_its_step() -> None:
    assert losses_of([recorded(1, 9.0), recorded(4, 8.0, 7.0, 6.0)]) == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]


@given(count=st.integers(1, 500), most=st.integers(1, 80))
def test_stretches_hold_every_step_once(count: int, most: int) -> None:
    found = stretches([(step, float(step)) for step in range(count)], most)
    ends = [stretch.last for stretch in found]

    assert len(found) <= most
    assert [stretch.first for stretch in found] == [0, *(end + 1 for end in ends[:-1])]
    assert ends[-1] == count - 1


def test_a_stretch_is_the_mean_of_what_is_finite_and_says_if_something_is_not() -> None:
    found = stretches([(1, 2.0), (2, 4.0), (3, math.nan), (4, 5.0), (5, math.inf), (6, math.nan)], 3)

    assert [(stretch.mean, stretch.is_whole) for stretch in found] == [(3.0, True), (5.0, False), (None, False)]


def test_the_mean_of_enormous_losses_does_not_overflow() -> None:
    assert stretches([(1, 1.7e308), (2, 1.7e308)], 1)[0].mean == pytest.approx(1.7e308)


@given(count=st.integers(1, 300), most=st.integers(2, 50))
def test_both_ends_are_among_what_is_spread_out(count: int, most: int) -> None:
    found = spread_out(range(count), most)

    assert len(found) == min(count, most)
    assert (found[0], found[-1]) == (0, count - 1)
    assert found == sorted(set(found))


def test_the_speed_is_that_of_the_last_readings() -> None:
    slow = [recorded(step, 1.0, seconds=float(step)) for step in range(1, 30)]
    fast = [recorded(29 + step, 1.0, seconds=29 + step / 10) for step in range(1, 20)]

    assert steps_per_second(slow[:1]) is None
    assert steps_per_second(slow) == pytest.approx(1.0)
    assert steps_per_second([*slow, *fast]) == pytest.approx(10.0, rel=0.01)
    assert steps_per_second([slow[3], replace(slow[3], step=2)]) is None


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        pytest.param("a.b", "a.b", id="itself"),
        pytest.param("a.b.weight", "a.b", id="its parameter"),
        pytest.param("a.b.parametrizations.weight.original0", "a.b", id="behind a parametrisation"),
        pytest.param("a.c.weight", None, id="a neighbour"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_name_leads_to_the_innermost_layer_around_it(name: str, owner: str | None) -> None:
    assert owner_of(name, {"a.b"}) == owner


def test_a_layer_carries_its_weight_and_the_gravest_event_that_names_it() -> None:
    reading = replace(
        recorded(5, 1.0),
        layers=(
            LayerReading(name="block", kind="attention", logit_max=3.0),
            LayerReading(name="block.qkv", kind="linear"),
            LayerReading(name="head", kind="linear"),
        ),
        parameters=tuple(
            ParameterReading(name=name, weight_rms=2.0, update_rms=size)
            for name, size in (("block.qkv.weight", 0.2), ("block.qkv.bias", 0.4), ("block.scale", 0.6))
        ),
    )
    note, error = (
        Event(step=1, finding=replace(finding, where=("head", "block.qkv.bias"))) for finding in (SPIKE, DYING)
    )
    states = layer_states(reading, [error, note])

    assert [state.update_ratio for state in states] == [None, 0.1, None]
    assert [state.severity for state in states] == [None, "error", "error"]


def test_each_metric_keeps_the_evaluations_that_have_it() -> None:
    first, second = Evaluation(step=1, metrics={"a": 1.0}), Evaluation(step=2, metrics={"b": math.nan, "a": 3.0})
    a, b = metric_courses([first, second])

    assert (a.name, a.seen, a.finite) == ("a", ((first, 1.0), (second, 3.0)), ((first, 1.0), (second, 3.0)))
    assert (b.name, len(b.seen), b.finite) == ("b", 1, ())
