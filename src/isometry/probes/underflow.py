"""What float16 flushes to zero in the backward pass, and the loss scale that saves it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry._phrases import Phrase
from isometry.anatomy.record import Step, record_step
from isometry.anatomy.task import Task
from isometry.probes.evidence import Evidence, NotMeasuredError, probe
from isometry.probes.operands import count_bad, is_inexact

ROUNDING = 2.0**-10  # relative precision of float16, dimensionless
# Powers of two that are tried; the first is the largest that float16 holds, as the gradient of a half loss must be.
SCALES = (2.0**15, 2.0**12, 2.0**9, 2.0**6)


@dataclass(frozen=True, slots=True)
class LostGradient:
    """What the gradient of one parameter loses without a loss scale.

    Attributes:
        parameter: Canonical name.
        flushed: Share of its numbers that are zero and would not be with the scale, in [0, 1].
        lost: Norm of those numbers over the norm of the gradient, in [0, 1].
    """

    parameter: str
    flushed: float
    lost: float


@dataclass(frozen=True, slots=True)
class GradientUnderflow:
    """What all gradients lose without a loss scale.

    Attributes:
        scale: The loss scale that was tried, a power of two under which every gradient stayed finite.
        flushed: Share of all numbers that are zero and would not be with the scale, in [0, 1].
        lost: Norm of those numbers over the norm of the gradient, in [0, 1].
        largest: Largest gradient of a parameter under the scale; float16 ends at 65504.
        parameters: The parameters, those that lose most first; those left out whose gradient is so small beside the
            others' that in float16 it may be nothing but rounding, as that of a bias before a batch norm.
    """

    scale: float
    flushed: float
    lost: float
    largest: float
    parameters: tuple[LostGradient, ...]


@probe(GradientUnderflow)
def measure_underflow(evidence: Evidence) -> GradientUnderflow:
    """Make the step again with the loss scaled; whatever is zero only without the scale was flushed."""
    values = evidence.step.tape.values
    if not any(value.dtype == torch.float16 and value.has_gradient for value in values):
        raise NotMeasuredError("no gradient passes through float16")
    if not evidence.is_finite or _has_bad_gradient(evidence.step):
        raise NotMeasuredError("the loss or a gradient is not finite")
    for scale in SCALES:
        step = _scaled_step(evidence, scale)
        if not _has_bad_gradient(step):
            return _compare(evidence.step, step, scale)
    raise NotMeasuredError("the gradients overflow under every loss scale that was tried")


def _scaled_step(evidence: Evidence, scale: float) -> Step:
    original = evidence.task.step

    def step(model: nn.Module, batch: Any) -> Tensor:
        return original(model, batch).float() * scale

    task: Task = replace(evidence.task, step=step)
    try:
        return record_step(task, seed=evidence.seed)
    except ModelError as error:
        raise NotMeasuredError(Phrase("the loss cannot be scaled: {error}", error=str(error))) from error


def _has_bad_gradient(step: Step) -> bool:
    return any(count_bad(each) for group in step.gradients.values() for each in group)


def _compare(plain: Step, scaled: Step, scale: float) -> GradientUnderflow:
    sums = {name: _sums(gradients, scaled.gradients[name], scale) for name, gradients in plain.gradients.items()}
    alive = {name: each for name, each in sums.items() if each.norm > 0}
    if not alive:
        raise NotMeasuredError("every gradient is zero, with a loss scale and without")
    # Of a vector the gradient may be 0 but for rounding, as that of a bias before a batch norm; of a matrix it is not.
    matrices = {
        name for name, parts in plain.gradients.items() if any(part is not None and part.ndim > 1 for part in parts)
    }
    loudest = max(each.rms for each in alive.values())
    rows = [
        LostGradient(name, each.flushed / each.alive, each.lost / each.norm)
        for name, each in alive.items()
        if each.rms > ROUNDING * loudest or (each.lost == each.norm and name in matrices)
    ]
    rows.sort(key=lambda each: -each.lost)
    flushed, total = (
        sum(counts) for counts in zip(*((each.flushed, each.alive) for each in alive.values()), strict=True)
    )
    lost = math.hypot(*(each.lost for each in alive.values())) / math.hypot(*(each.norm for each in alive.values()))
    largest = max(each.largest for each in alive.values())
    return GradientUnderflow(scale, flushed / total, lost, largest, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Sums:
    flushed: int  # numbers that are zero without the scale alone
    alive: int  # numbers that are not zero with it
    lost: float  # norm of the flushed
    norm: float  # norm of all
    largest: float  # under the scale

    @property
    def rms(self) -> float:
        return self.norm / math.sqrt(max(self.alive, 1))


def _sums(plain: tuple[Tensor | None, ...], scaled: tuple[Tensor | None, ...], scale: float) -> _Sums:
    pairs = [
        (mine.flatten(), wide.double().flatten())
        for mine, wide in zip(plain, scaled, strict=True)
        if mine is not None and wide is not None and is_inexact(wide) and not wide.is_complex()
    ]
    if not pairs:
        return _Sums(0, 0, 0.0, 0.0, 0.0)
    mine, wide = torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])
    gone = (mine == 0) & (wide != 0)
    lost, norm = (float(torch.linalg.vector_norm(each)) / scale for each in (wide[gone], wide))
    largest = float(wide.abs().max()) if wide.numel() else 0.0
    return _Sums(int(gone.sum()), int((wide != 0).sum()), lost, norm, largest)
