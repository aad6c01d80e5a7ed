"""ZClip: clipping of gradients whose norm stands out from those of the steps before."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from isometry._errors import DomainError
from isometry.training.optim.clipping import Clipped, global_norm, gradients_of, scale_


class ZClip:
    """Shortens gradients whose norm is a spike, by the norms of the steps before; call it before each step.

    z = (norm − mean) / deviation;  where z > threshold, the norm becomes mean + threshold² / z · deviation

    Mean and deviation are moving averages of the norms that were let through, and plain ones at the end of the
    warm-up, in which nothing is cut. The larger a spike the smaller is what remains of it. Norms that are not finite
    are neither cut nor counted. Nothing waits for the device.

    A lasting rise is a spike that never ends: what is learnt is the norm that was let through, so ten times the usual
    norm, once there for good, is cut at every step from then on. Count with `ClipTally`; where `share_cut` comes near 1
    begin anew with a fresh ZClip.

    Args:
        threshold: Deviations above the mean that are let through, dimensionless.
        memory: Share of the averages that is kept at each step, in [0, 1).
        warmup_steps: Steps in which nothing is cut, counts; at least 2.

    Raises:
        DomainError: If a setting is out of its range.

    Example:
        >>> clip = ZClip(warmup_steps=2)
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> for size in (1.0, 1.2, 1.1, 50.0):
        ...     weight.grad = torch.tensor([size])
        ...     clipped = clip([weight])
        >>> print(clipped)
        gradient norm 50, cut to 1.1

    Source:
        Kumar, Owen, Chowdhury, Güra 2025, arXiv:2504.02507: z-score with reciprocal clipping, algorithm 1.
    """

    def __init__(self, *, threshold: float = 2.5, memory: float = 0.97, warmup_steps: int = 25) -> None:
        if not (threshold > 0 and 0 <= memory < 1 and warmup_steps >= 2):  # noqa: PLR2004 - one has no deviation
            raise DomainError(
                f"ZClip was given threshold={threshold!r}, memory={memory!r}, warmup_steps={warmup_steps!r}; it takes "
                "a threshold above 0, a memory in [0, 1) and at least 2 steps of warm-up."
            )
        self.threshold = threshold
        self.memory = memory
        self.warmup_steps = warmup_steps
        self._count = self._mean = self._variance = torch.zeros(())

    @torch.no_grad()
    def __call__(self, parameters: Iterable[Tensor]) -> Clipped:
        """Clip the gradients of a step in place, and learn its norm.

        Args:
            parameters: Those whose gradients count.

        Returns:
            The norm before and the factor.
        """
        gradients = gradients_of(parameters)
        norm = global_norm(gradients)
        self._move_to(norm)
        allowed = torch.where(self._count < self.warmup_steps, norm, self._allowed(norm))
        factor = torch.where(norm.isfinite() & (allowed < norm), allowed / norm, 1.0)
        scale_(gradients, factor)
        self._learn(torch.where(norm.isfinite(), torch.minimum(allowed, norm), norm))
        return Clipped(norm, factor)

    def _allowed(self, norm: Tensor) -> Tensor:
        """Return what a norm becomes after the warm-up; where the deviation is zero, at most the mean."""
        deviation = self._variance.sqrt()
        z = (norm - self._mean) / deviation
        return torch.where(z > self.threshold, self._mean + self.threshold**2 / z * deviation, norm)

    def _learn(self, norm: Tensor) -> None:
        """Take a norm that was let through into the averages, by Welford's update until the warm-up is over."""
        count = self._count + 1
        share = torch.where(count <= self.warmup_steps, 1 / count, 1 - self.memory)
        mean = self._mean + share * (norm - self._mean)
        distance = torch.where(count <= self.warmup_steps, norm - self._mean, norm - mean) * (norm - mean)
        variance = self._variance + share * (distance - self._variance)
        counts = norm.isfinite()
        self._count = torch.where(counts, count, self._count)
        self._mean = torch.where(counts, mean, self._mean)
        self._variance = torch.where(counts, variance, self._variance)

    def _move_to(self, norm: Tensor) -> None:
        self._count, self._mean, self._variance = (
            each.to(norm.device, norm.dtype) for each in (self._count, self._mean, self._variance)
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return what was learnt of the norms, to be saved."""
        return {"count": self._count, "mean": self._mean, "variance": self._variance}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on with what was learnt before."""
        self._count, self._mean, self._variance = (state[name].clone() for name in ("count", "mean", "variance"))
