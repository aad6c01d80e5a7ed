"""A loop of one's own over Accelerate, watched as any other."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import isometry
from isometry.training import Run, read_run

pytestmark = pytest.mark.slow  # Accelerate takes seconds to import


@pytest.fixture(scope="module")
def accelerate() -> Any:
    pytest.importorskip("accelerate", reason="Accelerate is an extra")
    return importlib.import_module("accelerate")


class Unwatched:
    def step(self, loss: Tensor) -> None:
        """Nobody listens."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def train(accelerate: Any, folder: Path | None, *, precision: str = "no") -> tuple[nn.Module, list[float]]:
    """Train two epochs of seven batches, four of which are one step; return the network and the batches' losses."""
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4, mixed_precision=precision)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    inputs = torch.randn(56, 6, generator=torch.Generator().manual_seed(1))
    batches = DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=8)
    prepared = accelerator.prepare(model, optimizer, scheduler, batches)
    losses: list[float] = []

    def epochs(run: Run | Unwatched) -> None:
        model, optimizer, scheduler, batches = prepared
        for _ in range(2):
            for features, targets in batches:
                with accelerator.accumulate(model):
                    loss = functional.cross_entropy(model(features), targets)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                losses.append(loss.item())
                run.step(loss)

    if folder is None:
        epochs(Unwatched())
    else:
        with isometry.watch(prepared[0], prepared[1], scheduler=prepared[2], every=1, to=[folder]) as run:
            epochs(run)
    return model, losses


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_weights_are_bit_for_bit_those_of_the_unwatched_training(
    accelerate: Any, tmp_path: Path, precision: str
) -> None:
    bare, _ = train(accelerate, None, precision=precision)
    watched, _ = train(accelerate, tmp_path / "run", precision=precision)

    assert all(torch.equal(one, other) for one, other in zip(bare.parameters(), watched.parameters(), strict=True))


def test_a_step_is_one_of_the_optimiser_and_its_loss_the_mean(accelerate: Any, tmp_path: Path) -> None:
    _, losses = train(accelerate, tmp_path / "run")

    found = read_run(tmp_path / "run")
    groups = [losses[0:4], losses[4:7], losses[7:11], losses[11:14]]
    assert found.steps == 4
    assert [each.losses[0] for each in found.readings] == pytest.approx([sum(each) / len(each) for each in groups])
