"""Clipping of all gradients by their common norm, which says what it cut; nothing waits for the device until read."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry._errors import DomainError
from isometry.training.optim.foreach import FOREACH, buckets, dense, listed, norms_of


@dataclass(frozen=True, slots=True)
class Clipped:
    """What a clipping did, on the gradients' device; to read a property is to wait for it.

    Attributes:
        norm_tensor: Euclidean norm of all gradients before, a scalar.
        factor_tensor: What they were multiplied by, a scalar in (0, 1].
    """

    norm_tensor: Tensor
    factor_tensor: Tensor

    @property
    def norm(self) -> float:
        """Euclidean norm of all gradients before, in the unit of gradients; not finite if one of them is not."""
        return float(self.norm_tensor)

    @property
    def factor(self) -> float:
        """What the gradients were multiplied by, in (0, 1]."""
        return float(self.factor_tensor)

    @property
    def is_cut(self) -> bool:
        """Whether the gradients are shorter than before."""
        return self.factor < 1

    def __str__(self) -> str:
        verb = f"cut to {self.norm * self.factor:.3g}" if self.is_cut else "left"
        return f"gradient norm {self.norm:.3g}, {verb}"


class ClipTally:
    """Counts over the steps of a training what its clipping did."""

    def __init__(self) -> None:
        self.num_steps = 0
        self._num_cut: Tensor | float = 0.0
        self._sum_of_factors: Tensor | float = 0.0

    def add(self, clipped: Clipped) -> None:
        """Count a step; nothing waits for the device."""
        self.num_steps += 1
        self._num_cut = self._num_cut + (clipped.factor_tensor < 1).float()
        self._sum_of_factors = self._sum_of_factors + clipped.factor_tensor

    @property
    def share_cut(self) -> float:
        """Share of the steps that were cut, in [0, 1]; clipping at nearly all of them is a smaller learning rate."""
        return float(self._num_cut) / max(self.num_steps, 1)

    @property
    def mean_factor(self) -> float:
        """Mean of what the gradients were multiplied by, in (0, 1]."""
        return float(self._sum_of_factors) / self.num_steps if self.num_steps else 1.0

    def __str__(self) -> str:
        return f"{100 * self.share_cut:.1f} % of {self.num_steps} steps cut, mean factor {self.mean_factor:.3g}"


def clip_global_norm_(parameters: Iterable[Tensor], max_norm: float) -> Clipped:
    """Shorten all gradients together to a common norm, in place.

    factor = min(1, max_norm / norm)

    Gradients whose norm is not finite are left as they are, so that what looks for NaN afterwards finds it where it
    was, and not everywhere; torch's own function spreads it.

    Args:
        parameters: Those whose gradients count; those without one do not.
        max_norm: The largest norm that is let through, in the unit of gradients.

    Returns:
        The norm before and the factor.

    Raises:
        BuilderError: If a module was given.
        DomainError: If no norm is that small, or a gradient is sparse.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> print(clip_global_norm_([weight], 1.0))
        gradient norm 5, cut to 1

    Source:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1.
    """
    if not max_norm > 0:
        raise DomainError(f"max_norm={max_norm!r} lets nothing through; give a number above 0.")
    gradients = gradients_of(parameters)
    norm = global_norm(gradients)
    factor = torch.where(norm.isfinite(), max_norm / norm, 1.0).clamp(max=1.0)
    scale_(gradients, factor)
    return Clipped(norm, factor)


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients that are there.

    Raises:
        BuilderError: If a module was given.
        DomainError: If a gradient is sparse.
    """
    return [dense(parameter, "the clipping") for parameter in listed(parameters) if parameter.grad is not None]


@torch.no_grad()
def global_norm(gradients: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of all gradients as one vector, on the device of the first, in float32 at least."""
    if not gradients:
        return torch.zeros(())
    norms = [norms_of(alike) for alike in buckets((each, None) for each in gradients).values()]
    device = norms[0].device
    wide = torch.promote_types(max((each.dtype for each in norms), key=lambda kind: kind.itemsize), torch.float32)
    return torch.linalg.vector_norm(torch.cat([each.to(device, wide) for each in norms]))


@torch.no_grad()
def scale_(gradients: list[Tensor], factor: Tensor) -> None:
    """Multiply gradients in place by a scalar that lies on a device."""
    for (device, dtype, *_), alike in buckets((each, None) for each in gradients).items():
        FOREACH._foreach_mul_(alike, factor.to(device, dtype))
