import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

import isometry as iso
from isometry.probes.running.readings import Fault, Reading
from isometry.report.finding import Finding, Remedy, Severity
from isometry.report.run.facts import Event, RunFacts
from isometry.training.watching import journal as journal_module
from isometry.training.watching.account import Start
from isometry.training.watching.journal import GONE_JUDGEMENTS, Journal
from isometry.training.watching.reader import read_run
from isometry.training.watching.sink import Entry
from tests.training.watching.trainings import Kept, network, train

START = Start(name="run", model="Linear", optimizer="SGD()", every=10, versions={})


def finding(code: str = "FWD103", *, where: tuple[str, ...] = ("0",), severity: Severity = "warning") -> Finding:
    return Finding(
        code=code,
        name="dying-relu",
        severity=severity,
        where=where,
        measured=1.0,
        allowed=0.5,
        unit="",
        message="units are dead",
        cause="",
        because=None,
        proof=None,
        remedy=Remedy("none", ""),
    )


def events_of(judgements: Iterator[list[Finding]], *, steps: int) -> list[int]:
    """Steps at which events were told, a reading every ten steps, with these judgements one after the other."""
    sink = Kept()
    journal = Journal(START, folders=[], sinks=[sink], baseline=None)
    journal.begin()
    with mock.patch.object(journal_module, "judge", side_effect=judgements):
        for step in range(10, steps + 1, 10):
            journal.add(Reading(step=step, seconds=0.0, losses=(1.0,), learning_rates=(0.1,)))
    return [each.step for each in sink.entries if isinstance(each, Event)]


def test_a_finding_that_stays_is_told_once() -> None:
    assert events_of(iter([[finding()]] * 8), steps=80) == [10]


def test_a_finding_that_was_gone_for_a_while_is_told_again_and_one_that_flickers_is_not() -> None:
    flicker = [[finding()], [], [finding()], [], []]
    gone: list[list[Finding]] = [[] for _ in range(GONE_JUDGEMENTS)]

    assert events_of(iter([*flicker, *gone, [finding()]]), steps=10 * (6 + len(gone))) == [10, 10 * (6 + len(gone))]


@pytest.mark.parametrize(
    ("later", "told"),
    [
        pytest.param(finding(where=("0", "1")), [10], id="it spreads"),
        pytest.param(finding(where=("5",)), [10, 20], id="elsewhere"),
        pytest.param(finding(severity="error"), [10, 20], id="it gets worse"),
        pytest.param(finding(severity="note"), [10], id="it gets better"),
        pytest.param(finding("BWD101"), [10, 20], id="another"),
    ],
)
def test_what_is_news_is_told(later: Finding, told: list[int]) -> None:
    assert events_of(iter([[finding()], [later]]), steps=20) == told


def test_rules_are_asked_at_most_every_ten_steps() -> None:
    asked: list[int] = []

    def judge(history: Any) -> list[Finding]:
        asked.append(history.readings[-1].step)
        return []

    with mock.patch.object(journal_module, "judge", judge):
        journal = Journal(START, folders=[], sinks=[], baseline=None)
        for step in range(1, 32):
            journal.add(Reading(step=step, seconds=0.0, losses=(1.0,), learning_rates=(0.1,)))

    assert asked == [1, 11, 21, 31]


class FullDisk:
    """A sink whose disk is full from the second entry on."""

    def __init__(self) -> None:
        self.count = 0

    def start(self, facts: RunFacts) -> None:
        assert facts.state == "running"

    def write(self, entry: Entry) -> None:
        assert entry.step > 0
        self.count += 1
        if self.count > 1:
            raise OSError(28, "No space left on device")

    def close(self, facts: RunFacts) -> None:
        raise AssertionError(facts)


def test_a_disk_that_fills_up_ends_the_records_with_one_warning_and_not_the_training() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    full, sink = FullDisk(), Kept()

    with (
        pytest.warns(UserWarning, match=r"FullDisk of the run .* is given up: OSError: .*No space left") as warned,
        iso.watch(model, optimizer, every=1, to=[full, sink]) as run,
    ):
        train(run, model, optimizer, steps=5)

    assert len(warned) == 1
    assert full.count == 2
    assert len(sink.entries) == 5
    assert sink.closed[0].state == "finished"


def test_a_folder_that_is_removed_is_given_up_and_not_the_training(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    folder = tmp_path / "run"

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with iso.watch(model, optimizer, every=1, to=[folder], snapshot_every=3) as run:
            train(run, model, optimizer, steps=2)
            shutil.rmtree(folder)
            train(run, model, optimizer, steps=8)
    given_up = [str(each.message).split(" of the run ")[0] for each in warned]

    assert given_up == ["Checkpoint", "Records"]  # each once: the checkpoint while it trains, the summary at its end
    assert run.steps == 10


def test_a_rule_that_fails_costs_the_judgements_and_not_the_training() -> None:
    sink = Kept()
    journal = Journal(START, folders=[], sinks=[sink], baseline=None)
    readings = [Reading(step=step, seconds=0.0, losses=(1.0,), learning_rates=(0.1,)) for step in (10, 20)]

    with mock.patch.object(journal_module, "judge", side_effect=ZeroDivisionError("a rule")) as judged:
        with pytest.warns(UserWarning, match=r"judge of the run 'run' is given up: ZeroDivisionError: a rule"):
            journal.add(readings[0])
        journal.add(readings[1])

    assert judged.call_count == 1
    assert sink.entries == readings


def test_a_sink_that_cannot_start_is_an_error_before_the_first_step() -> None:
    model = network()
    sink = mock.create_autospec(Kept, instance=True)
    sink.start.side_effect = OSError("no such place")

    with pytest.raises(OSError, match="no such place"):
        iso.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), to=[sink]).__enter__()
    assert not model._forward_pre_hooks


def test_events_are_in_the_records_with_their_step(tmp_path: Path) -> None:
    journal = Journal(START, folders=[tmp_path], sinks=[], baseline=None)
    journal.begin()
    with mock.patch.object(journal_module, "judge", return_value=[finding()]):
        journal.add(Fault(step=3, during="loss", operation="log", where="", action="skip"))
    journal.close()

    assert read_run(tmp_path).events == (Event(step=3, finding=finding()),)


def test_the_rules_know_the_baseline() -> None:
    model = nn.Linear(2, 1)

    with iso.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), to=[Kept()], baseline=2.3) as run:
        baseline = run.history.baseline

    assert baseline == 2.3


def test_of_several_processes_the_first_alone_writes_the_summary(tmp_path: Path) -> None:
    for rank in (1, 0):
        start = replace(START, rank=rank, num_ranks=2)
        journal = Journal(start, folders=[tmp_path], sinks=[], baseline=None)
        journal.begin()
        journal.account.state = "finished"
        journal.close()

        assert (tmp_path / "summary.json").exists() == (rank == 0)
