import math
from dataclasses import replace

import pytest

from isometry.probes.running.readings import Reading
from isometry.report.run.pictures import MAX_POINTS, run_pictures
from tests.report.run.cases import RUNS, blank, run, troubled


def keys(name: str) -> list[str]:
    return [picture.key for picture in run_pictures(RUNS[name]())]


def test_a_picture_is_there_for_all_that_was_measured() -> None:
    assert keys("run_healthy") == [
        *("run-loss", "run-metric-0", "run-rate", "run-gradient", "run-noise", "run-dead", "run-saturated")
    ]
    assert {"run-scale", "run-logits"} <= set(keys("run_together"))
    assert "run-noise" not in keys("run_together")


def test_nothing_is_drawn_of_what_was_not_measured_or_is_not_finite() -> None:
    assert list(run_pictures(blank())) == []
    assert keys("run_not_finite") == ["run-rate"]


def test_the_validation_loss_stands_beside_the_training_loss() -> None:
    loss = next(run_pictures(run()))

    assert [curve.name for curve in loss.curves] == ["training", "val_loss", "training"]
    assert [curve.is_faint for curve in loss.curves] == [True, False, False]


def test_what_happened_is_flagged_on_the_loss_and_the_evaluations_alone() -> None:
    flagged = {picture.key: len(picture.flags) for picture in run_pictures(troubled())}

    assert flagged.pop("run-loss") == flagged.pop("run-metric-0") == 5
    assert set(flagged.values()) == {0}


def test_a_long_course_is_drawn_with_few_points_and_smoothed_around_them() -> None:
    facts = run(steps=5000, depth=1)
    faint, _, smooth = next(run_pictures(facts)).curves
    ends = [(curve.points[0].x, curve.points[-1].x) for curve in (faint, smooth)]

    assert len(faint.points) == len(smooth.points) <= MAX_POINTS
    assert ends[0] == ends[1]
    assert smooth.points[0].value == faint.points[0].value


def test_on_a_logarithmic_axis_the_smoothed_course_is_the_geometric_mean() -> None:
    losses = tuple(10.0 ** (-step / 20) for step in range(100))
    facts = replace(blank(), readings=(Reading(step=100, seconds=1.0, losses=losses, learning_rates=(0.1,)),))
    picture = next(run_pictures(facts))
    faint, smooth = picture.curves

    assert picture.y_axis.is_logarithmic
    assert [each.value for each in smooth.points] == pytest.approx([each.value for each in faint.points])


def test_the_course_of_the_loss_ends_with_the_last_loss() -> None:
    facts = run(steps=5001, depth=1)

    assert next(run_pictures(facts)).curves[-1].points[-1].value == facts.readings[-1].losses[-1]


def test_the_lowest_and_the_highest_rate_are_those_of_the_groups() -> None:
    readings = tuple(Reading(step=step, seconds=1.0, losses=(1.0,), learning_rates=(0.1, 0.3, 0.2)) for step in (1, 2))
    rate = next(each for each in run_pictures(replace(blank(), readings=readings)) if each.key == "run-rate")

    assert {curve.name: curve.points[-1].value for curve in rate.curves} == {"lowest group": 0.1, "highest group": 0.3}


def test_a_stretch_that_is_not_finite_is_a_gap() -> None:
    facts = run(steps=20, depth=1)
    broken = replace(facts.readings[1], losses=(math.nan,) * len(facts.readings[1].losses))
    loss = next(run_pictures(replace(facts, readings=(facts.readings[0], broken, facts.readings[2]))))

    assert [point.value is None for point in loss.curves[-1].points] == [False, *[True] * 9, *[False] * 10]


@pytest.mark.parametrize("name", RUNS)
def test_every_picture_is_told_in_words(name: str) -> None:
    assert all(picture.description and picture.title for picture in run_pictures(RUNS[name]()))
