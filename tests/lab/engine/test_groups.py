"""Several sweeps side by side: none waits for the last trial of another."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isometry.lab.engine.executors import SerialExecutor
from isometry.lab.engine.records import read_record
from isometry.lab.engine.sweep import run_groups
from tests.lab.engine.trials import trial


def test_the_second_group_runs_while_the_first_still_waits(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    groups = {
        tmp_path / "first": [trial("wait_for", mark=mark)],
        tmp_path / "second": [trial("square", x=3, log=mark), trial("square", x=4, log=mark)],
    }
    shares: list[tuple[str, float]] = []
    with ThreadPoolExecutor(2) as executor:
        ended = list(
            run_groups(groups, executor=executor, watcher=lambda root, share: shares.append((root.name, share)))
        )

    assert sorted(root.name for root, _ in ended) == ["first", "second"]
    assert {root.name: [record.result for record in records] for root, records in ended} == {
        "first": [{"seen": True}],
        "second": [{"square": 9}, {"square": 16}],
    }
    assert {("first", 1.0), ("second", 1.0)} <= set(shares)


def test_here_and_now_a_group_is_handed_over_before_the_next_begins(tmp_path: Path) -> None:
    groups = {tmp_path / name: [trial("square", x=x)] for x, name in enumerate(("first", "second"))}
    sweep = run_groups(groups, executor=SerialExecutor(), watcher=lambda _, __: None)
    root, _ = next(sweep)

    assert root == tmp_path / "first"
    assert not (tmp_path / "second").exists()
    assert [root.name for root, _ in sweep] == ["second"]


def test_a_group_that_is_finished_already_is_yielded_too(tmp_path: Path) -> None:
    groups = {tmp_path / "one": [trial("square", x=5)], tmp_path / "none": []}
    first, again = (dict(run_groups(groups, executor=SerialExecutor(), watcher=lambda _, __: None)) for _ in range(2))

    assert first == again
    assert again[tmp_path / "none"] == []


def test_a_failed_trial_is_tried_once_in_each_sweep(tmp_path: Path) -> None:
    refused = trial("refuse", x=1)
    started: list[float] = []
    for _ in range(2):
        dict(run_groups({tmp_path: [refused]}, executor=SerialExecutor(), watcher=lambda _, __: None))
        record = read_record(tmp_path / refused.id)
        started.append(record.started)

        assert record.state == "failed"
        assert record.error.count("ValueError: x = 1 is refused") == 1

    assert started[1] > started[0]
