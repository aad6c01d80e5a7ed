"""Experiments on what is fed and how far is stepped: data cleaned, number formats, step sizes."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._phrases import Phrase
from isometry.anatomy.task import Task, map_tensors
from isometry.checking.batch_parts import all_tensors
from isometry.checking.change import Change
from isometry.probes.evidence import Evidence
from isometry.probes.training import LEARNING_RATE, copied
from isometry.report.finding import Finding

LOW = frozenset({torch.float16, torch.bfloat16})
SMALLER_STEPS = (0.1, 0.01, 0.001)
LARGER_STEPS = (1e3, 1e5, 10.0)


def cleaned(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the batch with zeros for the numbers that are NaN or infinite."""
    task = evidence.task
    ill = [name for name, tensor in all_tensors(task.batch) if _is_ill(tensor)]
    if ill:
        yield Change(
            words=Phrase("zeros in the place of what is not finite in the batch"),
            make=lambda: _with_batch(task, map_tensors(task.batch, _finite)),
            suggestion="; ".join(f"{name} = torch.nan_to_num({name}, nan=0, posinf=0, neginf=0)" for name in ill),
        )


def in_full_precision(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the task in float32, without autocast."""
    task = evidence.task

    def widened() -> Task:
        batch = map_tensors(task.batch, lambda tensor: tensor.float() if tensor.dtype in LOW else tensor)
        return replace(_with_batch(task, batch), model=copied(task.model).float(), context=nullcontext)

    yield Change(words=Phrase("all of it in float32"), make=widened)


def averaged(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the task with its loss divided by how many times too large its gradient is."""
    task = evidence.task
    count = max(finding.measured or 1.0, 1.0)

    def mean(model: nn.Module, batch: Any) -> Tensor:
        return task.step(model, batch) / count

    yield Change(
        words=Phrase("the loss divided by {count:.4g}", count=count),
        make=lambda: replace(task, step=mean),
        is_evident=True,
        keeps_loss=False,
        suggestion='reduction="mean"',
    )


def smaller_steps(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the learning rate that the finding advises, then smaller ones."""
    yield from _advised(finding, evidence.task)
    yield from (_step_size(evidence.task, factor) for factor in SMALLER_STEPS)


def larger_steps(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the learning rate that the finding advises, larger ones, then an optimiser with a usual one."""
    task = evidence.task
    yield from _advised(finding, task)
    yield from (_step_size(task, factor) for factor in LARGER_STEPS)
    yield Change(
        words=Phrase("Adam with a rate of {rate}", rate=LEARNING_RATE),
        make=lambda: replace(task, optimizer_factory=None),
        is_evident=True,
    )


def _advised(finding: Finding, task: Task) -> Iterator[Change]:
    if finding.measured and finding.allowed:
        words = Phrase("a learning rate of {rate:.1g}", rate=finding.allowed)
        yield replace(_step_size(task, finding.allowed / finding.measured), words=words)


def _step_size(task: Task, factor: float) -> Change:
    return Change(
        words=Phrase("the learning rate times {factor:g}", factor=factor),
        make=lambda: task,
        rate_factor=factor,
        is_evident=True,
    )


def _with_batch(task: Task, batch: object) -> Task:
    return replace(task, batch=batch, examples=None)


def _is_ill(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.isfinite().all())


def _finite(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0) if tensor.is_floating_point() else tensor
