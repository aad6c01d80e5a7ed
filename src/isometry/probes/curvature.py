"""The curvature of the loss: how long a step of plain gradient descent may be before it climbs instead of falling."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.task import Task

ITERATIONS = 12  # of the power method; the estimate grows by a few per cent after that
CLOSE = 0.01  # relative change of the estimate at which the iteration ends
SMALLEST = 1e-30


def largest_curvature(task: Task, *, seed: int) -> float | None:
    """Return the largest eigenvalue of the Hessian of a task's loss, by power iteration.

    lambda = lim |H^k v| / |H^(k-1) v|

    Args:
        task: The task; nothing in it is changed.
        seed: Seed of dropout, of other random numbers in the forward pass, and of the first direction.

    Returns:
        The eigenvalue of largest size if it is positive, loss units over squared weight units; None where the loss
        cannot be differentiated twice, or where no direction curves upwards.

    Source:
        LeCun, Simard, Pearlmutter 1992, Automatic learning rate maximization; Pearlmutter 1994, Fast exact
        multiplication by the Hessian.
    """
    try:
        with preserved(task.model, seed=seed) as guard, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            loss = task.compute_loss()
            loss = sum(guard.losses[1:], start=guard.losses[0]) if guard.losses else loss
            parameters = [each for each in task.model.parameters() if each.requires_grad]
            with seeded(task.model, seed):
                return _power_iteration(loss, parameters)
    except (RuntimeError, NotImplementedError):
        return None  # some kernels have no second derivative


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


def _power_iteration(loss: Tensor, parameters: Sequence[Tensor]) -> float | None:
    gradients = _gradients([loss], parameters, None)
    pairs = [
        (each, gradient)
        for each, gradient in zip(parameters, gradients, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    if not pairs:
        return None
    chosen, slopes = [each for each, _ in pairs], [gradient for _, gradient in pairs]
    direction = _normalised([torch.randn_like(each) for each in chosen])
    estimate = 0.0
    for _ in range(ITERATIONS):
        found = _gradients(slopes, chosen, direction)
        product = [torch.zeros_like(old) if new is None else new for new, old in zip(found, direction, strict=True)]
        before, estimate = estimate, float(_dot(direction, product))
        if not math.isfinite(estimate) or float(_dot(product, product)) < SMALLEST:
            return None
        direction = _normalised(product)
        if abs(estimate - before) < CLOSE * abs(estimate):
            break
    return estimate if estimate > 0 else None


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
