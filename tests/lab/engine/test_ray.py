"""Trials on a real Ray cluster of this machine, with a worker killed in the middle."""

from pathlib import Path

import pytest

from isometry.lab.engine.executors import executor_on
from isometry.lab.engine.sweep import run_trials
from tests.lab.engine.trials import trial

pytest.importorskip("ray", reason="needs the extra: pip install 'isometry[ray]'")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")  # Ray's own
def test_a_cluster_finishes_all_trials_though_a_worker_is_killed(tmp_path: Path) -> None:
    trials = [trial("die_once", x=0, mark=str(tmp_path / "mark"))]
    trials += [trial("square", x=x, log=str(tmp_path / "log")) for x in range(4)]
    trials += [trial("refuse", x=1)]
    with executor_on("ray") as executor:
        records = run_trials(trials, tmp_path / "trials", executor=executor)

    assert [record.state for record in records] == ["finished"] * 5 + ["failed"]
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3"]
