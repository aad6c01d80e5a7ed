"""Units that die, activations that saturate and logits that grow while a network trains."""

from dataclasses import replace

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import LayerReading, Reading
from tests.findings.watched.histories import falling, flat, history, severities, with_ends, with_layer

FELL_BACK = np.concatenate([falling(100), flat(60, 2.2)])


@pytest.mark.parametrize(
    ("losses", "share", "found"),
    [
        pytest.param(flat(60), 0.95, ["note"], id="as dead as at first, and the loss is where it was"),
        pytest.param([*flat(30), *flat(60, 4.0)], 0.95, ["error"], id="as dead as at first, and the loss rose"),
        pytest.param(FELL_BACK, 0.95, ["error"], id="what was learnt is lost"),
        pytest.param(falling(100), 0.95, ["note"], id="it learns with what is left"),
        pytest.param(flat(60), 0.85, [], id="as many as in a sound network"),
        pytest.param(flat(40), 0.95, [], id="too early to tell"),
        pytest.param(flat(60), None, [], id="not measured for long enough"),
    ],
)
def test_dead_units_are_an_error_where_nothing_is_learnt(
    losses: np.ndarray, share: float | None, found: list[str]
) -> None:
    assert severities("FWD103", history(losses, with_layer(dead_share=share))) == found


@pytest.mark.parametrize("measured", [{"dead_share": 0.95}, {"saturated_share": 0.9}])
def test_a_layer_that_was_made_so_is_a_fault_where_the_run_is_the_worse_for_it(measured: dict[str, float]) -> None:
    def constant(each: Reading) -> Reading:
        ends = replace(with_ends(0.5, 0.0)(each).layers[1], name="4")
        return replace(each, layers=(*with_layer(**measured)(each).layers, ends))

    code = "FWD103" if "dead_share" in measured else "FWD104"

    assert severities(code, history(flat(60), with_layer(**measured))) == ["note"]
    assert severities(code, history(flat(60), with_layer(**measured), baseline=2.3)) == ["error"]
    assert severities(code, history(flat(60), with_layer(**measured), baseline=4.0)) == ["note"]
    assert severities(code, history(flat(60), constant)) == ["error"]


def test_units_that_were_not_zero_in_the_first_reading_were_alive() -> None:
    def edit(each: Reading) -> Reading:  # deaths are known after ten readings, and these came before
        measured = {"zero_share": 0.5} if each.step < 10 else {"zero_share": 1.0, "dead_share": 1.0}
        return with_layer(**measured)(each)

    assert severities("FWD103", history(flat(60), edit)) == ["error"]


def test_units_that_steps_killed_are_told_from_those_that_never_lived() -> None:
    def dying(each: Reading) -> Reading:
        return with_layer(dead_share=0.05 if each.step < 30 else 1.0)(each)

    (killed,) = judge(history(flat(60), dying), [WATCH_RULES["FWD103"]])
    (born,) = judge(history(flat(60), with_layer(dead_share=1.0)), [WATCH_RULES["FWD103"]])

    assert killed.cause == "at step 1 it was 5% of them: steps of the optimiser killed them"
    assert born.cause == "they gave nothing from the first steps on"
    assert killed.message == "100% of the units behind '0' have been zero for many steps."
    assert killed.where == ("0",)


@pytest.mark.parametrize(
    ("losses", "share", "found"),
    [
        pytest.param(flat(60), 0.9, ["error"], id="gone"),
        pytest.param(flat(60), 0.6, ["warning"], id="more than half"),
        pytest.param(flat(60), 0.4, [], id="less than half"),
        pytest.param(falling(60), 0.9, [], id="it learns"),
        pytest.param(flat(40), 0.9, [], id="too early to tell"),
    ],
)
def test_saturation_is_a_fault_where_nothing_is_learnt(losses: np.ndarray, share: float, found: list[str]) -> None:
    def edit(each: Reading) -> Reading:  # the layer behind it is saturated too, as outputs may be
        return with_layer(saturated_share=share if each.step > 10 else 0.2)(each)

    run = history(losses, edit)

    assert severities("FWD104", run) == found


def attention(first: float, last: float, steps: int) -> object:
    def edit(each: Reading) -> Reading:
        size = first * (last / first) ** (each.step / steps)
        return replace(each, layers=(LayerReading(name="attn", kind="attention", logit_max=size),))

    return edit


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        pytest.param(2.0, 1000.0, ["warning"], id="they grow and grow"),
        pytest.param(2.0, 60.0, [], id="they stay small"),
        pytest.param(150.0, 160.0, [], id="they were large at the start"),
        pytest.param(500.0, 120.0, [], id="they shrink"),
    ],
)
def test_logits_that_grow_past_a_hundred_are_told(first: float, last: float, found: list[str]) -> None:
    run = history(falling(40), attention(first, last, 40))  # a healthy loss does not excuse them: they come first

    assert severities("FWD108", run) == found


def test_logits_that_stopped_growing_are_left_in_peace() -> None:
    def edit(each: Reading) -> Reading:
        size = min(2.0 * 1.3**each.step, 150.0)
        return replace(each, layers=(LayerReading(name="attn", kind="attention", logit_max=size),))

    assert severities("FWD108", history(falling(60), edit)) == []
