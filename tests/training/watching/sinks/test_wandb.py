from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import isometry
from isometry._errors import DomainError
from isometry.report.run.facts import Event
from isometry.training.watching.sinks.wandb import Wandb
from tests.report.run.cases import BACK, SPIKE, run


class Listed:
    """A logger that keeps a list."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, Any]]] = []

    def log(self, data: dict[str, Any], *, step: int) -> None:
        self.logged.append((step, data))


def test_each_entry_becomes_one_call_with_its_step() -> None:
    logger = Listed()
    sink = Wandb(logger)
    reading, evaluation = run(steps=100).readings[4], run(steps=100).evaluations[0]
    sink.start(run(steps=1))
    for entry in (reading, evaluation, Event(step=110, finding=SPIKE), replace(BACK, step=120)):
        sink.write(entry)
    sink.close(run(steps=1))
    names = [set(data) for _, data in logger.logged[1:]]

    assert [step for step, _ in logger.logged] == [40, 100, 110, 120]
    assert logger.logged[0][1]["loss"] == reading.losses[-1]
    assert names == [
        {"evaluation/val_loss", "evaluation/val_accuracy", "evaluation/epoch"},
        {"events/loss-spike"},
        {"faults/rollback"},
    ]


def test_the_step_never_goes_back() -> None:
    logger = Listed()
    sink = Wandb(logger)
    for step in (30, 20, 40):
        sink.write(replace(run(steps=10).readings[0], step=step))

    assert [step for step, _ in logger.logged] == [30, 30, 40]


def test_what_cannot_log_is_refused() -> None:
    with pytest.raises(DomainError, match=r"dict has no method log\(numbers, step=\.\.\.\)"):
        Wandb({})  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of wandb's own dependencies
def test_a_watched_run_reaches_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="the test logs to the real library, offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracked = wandb.init(mode="offline", dir=str(tmp_path), project="isometry-test")
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with isometry.watch(model, optimizer, every=1, to=[Wandb(tracked)]) as watched:
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(torch.ones(3, 4)).square().mean()
            loss.backward()
            optimizer.step()
            watched.step(loss)
        watched.evaluate(val_loss=0.5)
    tracked.log({"end": 1}, step=6)  # wandb takes a step in when the next one begins
    summary = dict(tracked.summary)
    tracked.finish()

    assert summary["_step"] == 5
    assert summary["evaluation/val_loss"] == 0.5
    assert {"loss", "0/activation_rms", "0/weight/update_ratio"} <= set(summary)
