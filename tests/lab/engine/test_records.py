"""Folders of trials: what a kill, a full disk or another hand leaves in them spoils no sweep and no other record."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from isometry._errors import LabError
from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.perform import perform
from isometry.lab.engine.records import Folder, is_finished, read_metrics, read_record, read_records, share_done
from isometry.lab.engine.sweep import run_trials
from tests.lab.engine.trials import trial

SPOILT = [
    pytest.param("trial.json", None, id="killed before the trial was written down"),
    pytest.param("trial.json", b"", id="an empty trial"),
    pytest.param("trial.json", b"[]", id="a trial that is a list"),
    pytest.param("summary.json", b"", id="an empty summary"),
    pytest.param("summary.json", b'{"state": "finished", "resu', id="half a summary"),
    pytest.param("summary.json", b"[]", id="a summary that is a list"),
    pytest.param("summary.json", b"\xff\xfe", id="a summary that is no text"),
    pytest.param("summary.json", b'{"state": "finished"}', id="a summary without its result"),
    pytest.param("summary.json", b'{"state": "failed"}', id="a summary without its error"),
    pytest.param("summary.json", b'{"state": "inapplicable"}', id="a summary without its reason"),
    pytest.param("summary.json", b'{"state": "inapplicable", "error": "no."}', id="a reason without its parts"),
]


@pytest.mark.parametrize(("name", "content"), SPOILT)
def test_a_folder_that_is_not_whole_is_run_again_and_spoils_nothing(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    one, other = trial("square", x=3), trial("square", x=4)
    run_trials([one, other], tmp_path, executor=SerialExecutor())
    (tmp_path / one.id / name).unlink()
    if content is not None:
        (tmp_path / one.id / name).write_bytes(content)
    before = [(record.trial, record.state) for record in read_records(tmp_path)]
    records = run_trials([one, other], tmp_path, executor=SerialExecutor())

    assert (other, "finished") in before
    assert (one, "finished") not in before
    assert [record.result for record in records] == [{"square": 9}, {"square": 16}]


def test_what_failed_and_is_tried_again_begins_anew(tmp_path: Path) -> None:
    one = trial("square", x=1)
    first = Folder(tmp_path, one)
    first.progress(0.9, loss=3.0)
    first.fail("of want of memory")
    failed = read_record(tmp_path / one.id).state, share_done(tmp_path / one.id)
    Folder(tmp_path, one).progress(0.1)

    assert failed == ("failed", 1.0)
    assert (read_record(tmp_path / one.id).state, share_done(tmp_path / one.id)) == ("unfinished", 0.1)
    assert [line["share"] for line in read_metrics(tmp_path / one.id)] == [0.1]


def test_what_another_run_has_finished_is_left_as_it_is(tmp_path: Path) -> None:
    one = trial("square", x=1, log=str(tmp_path / "log"))
    for _ in range(2):
        perform(one, tmp_path)

    assert is_finished(tmp_path / one.id)
    assert (tmp_path / "log").read_text() == "1\n"


def test_a_trial_that_leaves_the_program_is_recorded_and_ends_nothing(tmp_path: Path) -> None:
    left, squared = run_trials([trial("leave", x=4), trial("square", x=7)], tmp_path, executor=SerialExecutor())

    assert left.state == "failed"
    assert left.error.endswith("SystemExit: 4\n")
    assert squared.result == {"square": 49}


def test_arrays_and_numbers_that_are_not_finite_survive_the_record(tmp_path: Path) -> None:
    one = trial("square", x=1)
    folder = Folder(tmp_path, one)
    folder.progress(0.25)
    unfinished, share = read_record(tmp_path / one.id), share_done(tmp_path / one.id)
    folder.finish({"curve": np.array([1.0, math.inf]), "tensor": torch.ones(2), "of": {"x": (1, None, True)}})
    finished = read_record(tmp_path / one.id)

    assert (unfinished.state, share, share_done(tmp_path / one.id)) == ("unfinished", 0.25, 1.0)
    assert finished.result == {"curve": [1.0, math.inf], "tensor": [1.0, 1.0], "of": {"x": [1, None, True]}}
    assert finished.trial == one


def test_what_a_trial_told_on_its_way_outlives_it(tmp_path: Path) -> None:
    one = trial("square", x=1)
    folder = Folder(tmp_path, one)
    folder.progress(0.25, loss=2.5, error=0.5)
    folder.progress(0.5, loss=math.nan)
    first, second = read_metrics(tmp_path / one.id)

    assert (first["share"], first["loss"], first["error"]) == (0.25, 2.5, 0.5)
    assert math.isnan(second["loss"])
    assert first["seconds"] <= second["seconds"]


def test_a_line_of_progress_that_is_half_written_does_not_count(tmp_path: Path) -> None:
    one = trial("square", x=1)
    Folder(tmp_path, one).progress(0.25)
    with (tmp_path / one.id / "metrics.jsonl").open("a") as stream:
        stream.write('{"share": 0.')

    assert share_done(tmp_path / one.id) == 0.25


@pytest.mark.parametrize("count", [1, 30, 100, 10_000])
def test_how_far_a_trial_is_stands_in_the_last_line_however_much_it_told(count: int, tmp_path: Path) -> None:
    folder, metrics = Folder(tmp_path, trial("square", x=1)), tmp_path / trial("square", x=1).id / "metrics.jsonl"
    folder.progress(0.5)
    metrics.write_text(metrics.read_text() * count)
    folder.progress(0.75, loss=1.0)

    assert share_done(metrics.parent) == read_metrics(metrics.parent)[-1]["share"] == 0.75


def test_a_last_line_longer_than_what_is_read_first_is_read_whole(tmp_path: Path) -> None:
    one = trial("square", x=1)
    folder = Folder(tmp_path, one)
    many = {f"number_{place}": math.pi for place in range(1000)}
    shares: list[float] = []
    for told in ({}, many, many, {}):
        folder.progress((len(shares) + 1) / 4, **told)
        shares.append(share_done(tmp_path / one.id))

    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("line", ["{}", "12", "[]", '{"share": null}', '{"share": "much"}', "", "\xff"])
def test_a_last_line_of_another_hand_spoils_nothing(line: str, tmp_path: Path) -> None:
    one = trial("square", x=1)
    Folder(tmp_path, one).progress(0.5)
    with (tmp_path / one.id / "metrics.jsonl").open("a", encoding="latin-1") as stream:
        stream.write(line + "\n")

    assert share_done(tmp_path / one.id) == 0.0


@pytest.mark.parametrize("half", [None, "", '{"share": 0.', '{"share": 0.5, "seconds": 1.0}'])
def test_a_trial_that_has_told_no_whole_line_is_at_its_beginning(half: str | None, tmp_path: Path) -> None:
    one = trial("square", x=1)
    Folder(tmp_path, one)
    if half is not None:
        (tmp_path / one.id / "metrics.jsonl").write_text(half)

    assert share_done(tmp_path / one.id) == 0.0


def test_a_folder_without_a_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no trial"):
        read_record(tmp_path)
