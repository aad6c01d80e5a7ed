"""LARS: momentum whose step on each tensor is a fixed share of the tensor's norm, for large batches."""

from typing import Any

import torch
from torch import Tensor

from isometry.training.optim.foreach import FOREACH, norms_of
from isometry.training.optim.trust import Bucket, Parameters, TrustRatioOptimizer, require


class LARS(TrustRatioOptimizer):
    """Momentum with a learning rate of its own for each tensor.

    ratio = trust_coefficient · |w| / (|g| + weight_decay · |w|)
    v ← momentum · v + lr · ratio · (g + weight_decay · w);  w ← w − v

    Where a norm is zero the ratio is trust_coefficient, as if the two were equal, since a tensor of zeros would stay
    one; the paper says nothing of it, and the 1 of other implementations is a first step of the whole rate. The
    learning rate is inside of the velocity, as in the paper: what was gathered at a high rate is not shrunk with it.

    Args:
        params: Parameters, named ones, or groups; give those of `iso.param_groups`, which keep gains and biases out of
            the ratio. They move by plain momentum, and need an `lr` of their own in their group, such as 0.1.
        lr: Learning rate, dimensionless; at batches of thousands 1 to 30 for what the ratio scales, since it is near
            the coefficient.
        momentum: Share of the velocity that is kept, in [0, 1).
        weight_decay: Factor of the weights that is added to the gradient, dimensionless.
        trust_coefficient: Length of a step over the tensor's norm at lr = 1, dimensionless.
        maximize: Whether the objective is to rise.

    Raises:
        DomainError: If a setting is out of its range, or a parameter is complex.

    Example:
        >>> from isometry.training.optim.groups import param_groups
        >>> groups = param_groups(torch.nn.Linear(4, 3), weight_decay=1e-4)
        >>> for group in groups:
        ...     group["lr"] = 10.0 if group["is_adapted"] else 0.1
        >>> optimizer = LARS(groups, lr=10.0)
        >>> [(group["name"], group["lr"]) for group in optimizer.param_groups]
        [('weights', 10.0), ('gains and biases', 0.1)]

    Source:
        You, Gitman, Ginsburg 2017, arXiv:1708.03888, eq. 6 and algorithm 1.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "trust_coefficient": trust_coefficient, "maximize": maximize})

    def _check(self, group: dict[str, Any]) -> None:
        require({"momentum": group["momentum"]}, below=1)
        require({"trust_coefficient": group["trust_coefficient"]})

    def _update(self, bucket: Bucket) -> Tensor | None:
        group, parameters, gradients = bucket.group, bucket.parameters, bucket.gradients
        lr, decay, velocities = group["lr"], group["weight_decay"], bucket.kept("velocity")
        ratios = _ratios(bucket) if group["is_adapted"] else None
        if decay:
            gradients = FOREACH._foreach_add(gradients, parameters, alpha=decay)
        FOREACH._foreach_mul_(velocities, group["momentum"])
        if ratios is None:
            FOREACH._foreach_add_(velocities, gradients, alpha=lr)
        else:
            FOREACH._foreach_addcmul_(velocities, gradients, ratios.unbind(), value=lr)
        FOREACH._foreach_sub_(parameters, velocities)
        return ratios


def _ratios(bucket: Bucket) -> Tensor:
    weights, gradients = norms_of(bucket.parameters), norms_of(bucket.gradients)
    found = bucket.group["trust_coefficient"] * weights / (gradients + bucket.group["weight_decay"] * weights)
    return torch.where((weights == 0) | (gradients == 0), bucket.group["trust_coefficient"], found)  # NaN stays one
