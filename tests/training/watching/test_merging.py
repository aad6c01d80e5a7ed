"""The records of several processes as one run."""

import math
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from isometry.probes.running.readings import Fault, LayerReading, ParameterReading, Reading
from isometry.report.finding import Finding, Remedy
from isometry.report.run.facts import Event, Extreme, RunFacts
from isometry.training.watching.account import Account, Start
from isometry.training.watching.merging import merge, merged_run
from isometry.training.watching.records import Records

FINDING = Finding(
    code="FWD103",
    name="dying-relu",
    severity="warning",
    where=("0",),
    measured=0.9,
    allowed=0.5,
    unit="share of units",
    message="90 % of the units behind '0' are zero.",
    cause="a step was too long",
    because=None,
    proof=None,
    remedy=Remedy("optimizer", "Lower the learning rate."),
)


def reading(step: int, *, loss: float, layer: LayerReading | None = None, weight_rms: float = 1.0) -> Reading:
    return Reading(
        step=step,
        seconds=float(step),
        losses=(loss,),
        learning_rates=(0.1,),
        layers=() if layer is None else (layer,),
        parameters=(ParameterReading(name="0.weight", weight_rms=weight_rms),),
    )


def layer(**numbers: float) -> LayerReading:
    return LayerReading(name="0", kind="linear", **numbers)


def run(*readings: Reading, **facts: object) -> RunFacts:
    plain = RunFacts(
        name="run",
        model="Net",
        optimizer="SGD",
        every=1,
        versions={},
        state="finished",
        reason="",
        steps=2,
        seconds=2.0,
        readings=readings,
        num_ranks=2,
    )
    return replace(plain, **facts)


def test_losses_are_averaged_and_the_worst_is_named_with_its_process() -> None:
    merged = merge([run(reading(1, loss=1.0), reading(2, loss=2.0)), run(reading(1, loss=3.0), reading(2, loss=8.0))])

    assert [each.losses for each in merged.readings] == [(2.0,), (5.0,)]
    assert merged.extremes == (Extreme(quantity="loss", value=8.0, where="", step=2, rank=1),)


def test_a_layer_is_what_all_processes_saw_of_it() -> None:
    one = layer(activation_rms=3.0, zero_share=0.2, saturated_share=0.0, dead_share=0.5, logit_max=2.0, difference=0.1)
    other = layer(
        activation_rms=4.0, zero_share=0.6, saturated_share=0.5, dead_share=0.1, logit_max=9.0, difference=0.3
    )
    one, other = (replace(each, is_output=True) for each in (one, other))
    merged = merge([run(reading(1, loss=1.0, layer=one)), run(reading(1, loss=1.0, layer=other))])

    assert merged.readings[0].layers == (
        replace(other, activation_rms=math.sqrt(12.5), zero_share=0.4, saturated_share=0.25),
    )
    assert Extreme(quantity="dead_share", value=0.5, where="0", step=1, rank=0) in merged.extremes
    assert Extreme(quantity="logit_max", value=9.0, where="0", step=1, rank=1) in merged.extremes


def test_what_is_alike_on_all_processes_stays_bit_for_bit() -> None:
    merged = merge([run(reading(1, loss=0.1, weight_rms=0.1))] * 2)

    assert merged.readings[0].parameters[0].weight_rms == 0.1


def test_a_loss_that_is_not_a_number_on_one_process_is_the_worst() -> None:
    merged = merge([run(reading(1, loss=5.0)), run(reading(1, loss=math.nan))])

    assert math.isnan(merged.readings[0].losses[0])
    assert merged.extremes[-1].rank == 1


def test_a_step_that_one_process_did_not_record_is_merged_from_the_others() -> None:
    merged = merge([run(reading(1, loss=1.0), reading(2, loss=2.0)), run(reading(2, loss=4.0))])

    assert [each.losses for each in merged.readings] == [(1.0,), (3.0,)]


def test_an_event_of_any_process_is_there_once_with_the_first_that_saw_it() -> None:
    late, early = Event(step=2, finding=FINDING), Event(step=1, finding=FINDING)
    other = Event(step=2, finding=replace(FINDING, where=("2",)))
    merged = merge([run(events=(late,)), run(events=(early, other))])

    assert merged.events == (replace(early, rank=1), replace(other, rank=1))


def test_a_fault_is_told_by_the_process_that_was_nearest_to_its_origin() -> None:
    seen = Fault(step=2, during="backward", operation="", where="0.weight", action="skip", reason="not here")
    caused = Fault(step=2, during="forward", operation="log", where="0", action="skip")
    merged = merge([run(faults=(seen,)), run(faults=(caused,))])

    assert merged.faults == (replace(caused, rank=1),)


@pytest.mark.parametrize(
    ("own", "other", "state", "reason"),
    [
        pytest.param(("finished", ""), ("finished", ""), "finished", "", id="alike"),
        pytest.param(
            ("finished", ""), ("failed", "KeyError: 'x'"), "failed", "process 1 of 2: KeyError: 'x'", id="one"
        ),
        pytest.param(("stopped", "NaN"), ("stopped", "NaN too"), "stopped", "NaN", id="its own reason first"),
        pytest.param(("failed", "no memory"), ("lost", ""), "failed", "no memory", id="failed before lost"),
        pytest.param(("finished", ""), None, "lost", "process 1 of 2: left no records in this folder", id="missing"),
    ],
)
def test_the_state_is_the_worst_of_all(
    own: tuple[str, str], other: tuple[str, str] | None, state: str, reason: str
) -> None:
    others = None if other is None else run(state=other[0], reason=other[1])
    merged = merge([run(state=own[0], reason=own[1]), others])

    assert (merged.state, merged.reason) == (state, reason)


def written(folder: Path, *, rank: int, loss: float, ended: bool = True) -> Records:
    start = Start(name="run", model="Net", optimizer="SGD", every=1, versions={}, rank=rank, num_ranks=2)
    account = Account(start)
    records = Records(folder, start=start)
    entry = reading(1, loss=loss)
    account.add(entry)
    records.write(entry)
    if ended:
        account.state = "finished"
        records.close(account)
    return records


def test_the_runs_of_a_folder_are_merged(tmp_path: Path) -> None:
    written(tmp_path, rank=1, loss=3.0)
    merged = merged_run(tmp_path, run(reading(1, loss=1.0)))

    assert merged.readings[0].losses == (2.0,)
    assert merged.state == "finished"


@pytest.mark.slow
def test_a_process_that_died_keeps_nobody_waiting(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from tests.training.watching.test_merging import written; "
        "written(pathlib.Path(sys.argv[1]), rank=1, loss=3.0, ended=False)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()  # until it has ended; its parent, this one, has not asked how
        merged = merged_run(tmp_path, run(reading(1, loss=1.0)), wait_seconds=math.inf)

    assert merged.state == "lost"
    assert merged.reason.startswith("process 1 of 2")
    assert merged.readings[0].losses == (2.0,), "what it recorded counts"


def test_a_process_that_hangs_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with closing(written(tmp_path, rank=1, loss=3.0, ended=False)._file):  # by this process, which lives
        merged = merged_run(tmp_path, run(reading(1, loss=1.0)), wait_seconds=0.1)

    assert (merged.state, merged.reason) == ("lost", "process 1 of 2: had not ended by then")
