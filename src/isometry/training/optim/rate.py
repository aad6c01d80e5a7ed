"""Whether a learning rate is below the bound of stability that the curvature of the loss sets for the optimiser."""

import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError, describe
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Batch, Loss, OptimizerFactory, Task, as_task
from isometry.probes.curvature import Metric, stretched_curvature
from isometry.probes.training import Training, adam, describe_optimizer
from isometry.training.optim.rate_bound import RateBound
from isometry.training.optim.stability import LIMIT, first_group, gain_of, keeps_squares, metrics_of

WARM_UP = 50  # steps on a copy that fill an empty state; where the bound settles: benchmarks/rate_bound.md
GENTLE = 1e-4  # highest rate of these steps: at one that ruins training the squares grow until it looks stable
ITERATIONS = 40  # products with the Hessian
CLOSE = 1e-3  # relative residual


def rate_bound(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    warm_up: int = WARM_UP,
    seed: int = 0,
) -> RateBound:
    """Hold an optimiser's learning rate against the largest curvature of the loss, as its preconditioner sees it.

    ratio = rate / bound, with bound = (2 + 2 beta) / lambda for SGD and (2 + 2 beta1) / ((1 - beta1) lambda) for Adam

    The loss is that of one batch, so give a large one. An optimiser that divides by squares it has seen and has seen
    none yet makes `warm_up` steps on a copy first, at its own rate but at most at 1e-4, and the bound is the one at the
    end of them. Where a schedule holds a rate at 0, as warm-ups do before the first step, the rate that it starts from
    counts.

    Args:
        model: The network, or a task.
        inputs: As for `check`.
        targets: As for `check`.
        loss: As for `check`.
        optimizer: An optimiser of the model's parameters, in use or new, or a function from parameters to one; without
            it the task's own, else Adam.
        batch_size: Largest number of examples of the batch, where inputs are a data set; counts.
        warm_up: Steps that fill an empty state, counts; at least 1 where it is empty.
        seed: Seed of the batch, of dropout and of the first direction of the iteration.

    Returns:
        Curvature, bound, rate and their ratio; printable.

    Raises:
        BuilderError: If no bound is known for this kind of optimiser, or it holds no parameter of the model.
        DomainError: If every rate is 0 and no schedule says which it will be, or `warm_up` fills nothing.
        ModelError: If the network cannot be copied, its loss not be differentiated twice, is not finite, or climbs in
            the first steps.

    Source:
        Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484, section 2.
    """
    start = time.perf_counter()
    task = as_task(model, inputs, targets, loss=loss, batch_size=batch_size, seed=seed)
    task = replace(task, optimizer_factory=_factory(optimizer, task))
    with preserved(task.model, seed=seed) as guard:
        training = Training(task, task.model, guard)
        _lift_rates(training.optimizer)
        gain = gain_of(training.optimizer)  # or an error, before any work is done
        steps = _warm_up(training, warm_up, seed=seed)
        own = {id(each) for each in training.task.model.parameters() if each.requires_grad}
        metrics = {key: metric for key, metric in metrics_of(training.optimizer).items() if key in own}
        if not metrics:
            raise BuilderError(
                f"{type(training.optimizer).__name__} holds no trainable parameter of {type(task.model).__name__} that "
                "gets a gradient. Make it from model.parameters()."
            )
        largest = _largest(training, metrics, seed=seed)
    rate = float(first_group(training.optimizer)["lr"])
    return RateBound(
        curvature=0.0 if largest is None else largest / gain,
        rate=rate,
        bound=math.inf if largest is None else rate * LIMIT / largest,
        optimizer=describe_optimizer(training.optimizer),
        examples=min(batch_size, task.examples.count) if task.examples is not None else None,
        warm_up=steps,
        groups=_count_groups(training.optimizer),
        seconds=time.perf_counter() - start,
    )


def _factory(optimizer: torch.optim.Optimizer | OptimizerFactory | None, task: Task) -> OptimizerFactory:
    if isinstance(optimizer, torch.optim.Optimizer):
        return lambda _: optimizer
    if optimizer is not None and not callable(optimizer):
        raise BuilderError(
            f"optimizer={optimizer!r} was given, and an optimiser is needed, or a function from parameters to one. "
            "Give torch.optim.AdamW(model.parameters(), lr=1e-3)."
        )
    return optimizer or task.optimizer_factory or adam


def _lift_rates(optimizer: torch.optim.Optimizer) -> None:
    """Give the groups of a copied optimiser whose rate is 0 now the one that their schedule starts from."""
    for group in optimizer.param_groups:
        if not float(group["lr"]):
            group["lr"] = group.get("initial_lr", group["lr"])
    if not float(first_group(optimizer)["lr"]):
        raise DomainError(
            f"the learning rate of {type(optimizer).__name__} is 0 now, and every optimiser is stable at 0. "
            "Ask with the rate of the end of the warm-up."
        )


def _needs_steps(optimizer: torch.optim.Optimizer) -> bool:
    return keeps_squares(optimizer) and not any(float(state.get("step", 0)) for state in optimizer.state.values())


def _warm_up(training: Training, steps: int, *, seed: int) -> int:
    """Make a few steps on batches as large as the task's own, if the optimiser needs them; return how many."""
    if not _needs_steps(training.optimizer):
        return 0
    if steps < 1:
        raise DomainError(
            f"warm_up={steps!r} was given, and {describe_optimizer(training.optimizer)} has seen no gradient to divide "
            "by yet. Give at least 1, or an optimiser that has made steps."
        )
    examples, batch = training.task.examples, training.task.batch
    size = len(batch.targets) if isinstance(batch, Batch) and isinstance(batch.targets, Tensor) else DEFAULT_BATCH_SIZE
    with _gentle_rates(training.optimizer):
        before = _loss(training, seed=seed)
        for step in range(steps):
            with seeded(training.task.model, seed + step):
                training.step(batch if examples is None else examples.random_batch(size, seed=seed + step))
        _require_no_climb(training, before, _loss(training, seed=seed))
    return steps


def _loss(training: Training, *, seed: int) -> float:
    with seeded(training.task.model, seed):
        return training.differentiate(training.task.batch)


@contextmanager
def _gentle_rates(optimizer: torch.optim.Optimizer) -> Generator[None]:
    asked = [group["lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, asked, strict=True):
        group["lr"] = min(float(rate), GENTLE)
    yield
    for group, rate in zip(optimizer.param_groups, asked, strict=True):
        group["lr"] = rate


def _require_no_climb(training: Training, before: float, after: float) -> None:
    if not math.isfinite(after) or after > before + abs(before):
        raise ModelError(
            f"the loss went from {before:.3g} to {after:.3g} within {len(training.losses)} steps of "
            f"{describe_optimizer(training.optimizer)} on a copy, so that even this rate is too high, or the model is "
            "broken. Give the optimiser that has trained it, or ask isometry check."
        )


def _count_groups(optimizer: torch.optim.Optimizer) -> int:
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return len(rates) if len(set(rates)) > 1 else 1


def _largest(training: Training, metrics: Mapping[int, Metric], *, seed: int) -> float | None:
    name = type(training.task.model).__name__
    try:
        found = stretched_curvature(training.task, metrics, seed=seed, iterations=ITERATIONS, close=CLOSE)
    except ModelError:
        raise  # it is not finite
    except (RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"the loss of {name} cannot be differentiated twice: {describe(error)}. "
            "Exchange the operation that cannot, or give a rate by trial: isometry check."
        ) from error
    return found
