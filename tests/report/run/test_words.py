import math
from dataclasses import replace

import pytest

from isometry.probes.running.readings import Evaluation, Fault
from isometry.report.run.facts import Event, RunFacts, State
from isometry.report.run.words import (
    SIGN_OF,
    fault_sentence,
    fault_title,
    headline_words,
    incidents,
    is_broken,
    metric_rows,
    progress_words,
    setting_words,
    sign_of,
    tally_words,
)
from tests.report.run.cases import BACK, DYING, SPIKE, TOO_HIGH, blank, run

STOPPED = replace(BACK, action="stop", restored=None)
NAN = replace(DYING, code="NUM101", name="nan-inf")


@pytest.mark.parametrize(
    ("facts", "broken"),
    [
        pytest.param(run(steps=20), False, id="healthy"),
        pytest.param(replace(run(steps=20), events=(Event(step=1, finding=SPIKE),)), False, id="a note"),
        pytest.param(replace(run(steps=20), events=(Event(step=1, finding=TOO_HIGH),)), True, id="an error"),
        pytest.param(replace(run(steps=20), faults=(BACK,)), False, id="saved by a rollback"),
        pytest.param(
            replace(run(steps=20), faults=(BACK,), events=(Event(step=BACK.step, finding=NAN),)),
            False,
            id="saved, and a rule has spoken of it",
        ),
        pytest.param(replace(run(steps=20), faults=(STOPPED,)), True, id="a fault that stopped it"),
        pytest.param(replace(run(steps=20), state="failed"), True, id="failed"),
        pytest.param(replace(run(steps=20), state="interrupted"), False, id="interrupted by hand"),
        pytest.param(replace(run(steps=20), state="lost"), False, id="lost, nobody knows why"),
    ],
)
def test_a_run_is_broken_if_it_failed_or_something_grave_happened(facts: RunFacts, broken: bool) -> None:
    assert is_broken(facts) == broken


@pytest.mark.parametrize(
    ("facts", "sign"),
    [
        (run(steps=20), "healthy"),
        (replace(run(steps=20), events=(Event(step=1, finding=TOO_HIGH),)), "error"),
        (replace(run(steps=20), state="stopped", events=(Event(step=1, finding=TOO_HIGH),)), "error"),
        (replace(run(steps=20), state="running", events=(Event(step=1, finding=TOO_HIGH),)), "running"),
        (replace(run(steps=20), events=(Event(step=1, finding=SPIKE),)), "healthy"),
    ],
)
def test_no_run_with_an_error_has_the_sign_of_a_healthy_one(facts: RunFacts, sign: str) -> None:
    state = replace(facts, state="finished") if sign != "running" and facts.state == "running" else facts

    assert sign_of(state) == sign


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (BACK, "first made by log at layers.8, in the forward pass; training went back to step 600"),
        (
            Fault(step=3, during="loss", operation="nll_loss", where="", action="skip"),
            "first made by nll_loss, in the loss; this step was not made",
        ),
        (
            Fault(step=3, during="backward", operation="", where="head.weight", action="rollback"),
            "first seen at head.weight, in the backward pass; training went back to an earlier step",
        ),
        (
            Fault(step=3, during="update", operation="", where="", action="stop", reason="it was compiled"),
            "first seen in the optimiser's step; it was compiled; training was stopped",
        ),
    ],
)
def test_a_fault_says_where_it_began_and_what_was_done(fault: Fault, sentence: str) -> None:
    assert fault_sentence(fault) == sentence


def test_a_fault_is_titled_by_the_narrowest_place_that_is_known() -> None:
    titles = [
        fault_title(replace(BACK, where=where, operation=what)) for where, what in (("a", "b"), ("", "b"), ("", ""))
    ]

    assert titles == [f"numbers that are not finite{place}" for place in (" at a", " at b", "")]


def test_events_and_faults_make_one_story_in_the_order_of_steps() -> None:
    facts = replace(run(), events=(Event(step=9, finding=SPIKE), Event(step=2, finding=DYING, rank=1)), faults=(BACK,))

    assert [(each.step, each.severity, each.time) for each in incidents(facts)] == [
        (2, "error", "step 2, process 1"),
        (9, "note", "step 9"),
        (700, "warning", "step 700"),
    ]
    assert list(tally_words(facts)) == ["1 error", "1 warning", "1 note"]
    assert list(tally_words(run())) == ["nothing to report"]


def test_no_fault_is_lost_and_no_event() -> None:
    faults = (BACK, replace(BACK, during="loss"), replace(BACK, step=800))
    events = (Event(step=700, finding=NAN), Event(step=750, finding=NAN), Event(step=700, finding=SPIKE))
    found = incidents(replace(run(), faults=faults, events=events))

    assert sorted((each.step, each.finding is not None, each.fault is not None) for each in found) == [
        (700, False, True),
        (700, True, False),
        (700, True, True),
        (750, True, False),
        (800, False, True),
    ]


def test_progress_says_only_what_is_known() -> None:
    assert list(progress_words(blank())) == ["step 0", "0 s"]
    assert list(progress_words(run(steps=20)))[2:] == ["250 steps/s", "80 ms"]


@pytest.mark.parametrize(("every", "words"), [(1, "every step measured"), (7, "every 7 steps measured")])
def test_the_settings_say_how_often_it_is_measured(every: int, words: str) -> None:
    assert words in list(setting_words(run(steps=20, every=every)))


def test_a_metric_is_told_with_its_extremes_that_are_finite() -> None:
    seen = [math.nan, 0.5, 0.2, 0.4]
    evaluations = tuple(Evaluation(step=10 * number, metrics={"loss": value}) for number, value in enumerate(seen))

    assert metric_rows(replace(run(), evaluations=evaluations)) == [
        ("loss", "0.4 at step 30; lowest 0.2 at step 20, highest 0.5 at step 10")
    ]
    assert metric_rows(replace(run(), evaluations=evaluations[:1])) == [("loss", "nan at step 0")]


@pytest.mark.parametrize("state", ["running", "finished", "stopped", "failed", "interrupted", "lost"])
def test_every_state_is_a_word_of_the_progress_line(state: State) -> None:
    facts = replace(run(steps=10), state=state)

    assert state in SIGN_OF
    assert next(headline_words(facts)) == state
