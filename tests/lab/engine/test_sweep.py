"""Sweeps over trials that finish, fail, kill their worker, or are interrupted."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import LabError
from isometry._phrases import Phrase
from isometry.lab.engine.executors import SerialExecutor, executor_on
from isometry.lab.engine.records import read_records
from isometry.lab.engine.sweep import MAX_DEATHS, run_trials
from isometry.lab.engine.trial import Trial
from tests.lab.engine.trials import trial


@pytest.fixture(autouse=True)
def _workers_find_the_functions_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


def test_a_trial_that_does_not_apply_is_no_failure_says_why_and_is_asked_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trials, shares = [trial("set_aside", mark=str(mark)), trial("square", x=3)], list[float]()
    before = run_trials(trials, tmp_path / "trials", executor=SerialExecutor(), watcher=shares.append)
    mark.touch()
    after = run_trials(trials, tmp_path / "trials", executor=SerialExecutor())

    assert [(each.state, each.error) for each in before] == [
        ("inapplicable", "there is no mark, and one is needed."),
        ("finished", ""),
    ]
    assert isinstance(before[0].error, Phrase)
    assert before[0].error.parts == {
        "template": "there is no {mark}, and one is needed.",
        "values": {"mark": {"template": "mark", "values": {}}},
    }
    assert shares[-1] == 1.0
    assert [each.state for each in after] == ["finished", "finished"]


@given(config=st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_id_depends_on_the_configuration_and_not_on_its_order(config: Mapping[str, float]) -> None:
    turned = dict(reversed(list(config.items())))

    assert trial("square", x=1).id != trial("square", x=2).id
    assert Trial(function="a:b", config=config).id == Trial(function="a:b", config=turned).id
    assert Trial(function="a:b", config=config, name="other").id == Trial(function="a:b", config=config).id
    assert Trial(function="a:c", config=config).id != Trial(function="a:b", config=config).id


def test_an_id_is_the_same_for_ever() -> None:
    assert Trial(function="a:b", config={"x": 1, "y": [0.5, "z"]}).id == "d15f01997e7a07cb"


def test_a_sweep_runs_each_trial_once_and_a_second_one_repeats_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    trials = [trial("square", x=x, log=str(log)) for x in (1, 2, 3, 2)]
    shares: list[float] = []
    records = run_trials(trials, tmp_path / "trials", executor=SerialExecutor(), watcher=shares.append)
    again = run_trials(trials, tmp_path / "trials", executor=SerialExecutor())

    assert [record.result for record in records] == [{"square": x**2} for x in (1, 2, 3, 2)]
    assert log.read_text() == "1\n2\n3\n"
    assert records == again
    assert shares[-1] == 1.0


def test_a_trial_that_raises_is_recorded_with_its_traceback_and_ends_nothing(tmp_path: Path) -> None:
    refused, squared = run_trials([trial("refuse", x=7), trial("square", x=7)], tmp_path, executor=SerialExecutor())

    assert refused.state == "failed"
    assert "ValueError: x = 7 is refused" in refused.error
    assert "trials.py" in refused.error
    assert squared.result == {"square": 49}


@pytest.mark.slow
def test_a_killed_worker_loses_its_own_trial_alone_and_that_is_run_again(tmp_path: Path) -> None:
    trials = [trial("die_once", x=x, mark=str(tmp_path / f"mark{x}")) for x in range(2)]
    trials += [trial("square", x=x, log=str(tmp_path / "log")) for x in range(6)]
    with executor_on("local", workers=2) as executor:
        records = run_trials(trials, tmp_path / "trials", executor=executor)

    assert {record.state for record in records} == {"finished"}


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_is_given_up(tmp_path: Path) -> None:
    with executor_on("local", workers=2) as executor:
        died, squared = run_trials([trial("die_always"), trial("square", x=3)], tmp_path, executor=executor)

    assert died.state == "failed"
    assert f"died {MAX_DEATHS} times" in died.error
    assert squared.result == {"square": 9}


SCRIPT = """
import sys
from pathlib import Path
from isometry.lab.engine.executors import executor_on
from isometry.lab.engine.sweep import run_trials
from isometry.lab.engine.trial import Trial

root = Path(sys.argv[1])
trials = [Trial(function="tests.lab.engine.trials:square", config={"x": x, "log": str(root / "log")}) for x in range(3)]
trials.append(Trial(function="tests.lab.engine.trials:wait_for", config={"mark": str(root / "mark")}))
if __name__ == "__main__":
    with executor_on("local", workers=1) as executor:
        run_trials(trials, root / "trials", executor=executor)
"""


@pytest.mark.slow
def test_a_sweep_that_was_killed_is_taken_up_where_it_was(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path)]
    root = Path(__file__).parents[3]  # the project's, for the functions of the tests
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"})
    log, expected = tmp_path / "log", ["finished"] * 3 + ["unfinished"]
    while process.poll() is None and sorted(each.state for each in read_records(tmp_path / "trials")) != expected:
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = {record.id: record.state for record in read_records(tmp_path / "trials")}
    (tmp_path / "mark").touch()
    trials = [trial("square", x=x, log=str(log)) for x in range(3)] + [trial("wait_for", mark=str(tmp_path / "mark"))]
    records = run_trials(trials, tmp_path / "trials", executor=SerialExecutor())

    assert sorted(before.values()) == expected
    assert [record.state for record in records] == ["finished"] * 4
    assert log.read_text() == "0\n1\n2\n"


class Elsewhere(SerialExecutor):
    """Runs a call on a machine whose disk nobody else sees."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Write the record into a folder of its own."""
        trial, root = args
        return super().submit(fn, trial, root / "elsewhere", **kwargs)


def test_a_worker_whose_disk_is_not_shared_is_told_from_one_that_works(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="every machine of the cluster sees"):
        run_trials([trial("square", x=1)], tmp_path, executor=Elsewhere())


def test_a_configuration_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(LabError, match="cannot be written as JSON"):
        trial("square", x=math.nan)


@pytest.mark.parametrize(
    ("place", "address", "words"),
    [("moon", None, "Choose one of: serial, local, ray"), ("local", "a:1", "Give --on ray as well")],
)
def test_a_place_that_is_none_is_refused(place: str, address: str | None, words: str) -> None:
    with pytest.raises(LabError, match=words), executor_on(place, address=address):
        pass


def test_a_function_that_is_not_there_fails_its_trial_alone(tmp_path: Path) -> None:
    [record] = run_trials([trial("nothing")], tmp_path, executor=SerialExecutor())

    assert record.state == "failed"
    assert "leads to no function" in record.error
