"""The index and the table of trials say what their folders say."""

import math
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch

from isometry._errors import LabError
from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.index import build_index, export_parquet
from isometry.lab.engine.records import Folder
from isometry.lab.engine.sweep import run_trials
from tests.lab.engine.trials import trial


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trials = [trial("square", x=x, of={"rate": 0.5}, sizes=[1, x]) for x in (2, 3)]
    trials.append(trial("refuse", x=4))
    run_trials(trials, tmp_path / "trials", executor=SerialExecutor())
    return tmp_path / "trials"


def test_the_index_is_built_from_the_folders_and_again_after_it_was_thrown_away(root: Path) -> None:
    query = "select json_extract(config, '$.x'), state, json_extract(result, '$.square') from trials order by 1"
    found: list[list[tuple[object, ...]]] = []
    for _ in range(2):
        with closing(sqlite3.connect(build_index(root))) as connection:
            found.append(connection.execute(query).fetchall())
        (root / "index.sqlite").unlink()

    assert found[0] == [(2, "finished", 4), (3, "finished", 9), (4, "failed", None)]
    assert found[0] == found[1]


def test_the_index_has_what_trials_told_on_their_way(root: Path) -> None:
    query = "select line, value from metrics join trials using (id) where metrics.name = 'share' and state = 'finished'"
    with closing(sqlite3.connect(build_index(root))) as connection:
        found = connection.execute(query).fetchall()

    assert found == [(0, 0.5)] * 2


def test_the_parquet_table_has_a_column_a_setting(root: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: pip install 'isometry[lab]'")
    export_parquet(root, tmp_path / "trials.parquet")
    rows = sorted(parquet.read_table(tmp_path / "trials.parquet").to_pylist(), key=lambda row: row["config.x"])

    assert [(row["config.x"], row["config.of.rate"], row["config.sizes"], row["state"]) for row in rows] == [
        (2, 0.5, "[1, 2]", "finished"),
        (3, 0.5, "[1, 3]", "finished"),
        (4, None, None, "failed"),
    ]


def test_trials_in_folders_of_their_own_and_twice_are_indexed_once_with_what_they_told(tmp_path: Path) -> None:
    trials = [trial("square", x=x) for x in (2, 3)]
    for name, each in zip(("first", "second"), trials, strict=True):
        run_trials([each], tmp_path / name, executor=SerialExecutor())
    Folder(tmp_path / "another", trials[1]).fail("of want of memory")
    query = "select json_extract(config, '$.x'), state, value from trials join metrics using (id) order by 1, 3"
    with closing(sqlite3.connect(build_index(tmp_path))) as connection:
        found = connection.execute(query).fetchall()
        told = connection.execute("select id, count(*) from metrics where name = 'share' group by id").fetchall()

    assert {row[:2] for row in found} == {(2, "finished"), (3, "finished")}
    assert sorted(told) == sorted((each.id, 1) for each in trials)


def test_numbers_that_are_not_finite_do_not_spoil_a_query(tmp_path: Path) -> None:
    Folder(tmp_path, trial("square", x=1)).finish({"square": 4, "of": [math.inf, math.nan, 1.0]})
    query = "select json_extract(result, '$.square'), json_extract(result, '$.of') from trials"
    with closing(sqlite3.connect(build_index(tmp_path))) as connection:
        assert connection.execute(query).fetchall() == [(4, "[null,null,1.0]")]


def test_a_trial_says_where_and_with_what_it_ran(root: Path) -> None:
    query = "select distinct host, json_extract(versions, '$.torch') from trials"
    with closing(sqlite3.connect(build_index(root))) as connection:
        assert connection.execute(query).fetchall() == [(socket.gethostname(), torch.__version__)]


def test_a_setting_that_is_a_number_here_and_several_there_is_a_column_of_json(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: pip install 'isometry[lab]'")
    trials = [trial("square", x=2, noise=noise) for noise in (0.5, [0.0, 0.25], 1)]
    run_trials(trials, tmp_path, executor=SerialExecutor())
    export_parquet(tmp_path, tmp_path / "trials.parquet")
    rows = parquet.read_table(tmp_path / "trials.parquet").to_pylist()

    assert sorted(row["config.noise"] for row in rows) == ["0.5", "1", "[0.0, 0.25]"]
    assert {row["result.square"] for row in rows} == {4}


def test_a_folder_without_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no trials"):
        build_index(tmp_path)
