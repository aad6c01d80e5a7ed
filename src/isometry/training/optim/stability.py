"""Where an optimiser's step turns unstable on a quadratic: what it makes of the gradient, on one scale."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isometry._errors import BuilderError
from isometry.probes.curvature import Metric

LIMIT = 2.0  # of the largest eigenvalue below: a step that overshoots by its own length or more diverges
KNOWN = "SGD, RMSprop, Adagrad, Adam and AdamW"


def metrics_of(optimizer: torch.optim.Optimizer) -> dict[int, Metric]:
    """Return what an optimiser does to gradient and weight, scaled so that its step is stable below `LIMIT`.

    d = rate g / P and c = rate (g wd / P, or wd where it is decoupled); stable while the largest eigenvalue of
    D^(1/2) H D^(1/2) + C is below 2

    with g = (1 - dampening) / (1 + beta) for heavy-ball momentum beta, (1 + 2 beta) / (1 + beta) for Nesterov's,
    (1 - beta1) / (1 + beta1) for Adam's; and P = 1, or the root of the optimiser's running mean of squares plus eps,
    times 1 - beta1^t after t steps of Adam.

    Args:
        optimizer: The optimiser, in the state in which its next step is made.

    Returns:
        From the ids of the parameters that it holds, and has seen a gradient of if it keeps squares, to their metrics.

    Raises:
        BuilderError: If no bound is known for this kind of optimiser.

    Source:
        Cohen et al. 2021, arXiv:2103.00065, appendix B (momentum, Nesterov); Cohen et al. 2022, arXiv:2207.14484,
        section 2 (P and (2 + 2 beta1) / ((1 - beta1) rate)); decoupled decay: from the roots of z^2 - t z + d at -1.
    """
    metrics: dict[int, Metric] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            gain, divisor = _gain(optimizer, group), _divisor(optimizer, group, state)
            if divisor is not None:
                metrics[id(parameter)] = _metric(group, gain, divisor, is_decoupled=_is_decoupled(optimizer, group))
    return metrics


def keeps_squares(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether an optimiser divides by the root of squares that it has seen, and so needs a state."""
    return not isinstance(optimizer, torch.optim.SGD)


def first_group(optimizer: torch.optim.Optimizer) -> Mapping[str, Any]:
    """Return the first group that moves, whose rate is the one spoken of; the first of all if none does."""
    groups = optimizer.param_groups
    return next((group for group in groups if float(group["lr"])), groups[0])


def gain_of(optimizer: torch.optim.Optimizer) -> float:
    """Return rate times g of an optimiser's first group that moves: what turns its curvature into the scale of `LIMIT`.

    Args:
        optimizer: The optimiser.

    Raises:
        BuilderError: If no bound is known for this kind of optimiser.
    """
    group = first_group(optimizer)
    return float(group["lr"]) * _gain(optimizer, group)


def _metric(group: Mapping[str, Any], gain: float, divisor: Tensor | float, *, is_decoupled: bool) -> Metric:
    rate, decay = float(group["lr"]), float(group.get("weight_decay") or 0.0)
    factor = rate * gain / divisor
    return Metric(factor, rate * decay if is_decoupled else decay * factor)


def _gain(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> float:
    match optimizer:
        case torch.optim.Adam():  # AdamW is one
            beta = float(group["betas"][0])
            return (1 - beta) / (1 + beta)
        case torch.optim.SGD():
            beta = float(group["momentum"])
            if group["nesterov"]:
                return (1 + 2 * beta) / (1 + beta)
            return (1 - float(group["dampening"]) * (beta != 0)) / (1 + beta)
        case torch.optim.RMSprop():
            return 1 / (1 + float(group["momentum"]))
        case torch.optim.Adagrad():
            return 1.0
        case _:
            raise BuilderError(
                f"no bound of stability is known for {type(optimizer).__name__}, but for {KNOWN} one is. "
                "Ask with one of these at the same learning rate."
            )


def _divisor(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], state: Mapping[str, Any]
) -> Tensor | float | None:
    """Return P; None for a parameter that has no state yet."""
    if isinstance(optimizer, torch.optim.SGD):
        return 1.0
    if not state:
        return None
    match optimizer:
        case torch.optim.Adam():
            squares = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
            first, second = (1 - float(beta) ** float(state["step"]) for beta in group["betas"])
            return first * (squares.sqrt() / math.sqrt(second) + float(group["eps"]))
        case torch.optim.RMSprop():
            squares = state["square_avg"]
            variance = squares.addcmul(state["grad_avg"], state["grad_avg"], value=-1) if group["centered"] else squares
            return variance.clamp_min(0).sqrt() + float(group["eps"])
        case _:  # Adagrad, whose rate also decays, but from one step to the next by nothing that matters
            decayed = 1 + (float(state["step"])) * float(group["lr_decay"])
            return (state["sum"].sqrt() + float(group["eps"])) * decayed if float(state["step"]) else None


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
