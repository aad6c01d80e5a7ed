"""Gradients that vanish on their way or explode in time."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Reading
from tests.findings.watched.histories import falling, flat, history, severities, with_updates


def graded(decades: float, *, from_step: int = 0) -> Callable[[Reading], Reading]:
    """Return an edit that lets the gradient fall by so many decades from the last parameter to the first."""

    def edit(each: Reading) -> Reading:
        count = len(each.parameters) - 1
        falls = [decades * (count - place) / count if place < count else 0.0 for place in range(count + 1)]
        sizes = [0.01 * 10**-fall for fall in falls]
        if each.step < from_step:
            return each
        pairs = zip(each.parameters, sizes, strict=True)
        return replace(each, parameters=tuple(replace(one, gradient_rms=size) for one, size in pairs))

    return edit


@pytest.mark.parametrize(
    ("losses", "edit", "found"),
    [
        pytest.param(flat(60), graded(6), ["error"], id="six decades and nothing learnt"),
        pytest.param(falling(60), graded(6), [], id="six decades and it learns"),
        pytest.param(flat(60), graded(3), [], id="three decades"),
        pytest.param(flat(60), graded(-6), [], id="the other way round"),
        pytest.param(flat(60), graded(math.inf), ["error"], id="nothing at all is left of it"),
        pytest.param(flat(60), graded(6, from_step=56), [], id="for a few steps only"),
        pytest.param(flat(40), graded(6), [], id="too early to tell"),
    ],
)
def test_a_gradient_vanishes_where_the_first_parameters_get_next_to_none(
    losses: np.ndarray, edit: Callable[[Reading], Reading], found: list[str]
) -> None:
    assert severities("BWD101", history(losses, edit)) == found


VALUES = np.concatenate([flat(20, 1e-4, 1e-6), flat(40, 1.0)])


def exploding(factor: float, *, steps: tuple[int, ...] = ()) -> Callable[[Reading], Reading]:
    """Return an edit that makes the gradient's norm so many times as large, in some steps or from step 20 on."""

    def edit(each: Reading) -> Reading:
        is_large = each.step in steps if steps else each.step >= 20
        return replace(each, gradient_norm=factor if is_large else 1.0)

    return edit


@pytest.mark.parametrize(
    ("losses", "edit", "found"),
    [
        pytest.param(flat(40), exploding(1e5), ["error"], id="five decades and nothing learnt"),
        pytest.param(
            np.concatenate([falling(60), flat(40, 5.0)]), exploding(1e5), ["error"], id="what was learnt is lost"
        ),
        pytest.param(falling(40), exploding(1e5), [], id="it learns all the same"),
        pytest.param(flat(40), exploding(1e2), [], id="two decades"),
        pytest.param(flat(40), exploding(math.inf), [], id="no number: another rule tells"),
        pytest.param(VALUES, exploding(1e5), ["note"], id="values that are learnt from next to nothing"),
        pytest.param(flat(40), exploding(1e5, steps=(39,)), [], id="a single step"),
    ],
)
def test_a_gradient_explodes_where_it_stays_a_thousand_times_as_large(
    losses: np.ndarray, edit: Callable[[Reading], Reading], found: list[str]
) -> None:
    assert severities("BWD102", history(losses, edit)) == found


def test_a_run_without_gradients_is_not_judged_by_them() -> None:
    def bare(each: Reading) -> Reading:
        return replace(each, parameters=(), gradient_norm=None)

    run = history(flat(60), bare)

    assert severities("BWD101", run) == []
    assert severities("BWD102", run) == []


def test_parameters_that_explode_together_are_told_of_once() -> None:
    (found,) = judge(history(flat(40), exploding(1e5)), [WATCH_RULES["BWD102"]])

    assert found.where == ()


def test_a_loss_that_blows_up_from_next_to_nothing_is_an_error_where_steps_are_long() -> None:
    def edit(each: Reading) -> Reading:
        return exploding(1e5)(with_updates(0.5)(each))

    assert severities("BWD102", history(VALUES, edit)) == ["error"]
