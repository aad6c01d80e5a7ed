"""The course of a loss in a few numbers."""

import math

import numpy as np
import pytest

from isometry.probes.running.loss_course import loss_course, noise_of
from isometry.probes.running.readings import History, Reading


def run(losses: np.ndarray) -> History:
    history = History()
    for step, loss in enumerate(losses, start=1):
        history.add(Reading(step=step, seconds=0.0, losses=(float(loss),), learning_rates=(0.1,)))
    return history


def test_levels_are_medians_of_windows() -> None:
    course = loss_course(run(np.concatenate([[9.0], np.full(63, 3.0), np.full(32, 2.0), np.full(32, 1.0)])))

    assert course is not None
    assert (course.start, course.first, course.best, course.before, course.recent) == (9.0, 3.0, 2.0, 2.0, 1.0)
    assert course.steps == 128
    assert course.gain == 8.0
    assert len(course.window) == 64


@pytest.mark.parametrize(("count", "is_known"), [(0, False), (5, False), (6, True)])
def test_there_is_no_course_of_fewer_than_six_losses(count: int, is_known: bool) -> None:
    assert (loss_course(run(np.ones(count))) is not None) is is_known


def test_losses_that_are_not_finite_are_left_out() -> None:
    course = loss_course(run(np.array([1.0, math.nan, 2.0, math.inf, 2.0, 2.0, 2.0, 2.0, 2.0, math.nan])))

    assert course is not None
    assert (course.start, course.recent, course.noise) == (1.0, 2.0, 0.0)


def test_single_steps_move_no_level() -> None:
    losses = np.ones(128)
    losses[[0, 40, 100]] = 1e6
    course = loss_course(run(losses))

    assert course is not None
    assert (course.best, course.before, course.recent, course.peak) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_noise_is_told_from_a_trend(slope: float) -> None:
    generator = np.random.default_rng(0)
    measured = noise_of(list(slope * np.arange(2000) + generator.normal(0, 0.5, 2000)))

    assert measured == pytest.approx(0.5, rel=0.1)


def test_what_is_lost_again_counts_against_what_was_gained() -> None:
    gained = np.linspace(2.0, 0.0, 200)
    lost = loss_course(run(np.concatenate([gained, np.full(64, 1.5)])))
    kept = loss_course(run(np.concatenate([gained, np.full(64, 0.5)])))

    assert lost is not None
    assert kept is not None
    assert lost.has_fallen_back(0.5)
    assert not lost.learns(0.1)
    assert kept.learns(0.1)


def test_a_start_beside_later_levels_says_whether_it_is_a_scale() -> None:
    values = loss_course(run(np.repeat([1e-4, 1.0, 0.5], 40)))
    classes = loss_course(run(np.repeat([2.3, 50.0, 0.5], 40)))

    assert values is not None
    assert classes is not None
    assert values.starts_near_zero
    assert not classes.starts_near_zero
    assert (classes.top, classes.reach) == (50.0, 49.5)


@pytest.mark.parametrize("is_rough_at_first", [True, False])
def test_the_noise_is_that_of_the_quieter_end(is_rough_at_first: bool) -> None:
    rough, still = np.tile([-1.0, 1.0], 20), np.full(40, 2.0)
    course = loss_course(run(np.concatenate([rough, still] if is_rough_at_first else [still, rough])))

    assert course is not None
    assert course.noise == 0
