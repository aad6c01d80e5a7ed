from pathlib import Path

import pytest
import torch
from torch import nn

from isometry._errors import RunError
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.recorded import recorded_evaluations
from isometry.training.stopping.replay import replay
from isometry.training.watching.reader import read_run
from isometry.training.watching.watch import watch


def watched(
    folder: Path, losses: list[float], *, stopping: EarlyStopping | None = None, first_step: int = 0
) -> nn.Module:
    """Take one step before each evaluation."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, every=10_000, to=[folder], stopping=stopping, first_step=first_step) as run:
        for value in losses:
            optimizer.zero_grad()
            loss = model(torch.ones(4, 3)).square().mean()
            loss.backward()
            optimizer.step()
            run.step(loss)
            run.evaluate(val_loss=value, epoch=1)
            if run.should_stop:
                break
    return model


def test_a_run_with_many_evaluations_is_read_whole(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    with watch(model, torch.optim.SGD(model.parameters()), to=[tmp_path]) as run:
        for number in range(1100):
            run.evaluate(val_loss=number % 7)
    found = recorded_evaluations(tmp_path)

    assert len(read_run(tmp_path).evaluations) < 1100
    assert [each.metrics["val_loss"] for each in found] == [number % 7 for number in range(1100)]


def test_a_rule_says_of_a_recorded_run_what_it_said_while_it_ran(tmp_path: Path) -> None:
    losses = [3.0, 2.0, float("nan"), 2.5, 1.0, 1.5, 1.5, 1.5, 0.5]
    live = EarlyStopping(patience=3)
    watched(tmp_path / "live", losses, stopping=live)
    watched(tmp_path / "whole", losses)
    found = replay(tmp_path / "whole", {"rule": EarlyStopping(patience=3)})["rule"].outcomes[0]

    assert found.kept == live.best
    assert found.stopped == recorded_evaluations(tmp_path / "live")[-1]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    watched(tmp_path, [3.0, 2.0, 1.0])
    records = tmp_path / "records.jsonl"
    written = records.read_bytes()
    records.write_bytes(written[: written.rindex(b'"evaluation"') + 40])

    assert [each.step for each in recorded_evaluations(tmp_path)] == [1, 2]


def test_of_a_resumed_run_the_evaluations_up_to_where_it_went_on_still_count(tmp_path: Path) -> None:
    watched(tmp_path, [3.0, 2.0, 1.0, 0.5])
    watched(tmp_path, [9.0, 8.0], first_step=2)

    assert [(each.step, each.metrics["val_loss"]) for each in recorded_evaluations(tmp_path)] == [
        (1, 3.0),
        (2, 2.0),
        (3, 9.0),
        (4, 8.0),
    ]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no 'records\.jsonl'"):
        recorded_evaluations(tmp_path)
