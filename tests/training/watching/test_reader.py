import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import isometry as iso
from isometry._errors import RunError
from isometry.report.run.words import setting_words
from isometry.training.watching.reader import read_run
from tests.training.watching.trainings import Kept, network, train


def watched(folder: Path, *, steps: int, first_step: int = 0, bad: tuple[int, ...] = ()) -> Kept:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sink = Kept()
    with iso.watch(
        model, optimizer, every=2, to=[folder, sink], on_nan="rollback", snapshot_every=3, first_step=first_step
    ) as run:
        train(run, model, optimizer, steps=steps, bad=bad)
        run.evaluate(val_loss=1.5, epoch=1)
    return sink


def test_a_run_is_read_as_the_run_itself_saw_it(tmp_path: Path) -> None:
    sink = watched(tmp_path, steps=9, bad=(5,))

    assert repr(read_run(tmp_path)) == repr(sink.closed[0])  # of NaN, too
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 9
    assert (tmp_path / "summary.html").read_text().startswith("<!")


def test_a_run_is_read_while_it_is_written(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[Any] = []

    with iso.watch(model, optimizer, every=1, to=tmp_path) as run:
        train(run, model, optimizer, steps=3, after=lambda _: seen.append(read_run(tmp_path)))

    assert [(facts.state, facts.steps) for facts in seen] == [("running", 1), ("running", 2), ("running", 3)]


def test_what_is_cut_off_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    watched(tmp_path / "whole", steps=7)
    whole = (tmp_path / "whole" / "records.jsonl").read_bytes()
    start = whole.index(b"\n") + 1
    torn = tmp_path / "torn"
    torn.mkdir()
    steps: list[int] = []

    for cut in range(start, len(whole), 97):
        (torn / "records.jsonl").write_bytes(whole[:cut])
        steps.append(read_run(torn).steps)

    assert steps == sorted(steps)
    assert steps[-1] >= 6


def test_a_run_whose_process_has_gone_is_lost(tmp_path: Path) -> None:
    watched(tmp_path, steps=3)
    path = tmp_path / "records.jsonl"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
    lines[0]["pid"] = int(dead.stdout)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert read_run(tmp_path).state == "lost"

    lines[0] |= {"pid": os.getpid(), "host": f"not-{socket.gethostname()}"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert read_run(tmp_path).state == "running"  # another machine writes to it, and has a moment ago
    os.utime(path, (0, 0))
    assert read_run(tmp_path).state == "lost"


def test_a_resumed_training_takes_the_place_of_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    watched(tmp_path, steps=9)
    before = read_run(tmp_path)
    watched(tmp_path, steps=3, first_step=6)
    facts = read_run(tmp_path)

    assert [reading.step for reading in facts.readings] == [1, 2, 4, 6, 7, 8, 9]
    assert facts.readings[:4] == before.readings[:4]
    assert (facts.steps, facts.state) == (9, "finished")


def test_a_new_run_in_an_old_folder_is_a_new_run(tmp_path: Path) -> None:
    watched(tmp_path, steps=9)
    with (tmp_path / "records.jsonl").open("a") as records:
        records.write('{"kind":"readi')  # its process was killed
    with pytest.warns(UserWarning, match="checkpoint of an earlier run at step 9"):
        sink = watched(tmp_path, steps=4)

    assert read_run(tmp_path) == sink.closed[0]


def test_lines_of_a_later_kind_are_passed_over_and_a_later_schema_is_refused(tmp_path: Path) -> None:
    watched(tmp_path, steps=3)
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"kind":"dream","step":3}', *lines[1:]]) + "\n")

    assert read_run(tmp_path).steps == 3

    path.write_text(lines[0].replace('"schema":1', '"schema":99') + "\n")
    with pytest.raises(RunError, match=r"was written in schema 99, .*pip install -U isometry"):
        read_run(tmp_path)


BROKEN_LINES = {
    "no kind": '{"step":3}',
    "an empty reading": '{"kind":"reading"}',
    "an event without a finding": '{"kind":"event","step":3}',
    "a layout of two lengths": '{"kind":"layout","layers":["0"],"layer_kinds":[],"parameters":[]}',
    "a step that is no number": '{"kind":"evaluation","step":"x","epoch":null,"metrics":{}}',
    "a path to nowhere": '{"kind":"snapshot","step":3,"not_finite":{"a\\tb":"nan"}}',
    "a list": "[1]",
    "no JSON": "\x00\x00",
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_line_that_cannot_be_read_is_skipped_and_counted(line: str, tmp_path: Path) -> None:
    watched(tmp_path, steps=4)
    before = read_run(tmp_path)
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], line, lines[-1]]) + "\n")
    facts = read_run(tmp_path)

    assert (before.num_unread, facts.num_unread) == (0, 1)
    assert facts == replace(before, num_unread=1)
    assert "lines of the records that cannot be read: 1" in list(setting_words(facts))


def test_a_line_that_was_torn_before_the_training_was_resumed_is_no_unread_one(tmp_path: Path) -> None:
    watched(tmp_path, steps=9)
    with (tmp_path / "records.jsonl").open("a") as records:
        records.write('{"kind":"readi')  # its process was killed
    watched(tmp_path, steps=3, first_step=6)

    assert read_run(tmp_path).num_unread == 0


def test_without_a_start_that_can_be_read_there_is_no_run(tmp_path: Path) -> None:
    watched(tmp_path, steps=4)
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines()
    start = {name: value for name, value in json.loads(lines[0]).items() if name != "host"}

    path.write_text("\n".join([json.dumps(start), *lines[1:]]) + "\n")
    with pytest.raises(RunError, match="lacks host"):
        read_run(tmp_path)
    path.write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(RunError, match="holds no line that says how the run began"):
        read_run(tmp_path)


def test_a_folder_that_is_no_run_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "many" / "one").mkdir(parents=True)
    (tmp_path / "many" / "one" / "records.jsonl").write_text("")
    (tmp_path / "empty").mkdir()

    with pytest.raises(RunError, match="does not exist"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="is a file, but a folder is needed"):
        read_run(tmp_path / "file")
    with pytest.raises(RunError, match="is no run, but holds 1: one"):
        read_run(tmp_path / "many")
    with pytest.raises(RunError, match=r"holds no 'records\.jsonl'"):
        read_run(tmp_path / "empty")
