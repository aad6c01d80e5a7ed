"""Experiments on the size of numbers: inputs and targets standardised, exactly as the printed line does it."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.anatomy.task import Task
from isometry.checking.batch_parts import input_tensors, with_parts
from isometry.checking.change import Change
from isometry.checking.changes_of_losses import targets_standardised
from isometry.findings.data import MAX_GOAL
from isometry.probes.comparisons import ComparisonTable
from isometry.probes.evidence import Evidence, measure
from isometry.report.finding import Finding

TABLE = 2  # axes of a table of samples and features
SEQUENCE = 3  # axes of samples, places and features
TARGETS = "targets"  # what findings on the targets name
LEAST_DEVIATION = 1e-8  # of a feature, below which it is constant; in double precision rounding stays far below
SMALL_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16})  # pixels and samples of sound, never places
INTEGERS = SMALL_INTEGERS | {torch.int32, torch.int64}


def standardised(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the batch with its inputs at mean 0 and deviation 1, then its targets too; these alone where named."""
    if TARGETS in finding.where:
        yield from targets_standardised(evidence)
        return
    task = evidence.task
    axes = _axes_by_name(finding, evidence)
    if not axes:
        return
    lines = "; ".join(standard_line(name, *each) for name, each in axes.items())
    inputs = Change(
        words=Phrase("the inputs standardised"), make=lambda: _applied(task, axes), is_evident=True, suggestion=lines
    )
    both = [
        Change(
            words=Phrase("the inputs and the targets standardised"),
            make=lambda other=other: _applied(other.make(), axes),
            is_evident=True,
            keeps_loss=False,
            suggestion=f"{lines}; {other.suggestion}",
        )
        for other in targets_standardised(evidence)
    ]
    # Once the inputs are near 1 so are the outputs, which seemed near the targets because of the inputs alone.
    yield from (*both, inputs) if _has_far_targets(evidence) else (inputs, *both)


def standard_line(name: str, axes: tuple[int, ...], dtype: torch.dtype) -> str:
    """Return the line of code that `standard` runs: double precision, so that a constant feature becomes zeros.

    Args:
        name: The expression of the tensor.
        axes: What mean and deviation are taken over.
        dtype: The tensor's type.
    """
    over = "0" if axes == (0,) else f"{axes}, keepdim=True"
    back = ".float()" if dtype in INTEGERS or dtype == torch.float32 else f".to({name}.dtype)"
    return f"x = {name}.double(); {name} = ((x - x.mean({over})) / x.std({over}).clamp_min({LEAST_DEVIATION:g})){back}"


def standard(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return numbers of mean 0 and deviation 1, zeros where a feature does not vary."""
    x = tensor.double()
    keep = axes != (0,)
    result = (x - x.mean(axes, keepdim=keep)) / x.std(axes, keepdim=keep).clamp_min(LEAST_DEVIATION)
    return result.float() if tensor.dtype in INTEGERS else result.to(tensor.dtype)


def _has_far_targets(evidence: Evidence) -> bool:
    goals = [each.targets for each in measure(evidence, ComparisonTable).comparisons if each.family == "distance"]
    return any(goal is not None and float(goal.double().square().mean().sqrt()) > MAX_GOAL for goal in goals)


def _axes_by_name(finding: Finding, evidence: Evidence) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return what to standardise over, and the type, for each input that holds numbers and no indices."""
    parts = {name: each for name, each in input_tensors(evidence.task.batch) if each.ndim and len(each) > 1}
    targets = [each.targets for each in measure(evidence, ComparisonTable).comparisons if each.targets is not None]
    if not any(name.startswith("inputs") for name in parts):
        others = {name: each for name, each in parts.items() if not any(_is_same(each, goal) for goal in targets)}
        parts = others or parts
    chosen = {name: each for name, each in parts.items() if each.is_floating_point() or each.dtype in SMALL_INTEGERS}
    if not chosen and len(parts) == 1:
        chosen = {name: each for name, each in parts.items() if each.dtype in INTEGERS}
    return {name: (_axes(each, finding, evidence), each.dtype) for name, each in chosen.items()}


def _is_same(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape and bool((tensor == other).all())


def _axes(tensor: Tensor, finding: Finding, evidence: Evidence) -> tuple[int, ...]:
    """Return all axes but that of the features; the channels of what a convolution reads, and of images."""
    kinds = {layer.kind for layer in evidence.anatomy.layers if layer.name in finding.where}
    if tensor.ndim <= TABLE:
        return (0,)
    is_convolved = any(kind.startswith("conv") for kind in kinds) or tensor.ndim > SEQUENCE
    feature = 1 if is_convolved else tensor.ndim - 1
    return tuple(axis for axis in range(tensor.ndim) if axis != feature)


def _applied(task: Task, axes: dict[str, tuple[tuple[int, ...], torch.dtype]]) -> Task:
    def change(name: str, tensor: Tensor) -> Tensor:
        return standard(tensor, axes[name][0]) if name in axes else tensor

    return replace(task, batch=with_parts(task.batch, change), examples=None)
