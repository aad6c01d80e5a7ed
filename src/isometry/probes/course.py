"""A short course of training on one batch, on a copy: what the trial, its counterparts and proofs look at."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from isometry._errors import ModelError, describe
from isometry.anatomy.names import names_of
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.record import record
from isometry.anatomy.task import Batch, Task, tensors_in
from isometry.probes.losses import LossInputs, LossReading, made_of_parameters
from isometry.probes.separation import Separations
from isometry.probes.training import Training, describe_optimizer
from isometry.probes.trial_result import Failure, UpdateRatio

TIME_BUDGET = 4.0  # seconds; a check with everything on is to take less than ten
MIN_STEPS = 3  # fewer show no course, however slow they are


@dataclass(frozen=True, slots=True)
class Progress:
    """What a course made of one call of a known loss function.

    Attributes:
        reading: The call after the last step.
        gains: By how much the loss was lower than for outputs averaged over the samples, before and after.
    """

    reading: LossReading
    gains: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A few optimiser steps on one batch.

    Attributes:
        losses: The loss before each step and after the last, which is not finite if the course came to that.
        progress: What became of the calls of known loss functions; none if a loss was not finite.
        mispaired: By how much the loss was lower than with the targets of other samples, before and after; None where
            the losses are known, or targets cannot be told from inputs.
        updates: How far the first step moved each parameter that is not zero.
        failure: Where the first number came up that is not finite; None if none did.
        optimizer: The optimiser with its settings, in words.
        learning_rate: Of its first group; None if it has none.
        momentum: Of its first group; 0 if it has none.
        is_warming_up: Whether a schedule holds the learning rate below what it will be.
        step_seconds: Time of one step.
        held: How many parameters of the model the optimiser holds; counts.
        strangers: How many tensors the optimiser holds that are no parameters of the model; counts.
        missed: Names of trainable parameters that got a gradient and that the optimiser does not hold.
        has_gradients: Whether any parameter of the copy got a gradient that is not zero.
    """

    losses: tuple[float, ...]
    progress: tuple[Progress, ...]
    mispaired: tuple[float, float] | None
    updates: tuple[UpdateRatio, ...]
    failure: Failure | None
    optimizer: str
    learning_rate: float | None
    momentum: float
    is_warming_up: bool
    step_seconds: float
    held: int
    strangers: int
    missed: tuple[str, ...]
    has_gradients: bool

    @property
    def is_finite(self) -> bool:
        """Whether every loss and every weight stayed finite."""
        return self.failure is None and all(math.isfinite(loss) for loss in self.losses)


def run_course(task: Task, *, steps: int, seed: int, rate_factor: float = 1.0, seconds: float | None = None) -> Course:
    """Train a copy of a task's model on its batch, with the same random numbers at every step.

    Args:
        task: The task; model, batch and optimiser are as before afterwards.
        steps: Most optimiser steps, counts.
        seed: Seed of dropout and of other random numbers.
        rate_factor: What the learning rates are multiplied by, dimensionless.
        seconds: After so many no further step is begun, but for the first few; None for the budget of a trial.

    Returns:
        The losses, and what the first step did.

    Raises:
        ModelError: If the model cannot be copied, the loss carries no gradient, or a step fails.
    """
    with preserved(task.model, seed=seed) as guard:
        try:
            training = Training(task, task.model, guard)
            batch = _Batch(task.batch)
            _scale_rates(training.optimizer, rate_factor)
            with seeded(training.task.model, seed):
                limit = TIME_BUDGET if seconds is None else seconds
                return _Runner(training, batch, seed).run(steps, time.perf_counter() + limit)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"a step of training failed on a copy of the model: {describe(error)}. "
                "Make a few steps of your own training run first."
            ) from error


class _Batch:
    """A copy of a batch, made anew where a step has written into it."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._copy()

    def get(self) -> Any:
        """Return a batch as it came."""
        if self._versions != [tensor._version for tensor in tensors_in(self._batch)]:
            self._copy()
        return self._batch

    def _copy(self) -> None:
        self._batch = copy.deepcopy(self._original)
        self._versions = [tensor._version for tensor in tensors_in(self._batch)]


class _Runner:
    """The steps of one course."""

    def __init__(self, training: Training, batch: _Batch, seed: int) -> None:
        self.training = training
        self.batch = batch
        self.seed = seed
        self.names = {
            id(tensor): name
            for name, tensors in names_of(training.task.model).parameters.items()
            for tensor in tensors
            if tensor.requires_grad
        }
        self.parameters = [each for each in training.task.model.parameters() if each.requires_grad]

    def run(self, steps: int, deadline: float) -> Course:
        """Make the steps and look at the end."""
        optimizer = self.training.optimizer
        group = optimizer.param_groups[0] if optimizer.param_groups else {}
        rate = group.get("lr")
        told = describe_optimizer(optimizer)
        is_warming_up = any(map(_is_warming_up, optimizer.param_groups))
        gains = read_gains(self.training.task, seed=self.seed)[1]
        paired = None if gains else self._gain_of_pairing()
        before = [each.detach().clone() for each in self.parameters]
        start = time.perf_counter()
        failure = self._step(0)
        updates = self._updates(before)
        del before
        missed, has_gradients = self._missed(), self._has_gradients()
        made = 1
        while failure is None and made < steps and (made < MIN_STEPS or time.perf_counter() < deadline):
            failure = self._step(made)
            made += 1
        seconds = time.perf_counter() - start
        loss, progress = self._end(failure, gains)
        after = None if paired is None or not math.isfinite(loss) else self._gain_of_pairing()
        return Course(
            losses=(*self.training.losses[:made], loss),
            progress=progress,
            mispaired=None if paired is None or after is None else (paired, after),
            updates=updates,
            failure=failure,
            optimizer=told,
            learning_rate=None if rate is None else float(rate),
            momentum=float(group.get("momentum") or 0.0),
            is_warming_up=is_warming_up,
            step_seconds=seconds / made,
            held=self._held(),
            strangers=self.training.strangers,
            missed=missed,
            has_gradients=has_gradients,
        )

    def _step(self, number: int) -> Failure | None:
        with seeded(self.training.task.model, self.seed):
            self.training.step(self.batch.get())
        if not math.isfinite(self.training.losses[-1]):
            return Failure(number, None)
        broken = _first_broken(self.parameters)
        return None if broken is None else Failure(number + 1, self.names.get(id(broken)))

    def _end(self, failure: Failure | None, gains: Mapping[int, float]) -> tuple[float, tuple[Progress, ...]]:
        task = self.training.task
        if failure is not None:
            return math.nan, ()
        with seeded(task.model, self.seed), torch.enable_grad():
            loss = float(self.training.loss(self.batch.get()).detach())
        if not math.isfinite(loss):
            return loss, ()
        readings, after = read_gains(task, seed=self.seed)
        return loss, tuple(
            Progress(each, (gains[each.operation], after[each.operation]))
            for each in readings
            if each.operation in gains and each.operation in after
        )

    def _gain_of_pairing(self) -> float | None:
        """Return by how much the loss is lower than with the targets of other samples."""
        batch = self.batch.get()
        if not isinstance(batch, Batch) or not isinstance(batch.targets, Tensor) or batch.targets.ndim == 0:
            return None
        others = replace(batch, targets=batch.targets.roll(max(len(batch.targets) // 2, 1), 0))
        losses: list[float] = []
        for each in (batch, others):
            with seeded(self.training.task.model, self.seed), torch.enable_grad():
                losses.append(float(self.training.loss(each).detach()))
        return losses[1] - losses[0]

    def _updates(self, before: Sequence[Tensor]) -> tuple[UpdateRatio, ...]:
        found: list[UpdateRatio] = []
        for parameter, old in zip(self.parameters, before, strict=True):
            size = float(torch.linalg.vector_norm(old.double()))
            if size > 0:
                moved = float(torch.linalg.vector_norm(parameter.detach().double() - old.double()))
                found.append(UpdateRatio(self.names.get(id(parameter), ""), moved / size))
        return tuple(found)

    def _held(self) -> int:
        own = {id(each) for each in self.training.task.model.parameters()}
        return sum(id(each) in own for group in self.training.optimizer.param_groups for each in group["params"])

    def _missed(self) -> tuple[str, ...]:
        held = {id(each) for group in self.training.optimizer.param_groups for each in group["params"]}
        return tuple(
            self.names.get(id(each), "") for each in self.parameters if id(each) not in held and each.grad is not None
        )

    def _has_gradients(self) -> bool:
        return any(each.grad is not None and bool(each.grad.to_dense().any()) for each in self.parameters)


def read_gains(task: Task, *, seed: int) -> tuple[tuple[LossReading, ...], dict[int, float]]:
    """Read the known loss functions in one forward pass of a task.

    Args:
        task: The task; nothing in it is changed.
        seed: Seed of the random numbers.

    Returns:
        Their calls but for those whose target the model makes, and what their outputs gain by being different.
    """
    losses, separations = LossInputs(), Separations()
    tape = record(task, [losses, separations], seed=seed)
    learned = made_of_parameters(tape)
    readings = (each for each in losses.readings if not learned.issuperset(tape.operations[each.operation].inputs))
    return tuple(readings), separations.gains


def _is_warming_up(group: Mapping[str, Any]) -> bool:
    """Say whether a schedule left its mark on a group, and is to raise the learning rate from where it is."""
    # OneCycleLR leaves the highest rate; CyclicLR only that it lowers the momentum while the rate rises.
    highest = max(float(group.get(name, 0)) for name in ("initial_lr", "max_lr"))
    return highest > float(group.get("lr", 0)) or "max_momentum" in group


def _scale_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        if "lr" in group and factor != 1:
            group["lr"] = group["lr"] * factor


def _first_broken(parameters: Sequence[Tensor]) -> Tensor | None:
    """Return the first parameter with a number that is not finite."""
    if math.isfinite(float(torch.nn.utils.get_total_norm(parameters))):
        return None
    return next((each for each in parameters if not bool(each.isfinite().all())), None)
