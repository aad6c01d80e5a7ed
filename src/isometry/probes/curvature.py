"""The curvature of the loss: how long a step of plain gradient descent may be before it climbs instead of falling."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isometry._errors import ModelError
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.task import Task

ITERATIONS = 12  # of Lanczos's method
CLOSE = 0.01  # relative residual of the estimate at which the iteration ends
SMALLEST = 1e-30
ROUNDING = 1e-5  # of the largest eigenvalue by size; less is zero

Direction = list[Tensor]


@dataclass(frozen=True, slots=True)
class Metric:
    """How an optimiser stretches the directions of one parameter, see `stretched_curvature`.

    Attributes:
        factor: What the update multiplies the gradient by, d; a number or one for each weight, positive.
        pull: What the update adds for each unit of the weight itself, c; a number or one for each weight.
    """

    factor: Tensor | float
    pull: Tensor | float = 0.0


def largest_curvature(task: Task, *, seed: int) -> float | None:
    """Return the largest eigenvalue of the Hessian of a task's loss.

    Args:
        task: The task; nothing in it is changed.
        seed: Seed of dropout, of other random numbers in the forward pass, and of the first direction.

    Returns:
        The eigenvalue if it is positive, loss units over squared weight units; None where the loss cannot be
        differentiated twice or is not finite, or where no direction curves upwards.
    """
    try:
        return stretched_curvature(task, None, seed=seed)
    except (RuntimeError, NotImplementedError):
        return None  # some kernels have no second derivative; that a loss is not finite other rules say


def stretched_curvature(
    task: Task,
    metrics: Mapping[int, Metric] | None,
    *,
    seed: int,
    iterations: int = ITERATIONS,
    close: float = CLOSE,
) -> float | None:
    """Return the largest eigenvalue of what an optimiser makes of the Hessian of a task's loss, by Lanczos.

    lambda = max eigenvalue of D^(1/2) H D^(1/2) + C, with D = diag(d) and C = diag(c) of the metrics

    Args:
        task: The task; nothing in it is changed.
        metrics: From the ids of parameters to their metrics, where others are left out; None for H itself.
        seed: Seed of dropout, of other random numbers in the forward pass, and of the first direction.
        iterations: Most products with the Hessian, counts.
        close: Relative residual at which the iteration ends, dimensionless.

    Returns:
        The eigenvalue if it is positive, else None. It is reached from below.

    Raises:
        ModelError: If the loss, or a product with its Hessian, is not finite.

    Source:
        Lanczos 1950; Pearlmutter 1994, Fast exact multiplication by the Hessian; the symmetric form of a preconditioned
        Hessian: Cohen et al. 2022, arXiv:2207.14484, section 2.
    """
    with preserved(task.model, seed=seed) as guard, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        loss = task.compute_loss()
        loss = sum(guard.losses[1:], start=guard.losses[0]) if guard.losses else loss
        _require_finite(float(loss.detach()), "loss")
        held = [each for each in task.model.parameters() if each.requires_grad]
        parameters = held if metrics is None else [each for each in held if id(each) in metrics]
        with seeded(task.model, seed):
            operator = _operator(loss, parameters, metrics)
            return None if operator is None else _largest_ritz(*operator, iterations=iterations, close=close)


def stability_bound(curvature: float, momentum: float = 0.0) -> float:
    """Return the largest learning rate at which gradient descent is stable on a quadratic of this curvature.

    bound = 2 (1 + beta) / lambda

    Args:
        curvature: Largest eigenvalue of the Hessian, lambda.
        momentum: Heavy-ball momentum beta, in [0, 1).

    Returns:
        The bound, in the unit of the learning rate.

    Source:
        Cohen, Kaur, Li, Kolter, Talwalkar 2021, arXiv:2103.00065, section 2 and appendix B.
    """
    return 2 * (1 + momentum) / curvature


def _operator(
    loss: Tensor, parameters: Sequence[Tensor], metrics: Mapping[int, Metric] | None
) -> tuple[Callable[[Direction], Direction], Direction] | None:
    """Return the product with the stretched Hessian, and a first direction; None if nothing curves."""
    gradients = _gradients([loss], parameters, None) if parameters else ()
    pairs = [
        (each, gradient)
        for each, gradient in zip(parameters, gradients, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    if not pairs:
        return None
    chosen, slopes = [each for each, _ in pairs], [gradient for _, gradient in pairs]
    stretches = [Metric(1.0) if metrics is None else metrics[id(each)] for each in chosen]
    roots = [each.factor**0.5 for each in stretches]

    def product(direction: Direction) -> Direction:
        stretched = [root * each for root, each in zip(roots, direction, strict=True)]
        found = _gradients(slopes, chosen, stretched)
        return [
            metric.pull * old if new is None else root * new + metric.pull * old
            for root, metric, new, old in zip(roots, stretches, found, direction, strict=True)
        ]

    return product, [torch.randn_like(each) for each in chosen]


def _largest_ritz(
    product: Callable[[Direction], Direction], start: Direction, *, iterations: int, close: float
) -> float | None:
    """Return the largest Ritz value; of all directions only two are kept, since copies of eigenvalues do no harm."""
    current, before = _normalised(start), [torch.zeros_like(each) for each in start]
    diagonal: list[float] = []
    beside: list[float] = []
    estimate = size = 0.0
    for _ in range(iterations):
        image = product(current)
        diagonal.append(float(_dot(current, image)))
        last = beside[-1] if beside else 0.0
        rest = [new - diagonal[-1] * one - last * other for new, one, other in zip(image, current, before, strict=True)]
        beside.append(math.sqrt(float(_dot(rest, rest))))
        _require_finite(diagonal[-1] + beside[-1], "curvature of the loss")
        estimate, residual, size = _top_of(diagonal, beside)
        if residual <= max(close * abs(estimate), ROUNDING * size, SMALLEST):
            break
        before, current = current, [each / beside[-1] for each in rest]
    return estimate if estimate > ROUNDING * size else None


def _require_finite(value: float, noun: str) -> None:
    if not math.isfinite(value):
        raise ModelError(
            f"the {noun} came to {value}, but a finite number is needed. Find where it comes from: isometry check."
        )


def _top_of(diagonal: Sequence[float], beside: Sequence[float]) -> tuple[float, float, float]:
    """Return the largest eigenvalue of a tridiagonal matrix, the residual of its Ritz vector, and the largest size."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for place, value in enumerate(beside[:-1]):
        matrix[place, place + 1] = matrix[place + 1, place] = value
    values, vectors = torch.linalg.eigh(matrix)
    return float(values[-1]), abs(beside[-1] * float(vectors[-1, -1])), float(values.abs().max())


def _gradients(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], direction: Sequence[Tensor] | None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of outputs along a direction, with a graph of their own where there is none yet."""
    return torch.autograd.grad(
        outputs, parameters, direction, retain_graph=True, create_graph=direction is None, allow_unused=True
    )


def _dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    return torch.stack([(one * other).sum() for one, other in zip(first, second, strict=True)]).sum()


def _normalised(direction: Sequence[Tensor]) -> list[Tensor]:
    size = _dot(direction, direction).sqrt()
    return [each / size for each in direction]
