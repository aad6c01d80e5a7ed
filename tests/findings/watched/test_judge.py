"""What the rules say together of a run."""

import math

import numpy as np
import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import History
from tests.findings.watched.histories import evaluated, falling, flat, history, with_layer, with_updates


@pytest.mark.parametrize("count", [0, 1, 2, 5, 6, 20, 6000])
def test_a_run_of_any_length_is_judged(count: int) -> None:
    assert judge(history(falling(count))) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 0.0, -3.0])
def test_a_run_of_any_loss_is_judged(loss: float) -> None:
    run = evaluated(history(np.full(200, loss)), [math.nan, 1.0, math.inf, 1.0, 1.0])

    assert [finding for finding in judge(run) if finding.severity != "note"] == []


def test_a_run_without_readings_is_not_judged() -> None:
    assert judge(History()) == []


def test_dead_units_are_the_cause_of_the_plateau() -> None:
    run = history(flat(1100), with_layer(dead_share=1.0), baseline=2.3)

    assert [(each.code, each.because) for each in judge(run)] == [("FWD103", None), ("TRN104", "FWD103")]


def test_thresholds_are_those_that_were_set() -> None:
    run = history([2.3, *flat(60, 8.0)], with_updates(0.5))
    rule = WATCH_RULES["TRN101"]

    assert judge(run, [rule.with_thresholds({"min-update": 1.0})]) == []
    assert len(judge(run, [rule])) == 1
