"""Two processes that train together, each watched, over gloo."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from isometry.training import read_run
from isometry.training.watching.ranks import Ranks
from tests.training.watching.rank_programs import BAD_STEP, STEPS, batch, network

ROOT = Path(__file__).parents[3]
PROGRAMS = (
    *("plain", "bare", "compiled", "compiled_bare", "sharded", "sharded_bare", "sharded_nan", "sharded_rollback"),
    *("accumulated", "uneven", "uneven_bare"),
    *(f"nan_{part}_{action}" for part in ("inputs", "loss") for action in ("stop", "skip", "rollback")),
)


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def started(program: str, folder: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run a program on two processes, each of which has to end within two minutes."""
    folder.mkdir(exist_ok=True)
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    strict = ["-W", "error", "-W", "ignore:Checkpoint of the run"]  # which is told of shards
    command = [sys.executable, *strict, "-m", "tests.training.watching.rank_programs", program, str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, out, err)
        for process, (out, err) in zip(processes, told, strict=True)
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which each of `PROGRAMS` has one of its own."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "programs").write_text(" ".join(PROGRAMS), encoding="utf-8")
    for each in started("one_after_another", folder):
        assert each.returncode == 0, each.stderr
    return folder


def well(folder: Path) -> list[dict[str, torch.Tensor]]:
    """Return the weights of both processes of a program that has to have succeeded."""
    assert not [path.read_text(encoding="utf-8") for path in folder.glob("error*")]
    return [torch.load(folder / f"weights{rank}.pt") for rank in range(2)]


def are_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    names = [name.removeprefix("_orig_mod.") for name in one]
    assert names == [name.removeprefix("_orig_mod.") for name in other]
    return all(torch.equal(left, right) for left, right in zip(one.values(), other.values(), strict=True))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "summary.json").read_text())


def test_a_process_alone_agrees_with_itself() -> None:
    here = Ranks.here(network())

    assert (here.rank, here.num_ranks) == (0, 1)
    assert here.agree(torch.tensor(True))
    assert not here.agree(torch.tensor(False))


@pytest.mark.slow
@pytest.mark.parametrize("program", ["plain", "compiled", "sharded", "uneven"])
def test_the_weights_are_bit_for_bit_those_of_the_unwatched_training(done: Path, program: str) -> None:
    bare = "bare" if program == "plain" else f"{program}_bare"
    watched, unwatched = well(done / program), well(done / bare)

    assert are_alike(watched[0], unwatched[0])
    assert are_alike(watched[1], unwatched[1])


@pytest.mark.slow
def test_the_sinks_of_the_first_process_show_the_run_of_all(done: Path) -> None:
    assert [path.name for path in (done / "plain").glob("heard*")] == ["heard0"]


@pytest.mark.slow
@pytest.mark.parametrize("averaged", ["each", "last"])
def test_the_noise_of_accumulated_steps_is_known_wherever_gradients_are_averaged(done: Path, averaged: str) -> None:
    last = read_run(done / "accumulated" / averaged).readings[-1]

    assert last.noise_unit == "batches"
    assert last.noise_scale == pytest.approx(400 / (400 * 0.6**2) / 4, rel=0.2)  # of four examples in a step


@pytest.mark.slow
def test_each_process_writes_its_lines_and_the_first_the_summary(done: Path) -> None:
    run = done / "plain" / "run"
    own, other = (read_run(run, rank=rank) for rank in range(2))
    merged = summary(done / "plain")

    with torch.no_grad():
        model = network()
        expected = [
            float(torch.nn.functional.cross_entropy(model(inputs), targets))
            for inputs, targets in (batch(rank, 1) for rank in range(2))
        ]
    assert [own.readings[0].losses[0], other.readings[0].losses[0]] == pytest.approx(expected)
    assert merged["loss"]["last"] == pytest.approx((own.readings[-1].losses[-1] + other.readings[-1].losses[-1]) / 2)
    assert {each["rank"] for each in merged["extremes"]} <= {0, 1}
    assert merged["num_ranks"] == 2
    assert merged["state"] == own.state == other.state == "finished"
    assert own.steps == other.steps == STEPS
    assert {path.name for path in run.iterdir()} == {
        *("checkpoint.safetensors", "checkpoint.pt", "summary.html", "summary.json"),
        *("records.jsonl", "records.rank1.jsonl"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("part", ["inputs", "loss"])
@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_a_fault_of_one_process_is_met_alike_by_all(done: Path, part: str, action: str) -> None:
    folder = done / f"nan_{part}_{action}"
    weights = well(folder)
    runs = [read_run(folder / "run", rank=rank) for rank in range(2)]

    assert are_alike(*weights)
    assert all(bool(each.isfinite().all()) for each in weights[0].values())
    for run in runs:
        assert [(each.step, each.action) for each in run.faults] == [(BAD_STEP, action)]
        assert run.steps == runs[0].steps
    assert [each["rank"] for each in summary(folder)["faults"]] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["inputs", "loss"])
def test_a_fault_of_one_process_stops_all(done: Path, part: str) -> None:
    folder = done / f"nan_{part}_stop"
    errors = [(folder / f"error{rank}").read_text(encoding="utf-8") for rank in range(2)]

    assert all("NonFiniteError" in error for error in errors)
    assert summary(folder)["state"] == "failed"
    assert [read_run(folder / "run", rank=rank).state for rank in range(2)] == ["failed", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["sharded_nan", "sharded_rollback"])
def test_a_fault_in_one_shard_is_met_alike_by_all(done: Path, program: str) -> None:
    weights = well(done / program)

    assert are_alike(*weights)
    assert all(bool(each.isfinite().all()) for each in weights[0].values())
    assert [each["step"] for each in summary(done / program)["faults"]] == [BAD_STEP]


@pytest.mark.slow
def test_the_first_process_ends_though_the_other_died(tmp_path: Path) -> None:
    first, other = started("one_dies", tmp_path)

    assert other.returncode == 3
    assert first.returncode == 1
    assert read_run(tmp_path / "run").state == "failed"
    assert read_run(tmp_path / "run", rank=1).state == "lost"


@pytest.mark.slow
def test_the_summary_says_that_a_process_was_lost_at_the_end(tmp_path: Path) -> None:
    first, _ = started("one_dies_last", tmp_path)

    assert first.returncode == 0, first.stderr
    assert summary(tmp_path)["state"] == "lost"
    assert summary(tmp_path)["reason"].startswith("process 1 of 2")


@pytest.mark.slow
def test_torchrun_starts_it_as_it_starts_others(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = subprocess.run(
        [*launch, "-m", "tests.training.watching.rank_programs", "plain", str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    assert summary(tmp_path)["num_ranks"] == 2
