"""Steps that come to no number, and scalers that collapse."""

from dataclasses import replace

import pytest

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Fault, History, Reading
from tests.findings.watched.histories import falling, history, severities

FAULT = Fault(step=58, during="forward", operation="log", where="head", action="skip")


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        pytest.param(FAULT, ["warning"], id="the run went on"),
        pytest.param(replace(FAULT, action="stop"), ["error"], id="the run was stopped"),
        pytest.param(replace(FAULT, step=20), [], id="long ago"),
    ],
)
def test_a_step_that_came_to_no_number_is_told_while_it_is_new(fault: Fault, found: list[str]) -> None:
    run = history(falling(60))
    run.add(fault)

    assert severities("NUM101", run) == found


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (FAULT, "log in 'head' is the first to make one; this step was not made"),
        (replace(FAULT, where=""), "log is the first to make one; this step was not made"),
        (
            replace(FAULT, operation="", where="", reason="the model ran twice", action="rollback"),
            "the first operation is not known: the model ran twice; training went back to an earlier step",
        ),
    ],
)
def test_the_first_operation_is_named_or_the_reason_why_it_is_not(fault: Fault, cause: str) -> None:
    run = history(falling(60))
    run.add(fault)
    (found,) = judge(run, [WATCH_RULES["NUM101"]])

    assert found.message == "Step 58 came to NaN or infinity in the forward pass."
    assert found.cause == cause


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        pytest.param(65536.0, 2.0**-5, ["error"], id="collapsed"),
        pytest.param(65536.0, 1.0, [], id="low, and no lower"),
        pytest.param(2.0**-5, 2.0**-5, [], id="set so by hand"),
    ],
)
def test_a_scale_below_one_has_collapsed(start: float, end: float, found: list[str]) -> None:
    def edit(each: Reading) -> Reading:
        return replace(each, loss_scale=start * (end / start) ** ((each.step - 1) / 19))

    assert severities("NUM103", history(falling(20), edit)) == found
    assert severities("NUM103", history(falling(20))) == []  # without a scaler


@pytest.mark.parametrize(
    ("scales", "found"),
    [
        pytest.param((2.0**-16, 2.0**-48), ["error"], id="it falls and falls"),
        pytest.param((0.0, 0.0), ["error"], id="nothing is left of it"),
        pytest.param((2.0**-16,), [], id="nobody knows where it came from"),
    ],
)
def test_a_scale_collapses_too_where_no_step_is_made(scales: tuple[float, ...], found: list[str]) -> None:
    run = History()
    for scale in scales:
        run.add(Reading(step=0, seconds=0.0, losses=(), learning_rates=(), loss_scale=scale))
    findings = judge(run, [WATCH_RULES["NUM103"]])

    assert [each.severity for each in findings] == found
    assert all(str(each.cause).startswith("no step was made since step 0") for each in findings)
