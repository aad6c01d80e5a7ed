"""Measures the gradient noise scale of a step from what the optimiser has anyway."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isometry.probes.running.blocks import local_part
from isometry.probes.running.noise import NoiseEstimate, NoiseScale, noise_from_moments, noise_from_parts
from isometry.probes.running.parameters import squared_norm
from isometry.probes.running.transfer import Transfer

STRIDE = 5  # steps between two looks at the moments, which change slowly
MIN_STEPS = 2  # gradients in a moment before it says anything of their mean
NO_MOMENTS = "the optimiser keeps no Adam moments and the step has one micro-batch"
TOO_EARLY = "Adam's moments have taken in too few gradients"
TOO_NOISY = "noise hides the gradient, or there is none"


class NoiseMeter:
    """Reads the noise from micro-batches where there are some, else from Adam's first moment.

    Args:
        parameters: Of the model.
        optimizer: What trains them.
    """

    def __init__(self, parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
        self._given = parameters
        self._optimizer = optimizer
        self._scale = NoiseScale()
        self._found: dict[str, float] = {}
        self._numbers: dict[str, Tensor] = {}
        self._beta: float | None = None
        self._due = 0
        self._is_left_out = False
        self._last: tuple[float | None, str] = (None, TOO_EARLY)

    def first_backward(self) -> None:
        """Keep the size of the gradient of the first of several micro-batches."""
        part = squared_norm([local_part(each.grad) for each in self._given if each.grad is not None])
        if part is not None:
            self._numbers["part"] = part

    def before_update(self, step: int) -> None:
        """Keep the size of Adam's first moments before they take in the gradient, every few steps.

        Args:
            step: A number that grows by one with each of the optimiser's steps.
        """
        self._beta = None
        self._is_left_out = "part" not in self._numbers and step < self._due
        if "part" in self._numbers or self._is_left_out:
            return
        self._due = step + STRIDE
        states = [self._optimizer.state.get(each) for each in self._given if each.grad is not None]
        moments = [local_part(state["exp_avg"]) for state in states if state and "exp_avg" in state]
        square = squared_norm(moments) if len(moments) == len(states) else None
        betas = {group["betas"][0] for group in self._optimizer.param_groups if "betas" in group}
        if square is not None and states[0] and len(betas) == 1 and "step" in states[0]:
            self._beta = float(betas.pop())
            self._numbers |= {"moment": square, "step": torch.as_tensor(states[0]["step"])}

    def send(self, transfer: Transfer) -> None:
        """Send what was kept to the host."""
        self._found = transfer.add(self._numbers)
        self._numbers = {}

    def scale(self, squared_gradient: float, *, micro_batches: int, loss_scale: float) -> tuple[float | None, str]:
        """Return the noise scale in batches of the optimiser's, and its unit or why there is none.

        Args:
            squared_gradient: |gradient|^2 as the optimiser got it.
            micro_batches: Backward passes that made it, counts.
            loss_scale: By which the gradient of the first of them was too large.
        """
        if self._is_left_out:
            return self._last
        estimate = self._estimate(squared_gradient, micro_batches=micro_batches, loss_scale=loss_scale)
        if isinstance(estimate, str):
            self._last = (None, estimate)
        else:
            scale = self._scale.add(estimate)
            self._last = (None, TOO_NOISY) if scale is None else (scale, "batches")
        return self._last

    def _estimate(self, square: float, *, micro_batches: int, loss_scale: float) -> NoiseEstimate | str:
        if "part" in self._found and micro_batches > 1:
            # Whether the losses are divided by their number or not: the gradient of one is that of all over it.
            part = self._found["part"] * (micro_batches / loss_scale) ** 2
            return noise_from_parts(part, square, count=micro_batches)
        if self._beta is None or "moment" not in self._found:
            return NO_MOMENTS
        if self._found["step"] < MIN_STEPS:
            return TOO_EARLY
        return noise_from_moments(square, self._found["moment"], beta=self._beta, step=self._found["step"])
