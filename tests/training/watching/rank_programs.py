"""Trainings on two processes that the tests of ranks start; each is a function of the rank and a folder."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import isometry
from isometry.report.run.facts import RunFacts
from isometry.training.watching.sink import Entry

STEPS = 8
BAD_STEP = 6  # of those that come to a NaN; counts from 1, and is recorded


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def batch(rank: int, step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 * step + rank)
    inputs = torch.randn(8, 6, generator=generator)
    return inputs, inputs[:, :3].argmax(1)


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-2)


def train(
    rank: int,
    folder: Path,
    *,
    model: Any = None,
    spoil: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] | None = None,
    is_watched: bool = True,
    **settings: Any,
) -> nn.Module:
    """Train on this rank's batches, and save the weights for the test to see.

    `spoil` is given inputs, a number that is added to the loss, and the step.
    """
    model = DistributedDataParallel(network()) if model is None else model
    optimizer = optimizer_of(model)
    where = {"to": [folder / "run"], "every": 2, **settings}

    def step(number: int) -> Tensor:
        inputs, targets = batch(rank, number)
        offset = torch.zeros(())
        if spoil is not None:
            inputs, offset = spoil(inputs, offset, number)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), targets) + offset
        loss.backward()
        optimizer.step()
        return loss

    if is_watched:
        with isometry.watch(model, optimizer, **where) as run:
            for number in range(1, STEPS + 1):
                run.step(step(number))
    else:
        for number in range(1, STEPS + 1):
            step(number)
    torch.save(
        {
            name: each.full_tensor() if hasattr(each, "full_tensor") else each
            for name, each in model.state_dict().items()
        },
        folder / f"weights{rank}.pt",
    )
    return model


class Heard:
    """A sink that leaves a file when it hears of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, facts: RunFacts) -> None:
        self.path.write_text(facts.name, encoding="utf-8")

    def write(self, entry: Entry) -> None: ...

    def close(self, facts: RunFacts) -> None: ...


def plain(rank: int, folder: Path) -> None:
    train(rank, folder, to=[folder / "run", Heard(folder / f"heard{rank}")])


def bare(rank: int, folder: Path) -> None:
    train(rank, folder, is_watched=False)


def compiled(rank: int, folder: Path) -> None:
    train(rank, folder, model=torch.compile(DistributedDataParallel(network()), backend="aot_eager"))


def compiled_bare(rank: int, folder: Path) -> None:
    model = torch.compile(DistributedDataParallel(network()), backend="aot_eager")
    train(rank, folder, model=model, is_watched=False)


def _nan_inputs_of_one(rank: int) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    def spoil(inputs: Tensor, offset: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return (inputs * torch.nan if (rank, step) == (1, BAD_STEP) else inputs), offset

    return spoil


def _nan_loss_of_one(rank: int) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    def spoil(inputs: Tensor, offset: Tensor, step: int) -> tuple[Tensor, Tensor]:
        return inputs, (offset + torch.nan if (rank, step) == (1, BAD_STEP) else offset)

    return spoil


def nan_inputs_stop(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_inputs_of_one(rank), on_nan="stop")


def nan_inputs_skip(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_inputs_of_one(rank), on_nan="skip")


def nan_inputs_rollback(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_inputs_of_one(rank), on_nan="rollback", snapshot_every=2)


def nan_loss_stop(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_loss_of_one(rank), on_nan="stop")


def nan_loss_skip(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_loss_of_one(rank), on_nan="skip")


def nan_loss_rollback(rank: int, folder: Path) -> None:
    train(rank, folder, spoil=_nan_loss_of_one(rank), on_nan="rollback", snapshot_every=2)


def one_dies(rank: int, folder: Path) -> None:
    def spoil(inputs: Tensor, offset: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if (rank, step) == (1, BAD_STEP):
            os._exit(3)
        return inputs, offset

    train(rank, folder, spoil=spoil)


def one_dies_last(rank: int, folder: Path) -> None:
    """One process is killed after its last step, before it says that it has ended."""
    model = DistributedDataParallel(network())
    optimizer = optimizer_of(model)
    with isometry.watch(model, optimizer, to=[folder / "run"], every=1) as run:
        loss = model(batch(rank, 1)[0]).sum()
        loss.backward()
        optimizer.step()
        run.step(loss)
        if rank == 1:
            os._exit(3)


def sharded(rank: int, folder: Path) -> None:
    train(rank, folder, model=_sharded_network())


def sharded_bare(rank: int, folder: Path) -> None:
    train(rank, folder, model=_sharded_network(), is_watched=False)


def sharded_nan(rank: int, folder: Path) -> None:
    train(rank, folder, model=_sharded_network(), spoil=_nan_inputs_of_one(rank), on_nan="skip")


def sharded_rollback(rank: int, folder: Path) -> None:
    model = _sharded_network()
    train(rank, folder, model=model, spoil=_nan_inputs_of_one(rank), on_nan="rollback", snapshot_every=2)


def _sharded_network() -> nn.Module:
    model = network()
    mesh = dist.init_device_mesh("cpu", (2,))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def uneven(rank: int, folder: Path) -> None:
    """One process has fewer batches, which DDP's `join` makes up for."""
    _train_unevenly(rank, folder, is_watched=True)


def uneven_bare(rank: int, folder: Path) -> None:
    _train_unevenly(rank, folder, is_watched=False)


def _train_unevenly(rank: int, folder: Path, *, is_watched: bool) -> None:
    model = DistributedDataParallel(network())
    optimizer = optimizer_of(model)
    with (
        isometry.watch(model, optimizer, to=[folder / "run"], every=2, snapshot_every=3)
        if is_watched
        else nullcontext() as run,
        model.join(),
    ):
        for number in range(1, STEPS + 1 - 3 * rank):
            inputs, targets = batch(rank, number)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if run is not None:
                run.step(loss)
    torch.save(model.state_dict(), folder / f"weights{rank}.pt")


def accumulated(rank: int, folder: Path) -> None:
    """Accumulate over two micro-batches, averaged at each and at the last alone; the gradient is the input."""
    torch.manual_seed(rank)
    for name in ("each", "last"):
        model = DistributedDataParallel(nn.Linear(400, 1, bias=False))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with isometry.watch(model, optimizer, to=[folder / name], every=1) as run:
            for _ in range(60):
                optimizer.zero_grad()
                with nullcontext() if name == "each" else model.no_sync():
                    loss = model(0.6 + torch.randn(1, 400)).mean()
                    (loss / 2).backward()
                run.step(loss)
                loss = model(0.6 + torch.randn(1, 400)).mean()
                (loss / 2).backward()
                optimizer.step()
                run.step(loss)


def one_after_another(_: int, folder: Path) -> None:
    """Run many programs on the same two processes, whose start takes longer than all of them."""
    for name in (folder / "programs").read_text(encoding="utf-8").split():
        where = folder / name
        where.mkdir(exist_ok=True)
        try:
            globals()[name](dist.get_rank(), where)
        except Exception:  # noqa: BLE001 - whatever it is, the test shows it
            (where / f"error{dist.get_rank()}").write_text(traceback.format_exc(), encoding="utf-8")
        dist.barrier()


def main(name: str, folder: Path) -> None:
    """Run one program as a process of torchrun, or of the test, which sets the same variables."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=600))
    try:
        globals()[name](dist.get_rank(), folder)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
