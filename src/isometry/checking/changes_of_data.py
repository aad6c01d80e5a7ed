"""Experiments on what is fed and how far is stepped: data standardised or cleaned, number formats, step sizes."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, map_tensors, tensors_in
from isometry.checking.change import Change
from isometry.checking.changes_of_losses import targets_standardised
from isometry.probes.evidence import Evidence
from isometry.probes.training import LEARNING_RATE, copied
from isometry.report.finding import Finding
from isometry.report.phrases import Phrase

LOW = frozenset({torch.float16, torch.bfloat16})
SMALLER_STEPS = (0.1, 0.01, 0.001)
LARGER_STEPS = (1e3, 1e5, 10.0)
TABLE = 2  # axes of a table of samples and features
TARGETS = "targets"  # what findings on the targets name


def standardised(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the batch with its inputs, or the loss with its targets where they are named, at mean 0 and deviation 1."""
    task = evidence.task
    if TARGETS in finding.where:
        yield from targets_standardised(evidence)
        return
    yield Change(
        words=Phrase("the inputs standardised"),
        make=lambda: _with_batch(task, _inputs_changed(task.batch)),
        is_evident=True,
        suggestion="inputs = (inputs - inputs.mean(0)) / inputs.std(0)",
    )


def cleaned(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the batch with zeros for the numbers that are NaN or infinite."""
    task = evidence.task
    if any(tensor.is_floating_point() and not bool(tensor.isfinite().all()) for tensor in tensors_in(task.batch)):
        yield Change(
            words=Phrase("zeros in the place of what is not finite in the batch"),
            make=lambda: _with_batch(task, map_tensors(task.batch, _finite)),
            suggestion="inputs = torch.nan_to_num(inputs)",
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


def smaller_steps(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield smaller learning rates."""
    yield from (_step_size(evidence.task, factor) for factor in SMALLER_STEPS)


def larger_steps(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield larger learning rates, and where none of them is large enough an optimiser with a usual one."""
    task = evidence.task
    yield from (_step_size(task, factor) for factor in LARGER_STEPS)
    yield Change(
        words=Phrase("Adam with a rate of {rate}", rate=LEARNING_RATE),
        make=lambda: replace(task, optimizer_factory=None),
        is_evident=True,
    )


def _step_size(task: Task, factor: float) -> Change:
    return Change(
        words=Phrase("the learning rate times {factor:g}", factor=factor),
        make=lambda: task,
        rate_factor=factor,
        is_evident=True,
    )


def _with_batch(task: Task, batch: object) -> Task:
    return replace(task, batch=batch, examples=None)


def _inputs_changed(batch: Any) -> Any:
    if isinstance(batch, Batch):
        return replace(batch, inputs=map_tensors(batch.inputs, _standardised))
    if isinstance(batch, tuple | list) and batch:
        return type(batch)((map_tensors(batch[0], _standardised), *batch[1:]))
    return map_tensors(batch, _standardised)


def _standardised(tensor: Tensor) -> Tensor:
    """Return numbers of mean 0 and deviation 1: each feature of a table, each channel of images, else all together."""
    if not tensor.is_floating_point() or tensor.numel() <= 1:
        return tensor
    axes = [0] if tensor.ndim == TABLE else [axis for axis in range(tensor.ndim) if axis != 1]
    axes = axes if tensor.ndim > 1 else [0]
    deviation, mean = torch.std_mean(tensor.double(), dim=axes, keepdim=True, correction=0)
    is_constant = deviation <= 1e-12 * (1 + mean.abs())
    scaled = (tensor.double() - mean) / torch.where(is_constant, torch.ones_like(deviation), deviation)
    return scaled.to(tensor.dtype)


def _finite(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0) if tensor.is_floating_point() else tensor
