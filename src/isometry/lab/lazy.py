"""A short training of a copy of a network, at which its tangent kernel is looked at: how lazily does it learn?"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.refusals import refuse_frozen
from isometry.anatomy.task import Batch, Loss, OptimizerFactory, Task, as_task, call_model, map_tensors, tensors_in
from isometry.lab.showing.laziness import LazinessReport
from isometry.probes.tangent.kernel import DEFAULT_BYTES, mean_tangent_kernel
from isometry.probes.tangent.laziness import alignment, drift, kernel_spectrum
from isometry.probes.tangent.sight import outputs_of
from isometry.probes.training import Training, copied, describe_optimizer
from isometry.report.terminal import plain_text

STEPS, LOOKS = 100, 5
MAX_EXAMPLES, MAX_OUTPUTS = 64, 16
BATCH_SIZE = 50  # examples of a step, where the task has a data set


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyLook:
    """One look at the kernel.

    Attributes:
        step: Optimiser steps made before it, counts.
        loss: Of the last step before it; None before the first.
        kernel_drift: |Θ_t - Θ_0| / |Θ_0|, dimensionless; None where the kernel starts at 0 and moves.
        weight_drift: |w_t - w_0| / |w_0| of all trainable parameters together, dimensionless; None likewise.
        alignment: Of the kernel with the targets, in [-1, 1]; None where targets are neither classes nor numbers, or
            all alike.
        largest: Largest eigenvalue of the kernel, in units of the outputs squared.
        effective_rank: (Σ λ)² / Σ λ² of its eigenvalues, counts from 1 to the number of examples.
    """

    step: int
    loss: float | None
    kernel_drift: float | None
    weight_drift: float | None
    alignment: float | None
    largest: float
    effective_rank: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Laziness:
    """How lazily a network trained; print it.

    Attributes:
        looks: The first before any step, the last at the end.
        num_examples: Between which the kernel was taken, counts.
        num_outputs: Of each example, or sums of outputs with random signs where there are more; counts.
        optimizer: The optimiser and its settings, in words.
        loss: That it trained on, in words.
        warnings: Sentences about how model, inputs and loss were understood.
    """

    looks: tuple[LazyLook, ...]
    num_examples: int
    num_outputs: int
    optimizer: str
    loss: str
    warnings: tuple[str, ...]

    def __rich__(self) -> LazinessReport:
        return LazinessReport(self)

    def __str__(self) -> str:
        return plain_text(LazinessReport(self), width=80, encoding="utf-8")


def laziness(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    steps: int = STEPS,
    looks: int = LOOKS,
    max_examples: int = MAX_EXAMPLES,
    max_outputs: int = MAX_OUTPUTS,
    max_bytes: int = DEFAULT_BYTES,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> Laziness:
    """Train a copy of a network, and say how far its tangent kernel moves and how well it suits the targets.

    The kernel is the mean over the outputs, taken in eval mode; the network trains in the mode that it is in. Nothing
    of the network itself is changed.

    Args:
        model: The network, or a task.
        inputs: As for `check`. With a task whose batch is of a form of its own, the examples of the kernel.
        targets: Likewise.
        loss: As for `check`.
        optimizer_factory: From parameters to an optimiser; without it the task's own, else Adam.
        steps: Optimiser steps, counts.
        looks: At the kernel after the first step: at the end, in the middle, in the middle of the first half and so on.
        max_examples: Between which the kernel is taken, counts.
        max_outputs: Of a network with more, such as one of words, so many sums with random signs are taken instead,
            whose kernel has the same mean; counts.
        max_bytes: Memory that the kernel may take beside its result, bytes.
        seed: Of the order of examples, of dropout and of the signs.
        on_progress: Told after every step the share of them that is made, in (0, 1].

    Returns:
        What was seen at each look; printable.

    Raises:
        BuilderError: If there are no inputs to take the kernel of, or they are no tensors.
        DomainError: If a count is below 1, or one example needs more than `max_bytes`.
        ModelError: If the network cannot be copied, trained, or taken apart by examples, or its loss is not finite.

    Source:
        Chizat, Oyallon, Bach 2019, arXiv:1812.07956; Fort et al. 2020, arXiv:2010.15110, section 3.
    """
    counts = {"steps": steps, "looks": looks, "max_examples": max_examples, "max_outputs": max_outputs}
    for name, count in counts.items():
        if count < 1:
            raise DomainError(f"{name}={count!r}, and at least 1 is needed.")
    task = as_task(model, inputs, targets, loss=loss, batch_size=max_examples, seed=seed)
    task = task if optimizer_factory is None else replace(task, optimizer_factory=optimizer_factory)
    sample = _sample(task, inputs, targets, most=max_examples)
    refuse_frozen([name for name, each in task.model.named_parameters() if each.requires_grad], task.model)
    with preserved(task.model, seed=seed) as guard:
        training = Training(task, task.model, guard)
        watcher = _Watcher(sample, max_outputs=max_outputs, max_bytes=max_bytes, seed=seed)
        seen = [watcher.look(training)]
        for goal in sorted({max(1, steps // 2**power) for power in range(looks)}):
            for step in _train(training, task, until=goal, seed=seed):
                if on_progress is not None and step < steps:
                    on_progress(step / steps)
            seen.append(watcher.look(training))
    if on_progress is not None:
        on_progress(1.0)
    return Laziness(
        looks=tuple(seen),
        num_examples=watcher.num_examples,
        num_outputs=watcher.num_outputs,
        optimizer=describe_optimizer(training.optimizer),
        loss=training.task.loss_in_use,
        warnings=task.warnings,
    )


@final
class FewOutputs(nn.Module):
    """A network with at most so many outputs: where it has more, sums of them with random signs."""

    def __init__(self, model: nn.Module, most: int, *, seed: int) -> None:
        super().__init__()
        self.model = model
        self._most, self._seed = most, seed

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the outputs, (examples, outputs)."""
        count = next(len(tensor) for tensor in tensors_in((args, kwargs)) if tensor.ndim)
        outputs = outputs_of(self.model(*args, **kwargs), count)
        if outputs.shape[1] <= self._most:
            return outputs
        generator = torch.Generator().manual_seed(self._seed)
        signs = torch.randint(2, (outputs.shape[1], self._most), generator=generator) * 2 - 1
        return outputs @ signs.to(outputs) / math.sqrt(outputs.shape[1])


class _Watcher:
    """Looks at the kernel of a copy in training, and remembers its start."""

    def __init__(self, sample: Batch, *, max_outputs: int, max_bytes: int, seed: int) -> None:
        self._inputs, self._targets = sample.inputs, _coded(sample.targets)
        self._max_outputs, self._max_bytes, self._seed = max_outputs, max_bytes, seed
        self._start: tuple[Tensor, Tensor] | None = None
        self.num_examples = next((len(tensor) for tensor in tensors_in(self._inputs) if tensor.ndim), 0)
        self.num_outputs = 0

    def look(self, training: Training) -> LazyLook:
        model = FewOutputs(copied(training.task.model).eval(), self._max_outputs, seed=self._seed)
        weights = nn.utils.parameters_to_vector(each for each in model.parameters() if each.requires_grad).detach()
        kernel = mean_tangent_kernel(model, self._inputs, max_bytes=self._max_bytes)
        if self._start is None:
            self._start = (kernel, weights)
            self.num_outputs = self._count_outputs(model)
        spectrum = kernel_spectrum(kernel)
        return LazyLook(
            step=len(training.losses),
            loss=training.losses[-1] if training.losses else None,
            kernel_drift=_if_finite(drift(self._start[0], kernel)),
            weight_drift=_if_finite(drift(self._start[1], weights)),
            alignment=None if self._targets is None else _if_finite(alignment(kernel, self._targets.to(kernel.device))),
            largest=spectrum.values[0],
            effective_rank=spectrum.effective_rank,
        )

    def _count_outputs(self, model: nn.Module) -> int:
        inputs: Any = map_tensors(self._inputs, lambda tensor: tensor[:1] if tensor.ndim else tensor)
        with preserved(model, seed=self._seed), torch.no_grad():
            return call_model(model, inputs).shape[1]


def _if_finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _train(training: Training, task: Task, *, until: int, seed: int) -> Iterator[int]:
    """Make optimiser steps until so many are made.

    Yields:
        How many are made, after each.

    Raises:
        ModelError: If a loss is not finite.
    """
    while len(training.losses) < until:
        step = len(training.losses)
        batch = task.examples.random_batch(BATCH_SIZE, seed=seed + step) if task.examples else task.batch
        with seeded(training.task.model, seed + step):
            training.step(batch)
        if not math.isfinite(training.losses[-1]):
            raise ModelError(
                f"the loss is {training.losses[-1]} after {step} steps, and the kernel of such a network says nothing. "
                "Find the reason: isometry check."
            )
        yield len(training.losses)


def _sample(task: Task, inputs: Any, targets: Any, *, most: int) -> Batch:
    """Return the examples that the kernel is taken between, and their targets.

    Raises:
        BuilderError: If the task's batch is of a form of its own and no inputs were given, or they are no tensors.
    """
    drawn = task.batch
    if not isinstance(drawn, Batch):
        if inputs is None:
            raise BuilderError(
                f"the task's batch is a {type(drawn).__name__} that its own step reads, and the kernel needs what the "
                "model is called with. Give it as inputs."
            )
        drawn = Batch(inputs, targets)
    if not any(tensor.ndim for tensor in tensors_in(drawn.inputs)):
        raise BuilderError(
            f"the inputs are a {type(drawn.inputs).__name__} without a tensor that has rows, one an example. "
            "Give tensors; torch.from_numpy makes them of arrays."
        )
    return map_tensors(drawn, lambda tensor: tensor[:most] if tensor.ndim else tensor)


def _coded(targets: Any) -> Tensor | None:
    """Return targets as numbers, a row an example; classes as unit vectors."""
    if not isinstance(targets, Tensor) or targets.ndim == 0:
        return None
    if targets.is_floating_point():
        return targets.reshape(len(targets), -1)
    if targets.ndim > 1:
        return None
    return nn.functional.one_hot(targets - targets.min()).double()
