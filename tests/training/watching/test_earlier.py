"""What a run does with what is in its folder already, and with a disk that is full for a while."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import isometry as iso
from isometry._errors import RunError
from isometry.training.watching.checkpoint import load_checkpoint
from isometry.training.watching.reader import read_run
from tests.training.watching.trainings import Kept, network, train, weights

LIVING = """
import sys, time
import torch
from torch import nn
import isometry as iso

model = nn.Linear(2, 1)
with iso.watch(model, torch.optim.SGD(model.parameters(), 0.1), to=[sys.argv[1]]):
    print("records", flush=True)
    time.sleep(600)
"""


def run_into(folder: Path, *, steps: int, seed: int = 0, first_step: int = 0) -> nn.Module:
    model = network(seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with iso.watch(model, optimizer, to=[folder, Kept()], snapshot_every=2, first_step=first_step) as run:
        train(run, model, optimizer, steps=steps)
    return model


def test_a_script_that_is_started_again_lays_the_checkpoint_of_the_first_aside(tmp_path: Path) -> None:
    first = run_into(tmp_path, steps=6)
    with pytest.warns(UserWarning, match=r"earlier run at step 6, called checkpoint\.old\.\* now"):
        run_into(tmp_path, steps=2, seed=1)

    kept = load_file(tmp_path / "checkpoint.old.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in first.named_parameters())
    assert torch.load(tmp_path / "checkpoint.old.pt", weights_only=True)["step"] == 6


def test_a_run_that_resumes_takes_the_checkpoint_over_without_a_word(tmp_path: Path) -> None:
    model = run_into(tmp_path, steps=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    step = load_checkpoint(tmp_path, model=model, optimizer=optimizer)
    run_into(tmp_path, steps=2, first_step=step)

    assert not list(tmp_path.glob("checkpoint.old.*"))


@contextmanager
def living(folder: Path) -> Iterator[int]:
    """Let another process record into a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIVING, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"records"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.slow
def test_a_folder_into_which_another_process_records_is_refused_until_that_has_died(tmp_path: Path) -> None:
    with living(tmp_path) as pid, pytest.raises(RunError, match=f"process {pid} still records into"):
        run_into(tmp_path, steps=2)
    run_into(tmp_path, steps=2)

    assert read_run(tmp_path).steps == 2


def test_a_disk_that_is_full_for_a_while_costs_what_was_to_be_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.save
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def fill_and_free(step: int) -> None:
        monkeypatch.setattr(torch, "save", full if 3 <= step < 7 else saved)

    with (
        pytest.warns(UserWarning, match=r"Checkpoint of the run .* cannot write: .*tried again") as warned,
        iso.watch(model, optimizer, to=[tmp_path, Kept()], snapshot_every=2) as run,
    ):
        train(run, model, optimizer, steps=10, after=fill_and_free)

    assert len(warned) == 1
    assert not list(tmp_path.glob("*.next"))
    assert load_checkpoint(tmp_path, model=model, optimizer=optimizer) == 10


def test_an_optimiser_of_another_kind_or_shape_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run_into(tmp_path, steps=4)
    model = network(seed=7)
    before = weights(model)
    first, *rest = model.parameters()

    for optimizer in (
        torch.optim.SGD(model.parameters(), 0.1),
        torch.optim.Adam([{"params": [first]}, {"params": rest}]),
    ):
        with pytest.raises(RunError, match=r"is of Adam over groups of \[6\] .*nothing has been written"):
            load_checkpoint(tmp_path, model=model, optimizer=optimizer)
    assert weights(model) == before


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "checkpoint.pt"])
def test_a_torn_checkpoint_is_called_torn(name: str, tmp_path: Path) -> None:
    run_into(tmp_path, steps=4)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])

    with pytest.raises(RunError, match="is torn"):
        load_checkpoint(tmp_path, model=network())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"first_step": -1}, "first_step is -1"),
        ({"first_step": "3"}, "first_step is '3'"),
        ({"baseline": "ln 10"}, "baseline is 'ln 10'"),
        ({"baseline": float("nan")}, "baseline is nan"),
        ({"to": ""}, "empty path"),
        ({"to": 3}, "to is 3"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], words: str) -> None:
    model = network()

    with pytest.raises(RunError, match=words):
        iso.watch(model, torch.optim.SGD(model.parameters(), 0.1), **settings)


def test_a_schedule_that_a_rollback_would_leave_ahead_is_asked_for() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)

    with pytest.warns(UserWarning, match=r"leave the schedule ahead\. Give scheduler="):
        iso.watch(model, optimizer, on_nan="rollback")
    iso.watch(model, optimizer, on_nan="rollback", scheduler=schedule)
    iso.watch(model, optimizer, on_nan="skip")
