import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn

import isometry as iso
from isometry._errors import RunError
from isometry.training.watching.checkpoint import STATE, WEIGHTS, Checkpoint, load_checkpoint
from isometry.training.watching.reader import read_run
from isometry.training.watching.snapshot import Training
from tests.training.watching.trainings import Kept, network, train, weights

ENDLESS = """
import sys, torch, isometry as iso
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))
optimizer = torch.optim.AdamW(model.parameters())
with iso.watch(model, optimizer, every=1, to=[sys.argv[1]], snapshot_every=1) as run:
    while True:
        optimizer.zero_grad()
        loss = (model(inputs := torch.randn(16, 64)) - inputs).square().mean()
        loss.backward()
        optimizer.step()
        run.step(loss)
"""


def parts(model: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)


def test_scheduler_and_scaler_are_resumed_at_the_step_of_the_last_checkpoint(tmp_path: Path) -> None:
    model = network()
    optimizer, scheduler = parts(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(()))
    with iso.watch(
        model, optimizer, to=[tmp_path, Kept()], scheduler=scheduler, scaler=scaler, snapshot_every=5
    ) as run:
        scaler.update(4.0)
        train(run, model, optimizer, steps=12, after=lambda _: scheduler.step())
    twin = network(seed=9)
    twin_optimizer, twin_scheduler = parts(twin)
    twin_scaler = torch.amp.GradScaler("cpu")

    step = load_checkpoint(tmp_path, model=twin, optimizer=twin_optimizer, scheduler=twin_scheduler, scaler=twin_scaler)

    assert step == 10
    assert (twin_scheduler.last_epoch, twin_scaler.get_scale()) == (9, 4.0)


def test_random_numbers_weights_and_moments_go_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = network()
    optimizer, _ = parts(model)
    train(None, model, optimizer, steps=4)

    Checkpoint(tmp_path).save(Training(model, optimizer), step=4)
    train(None, model, optimizer, steps=3)
    twin = network(seed=9)
    twin_optimizer, _ = parts(twin)
    load_checkpoint(tmp_path, model=twin, optimizer=twin_optimizer)
    train(None, twin, twin_optimizer, steps=3)

    assert weights(twin) == weights(model)
    assert str(twin_optimizer.state_dict()) == str(optimizer.state_dict())


def test_a_stopping_rule_and_its_best_weights_are_resumed(tmp_path: Path) -> None:
    model = network()
    optimizer, _ = parts(model)
    with iso.watch(
        model, optimizer, to=[tmp_path, Kept()], snapshot_every=2, stopping=iso.EarlyStopping("val_loss")
    ) as run:
        train(run, model, optimizer, steps=3)
        run.evaluate(val_loss=0.5)
        best = weights(model)
        train(run, model, optimizer, steps=3)
        run.evaluate(val_loss=0.7)
    twin = network(seed=9)
    twin_optimizer, _ = parts(twin)
    rule = iso.EarlyStopping("val_loss")

    step = load_checkpoint(tmp_path, model=twin, optimizer=twin_optimizer, stopping=rule)
    with iso.watch(twin, twin_optimizer, to=[tmp_path, Kept()], stopping=rule, first_step=step) as run:
        train(run, twin, twin_optimizer, steps=3)
        run.evaluate(val_loss=0.6)

    assert step == 6
    assert rule.best is not None
    assert rule.best.step == 3
    assert weights(twin) == best


def test_tied_weights_and_wrapped_models_are_saved_as_the_user_wrote_them(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapped = nn.DataParallel(model)

    Checkpoint(tmp_path).save(Training(wrapped, optimizer), step=1)
    twin = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    twin[1].weight = twin[0].weight
    load_checkpoint(tmp_path, model=twin)

    assert weights(twin) == weights(model)


@pytest.mark.parametrize("killed_at", range(4))
def test_a_kill_between_any_two_writes_leaves_a_whole_checkpoint(tmp_path: Path, killed_at: int) -> None:
    model = network()
    optimizer, _ = parts(model)
    training = Training(model, optimizer)
    Checkpoint(tmp_path).save(training, step=1)
    before = weights(model)
    train(None, model, optimizer, steps=2)
    after = weights(model)
    writes = 0
    real_replace, real_save = Path.replace, torch.save

    def killed(real: object, *given: object) -> object:
        nonlocal writes
        writes += 1
        if writes > killed_at:
            raise KeyboardInterrupt
        return real(*given)

    with (
        mock.patch.object(Path, "replace", lambda *given: killed(real_replace, *given)),
        mock.patch.object(torch, "save", lambda *given: killed(real_save, *given)),
        contextlib.suppress(KeyboardInterrupt),
    ):
        Checkpoint(tmp_path).save(training, step=3)
    twin = network(seed=9)
    step = load_checkpoint(tmp_path, model=twin, optimizer=parts(twin)[0])

    assert (step, weights(twin)) == ((3, after) if killed_at >= 2 else (1, before))

    Checkpoint(tmp_path).save(training, step=4)

    assert load_checkpoint(tmp_path, model=twin) == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == [STATE, WEIGHTS]


def test_the_state_is_loaded_without_running_code(tmp_path: Path) -> None:
    model = network()
    optimizer, scheduler = parts(model)

    Checkpoint(tmp_path).save(Training(model, optimizer, scheduler), step=2)

    assert torch.load(tmp_path / STATE, weights_only=True)["step"] == 2


def test_what_is_missing_in_a_checkpoint_is_said(tmp_path: Path) -> None:
    model = network()
    optimizer, scheduler = parts(model)

    with pytest.raises(RunError, match=r"holds no checkpoint\. One is written there by isometry\.watch"):
        load_checkpoint(tmp_path, model=model)
    Checkpoint(tmp_path).save(Training(model, optimizer), step=2)
    with pytest.raises(RunError, match=r"holds no scheduler\. Give scheduler=None"):
        load_checkpoint(tmp_path, model=model, scheduler=scheduler)
    with pytest.raises(RunError, match=r"is of another model than Linear"):
        load_checkpoint(tmp_path, model=nn.Linear(2, 2))


def test_a_model_that_cannot_be_written_costs_the_checkpoint_and_not_the_records(tmp_path: Path) -> None:
    class Talkative(nn.Linear):
        def get_extra_state(self) -> str:
            return "words are no tensors"

        def set_extra_state(self, state: str) -> None:
            raise AssertionError(state)

    model = Talkative(8, 4)
    optimizer, _ = parts(model)

    with (
        pytest.warns(UserWarning, match=r"Checkpoint of the run .* is given up") as warned,
        iso.watch(model, optimizer, to=[tmp_path, Kept()], snapshot_every=2) as run,
    ):
        train(run, model, optimizer, steps=5)

    assert len(warned) == 1
    assert read_run(tmp_path).steps == 5


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_leaves_records_and_a_checkpoint(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder)], env=environment)
        while not (folder / "records.jsonl").exists() or (folder / "records.jsonl").stat().st_size < 20_000:
            time.sleep(0.01)
        time.sleep(0.037 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        model = nn.Sequential(nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))
        facts = read_run(folder)
        step = load_checkpoint(folder, model=model, optimizer=torch.optim.AdamW(model.parameters()))

        assert facts.state == "lost"
        assert 0 <= facts.steps - step <= 1
        assert facts.readings[-1].step == facts.steps
        assert all(each.isfinite().all() for each in model.state_dict().values())
        assert json.loads((folder / "records.jsonl").read_text().splitlines()[0])["kind"] == "start"
