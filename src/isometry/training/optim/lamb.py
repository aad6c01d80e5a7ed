"""LAMB: Adam whose step on each tensor has the length of the tensor itself, for large batches."""

import math
from typing import Any

import torch
from torch import Tensor

from isometry._errors import DomainError
from isometry.training.optim.foreach import FOREACH, norms_of
from isometry.training.optim.trust import Bucket, Parameters, TrustRatioOptimizer, require

PAIR = 2


class LAMB(TrustRatioOptimizer):
    """Adam with decoupled decay, of which the direction is kept and the length is that of the weight.

    u = m̂ / (√v̂ + eps) + weight_decay · w;  ratio = φ(|w|) / |u|;  w ← w − lr · ratio · u

    with Adam's moments corrected for their bias, and φ(z) = min(max(z, low), high). The ratio is 1 where a norm is
    zero, since a tensor of zeros would stay one.

    Args:
        params: Parameters, named ones, or groups; give those of `iso.param_groups`, which keep gains and biases out.
        lr: Learning rate, dimensionless: the share of a tensor's norm that a step has.
        betas: Shares of the first and second moment that are kept, in [0, 1).
        eps: Added to the root of the second moment, in the unit of gradients.
        weight_decay: Factor of the weights that is added to the update, dimensionless.
        norm_bounds: The least and the largest norm that φ lets through, in the unit of weights.
        maximize: Whether the objective is to rise.

    Raises:
        DomainError: If a setting is out of its range, or a parameter is complex or of float16.

    Source:
        You et al. 2020, arXiv:1904.00962, algorithm 2; φ from section 3.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        norm_bounds: tuple[float, float] = (0.0, math.inf),
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "norm_bounds": norm_bounds, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        for name in ("betas", "norm_bounds"):
            if not isinstance(group[name], tuple | list) or len(group[name]) != PAIR:
                raise DomainError(f"{name}={group[name]!r} was given, and two numbers are needed.")
        if any(parameter.dtype == torch.float16 for parameter in group["params"]):
            raise DomainError(
                "LAMB was given float16 parameters, and the squares of their gradients are too small for float16. "
                "Keep them in float32 and run the forward pass under torch.autocast, or take bfloat16."
            )
        first, second = group["betas"]
        require({"the first beta": first, "the second beta": second}, below=1)
        require({"eps": group["eps"]})
        low, high = group["norm_bounds"]
        if not 0 <= low < high:
            raise DomainError(f"norm_bounds={(low, high)!r} hold no norm; give (low, high) with 0 <= low < high.")

    def _update(self, bucket: Bucket) -> Tensor | None:
        group, parameters, gradients = bucket.group, bucket.parameters, bucket.gradients
        (first, second), decay = group["betas"], group["weight_decay"]
        means, squares = bucket.kept("mean"), bucket.kept("square")
        FOREACH._foreach_lerp_(means, gradients, 1 - first)
        FOREACH._foreach_mul_(squares, second)
        FOREACH._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        # m̂ / (√v̂ + eps) = factor · m / (√v + root · eps), and the factor needs no pass of its own
        root = math.sqrt(1 - second**bucket.step)
        factor = root / (1 - first**bucket.step)
        updates = FOREACH._foreach_sqrt(squares)
        FOREACH._foreach_add_(updates, root * group["eps"])
        FOREACH._foreach_reciprocal_(updates)
        FOREACH._foreach_mul_(updates, means)
        if decay:
            FOREACH._foreach_add_(updates, parameters, alpha=decay / factor)
        if not group["is_adapted"]:
            FOREACH._foreach_add_(parameters, updates, alpha=-group["lr"] * factor)
            return None
        lengths = norms_of(updates) * factor
        ratios = _ratios(norms_of(parameters), lengths, group["norm_bounds"])
        FOREACH._foreach_addcmul_(parameters, updates, ratios.unbind(), value=-group["lr"] * factor)
        return ratios


def _ratios(weights: Tensor, updates: Tensor, bounds: tuple[float, float]) -> Tensor:
    found = weights.clamp(*bounds) / updates
    return torch.where((weights == 0) | (updates == 0), 1.0, found)  # NaN stays one
