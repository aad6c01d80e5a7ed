"""The index and the table of trials say what their folders say."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from isometry._errors import LabError
from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.index import build_index, export_parquet
from isometry.lab.engine.sweep import run_trials
from isometry.lab.engine.trial import Trial

MODULE = "tests.lab.engine.trials"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trials = [Trial(function=f"{MODULE}:square", config={"x": x, "of": {"rate": 0.5}, "sizes": [1, x]}) for x in (2, 3)]
    trials.append(Trial(function=f"{MODULE}:refuse", config={"x": 4}))
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


def test_a_folder_without_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no trials"):
        build_index(tmp_path)
