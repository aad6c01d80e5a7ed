import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from isometry._errors import RunError
from isometry.training.watching import follow as following
from isometry.training.watching.account import Account, Start
from isometry.training.watching.follow import WholeRun, follow
from isometry.training.watching.records import Records
from tests.report.run.cases import run

START = Start(name="one", model="Sequential", optimizer="SGD(lr=0.1)", every=10, versions={"torch": "2"})


def ended(steps: int) -> Account:
    return Account(START, state="finished", steps=steps, seconds=1.0)


def test_a_run_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    records, facts = Records(tmp_path, start=START), run(steps=60, depth=2)
    whole = WholeRun(tmp_path)
    seen: list[tuple[str, int]] = []
    for reading in facts.readings:
        records.write(reading)
        found = whole.read()
        seen.append((found.state, found.readings[-1].step))
    records.close(ended(60))
    last = whole.read()

    assert seen == [("running", reading.step) for reading in facts.readings]
    assert (last.state, last.readings) == ("finished", facts.readings)
    assert WholeRun(tmp_path).read() == last


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    records, facts = Records(tmp_path, start=START), run(steps=20, depth=2)
    records.write(facts.readings[0])
    path = tmp_path / "records.jsonl"
    whole = WholeRun(tmp_path)
    before = path.read_bytes()
    records.write(facts.readings[1])
    after = path.read_bytes()
    steps: list[int] = []
    for end in range(len(before), len(after), 40):
        path.write_bytes(after[:end])
        steps.append(whole.read().readings[-1].step)
    path.write_bytes(after)
    last = whole.read()
    records.close(ended(10))

    assert set(steps) == {1}
    assert last.readings[-1].step == 10


def test_processes_that_trained_together_are_shown_as_one(tmp_path: Path) -> None:
    facts = run(steps=20, depth=2)
    for rank in range(2):
        records = Records(tmp_path, start=replace(START, rank=rank, num_ranks=2))
        for reading in facts.readings:
            records.write(replace(reading, losses=tuple(loss + rank for loss in reading.losses)))
        records.close(ended(20))
    found = WholeRun(tmp_path).read()

    assert found.num_ranks == 2
    assert found.readings[0].losses[0] == pytest.approx(facts.readings[0].losses[0] + 0.5)
    assert {extreme.rank for extreme in found.extremes if extreme.quantity == "loss"} == {1}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_following_ends_with_the_run_and_leaves_the_last_view(
    is_terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, facts = Records(tmp_path, start=START), run(steps=30, depth=2)
    records.write(facts.readings[0])

    def train(_: float) -> None:
        for reading in facts.readings[1:]:
            records.write(reading)
        records.close(ended(30))

    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=is_terminal, color_system=None)
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=train))  # between two looks
    found = follow(WholeRun(tmp_path), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()

    assert (found.state, found.readings) == ("finished", facts.readings)
    assert text.count("finished  one") == 1
    assert ("running  one" in text) == is_terminal


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no"):
        WholeRun(tmp_path).read()

    assert not list(tmp_path.iterdir())
