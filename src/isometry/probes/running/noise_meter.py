"""Measures the gradient noise scale of a step from what the optimiser has anyway."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from isometry._phrases import Phrase
from isometry.probes.running.blocks import local_part
from isometry.probes.running.noise import NoiseEstimate, NoiseScale, noise_from_moments, noise_from_parts
from isometry.probes.running.parameters import squared_norm
from isometry.probes.running.transfer import Transfer

STRIDE = 5  # steps between two looks at the moments, which change slowly
MIN_STEPS = 2  # gradients in a moment before it says anything of their mean
NO_MOMENTS = Phrase("the optimiser keeps no Adam moments and the step has one micro-batch")
TOO_EARLY = Phrase("Adam's moments have taken in too few gradients")
UNSEEN = Phrase("the end of the last micro-batch's backward pass was not seen; gradients may have been changed since")
UNAVERAGED = Phrase("it is not known when the gradients of the processes were averaged")
TOO_NOISY = Phrase("noise hides the gradient, or there is none")
ENGINE = cast(Any, torch.autograd.Variable)._execution_engine  # torch's own FSDP and DDP wait for its backward by it


class NoiseMeter:
    """Reads the noise from micro-batches where there are some, else from Adam's first moment.

    The gradients of one micro-batch and of all are measured where a backward pass ends, before anybody clips them.

    Args:
        model: What is trained.
        optimizer: What trains it.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._given: Sequence[Tensor] = ()
        self._optimizer = optimizer
        self._averaging = next((each for each in model.modules() if isinstance(each, DistributedDataParallel)), None)
        self._num_processes: int | None = 1
        self._num_ends = 0
        self._hook: RemovableHandle | None = None
        self._scale = NoiseScale()
        self._found: dict[str, float] = {}
        self._numbers: dict[str, Tensor] = {}
        self._beta: float | None = None
        self._due = 0
        self._is_left_out = False
        self._last: tuple[float | None, str] = (None, TOO_EARLY)

    def open(self, parameters: Sequence[Tensor]) -> None:
        """Hear what the coming step trains."""
        self._given = parameters

    def first_backward(self) -> None:
        """Keep the size of the gradient of the first of several micro-batches, and wait for the ends of the others."""
        self.forget()
        part = self._squared_gradient()
        if part is not None:
            self._numbers["part"] = part
            self._num_processes = self._num_averaged_later()
            self._hook = self._trained()[-1].register_post_accumulate_grad_hook(self._in_backward)

    def before_update(self, step: int) -> None:
        """Keep the size of Adam's first moments before they take in the gradient, every few steps.

        Args:
            step: A number that grows by one with each of the optimiser's steps.
        """
        self._stop()
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

    def forget(self) -> None:
        """Drop what was measured of a step."""
        self._stop()
        self._numbers, self._num_ends = {}, 0

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

    def _trained(self) -> list[Tensor]:
        return [each for each in self._given if each.requires_grad and each.grad is not None]

    def _squared_gradient(self) -> Tensor | None:
        return squared_norm([local_part(each.grad) for each in self._trained() if each.grad is not None])

    def _num_averaged_later(self) -> int | None:
        """Return over how many processes the present gradient will still be averaged; None if that is not known."""
        if self._averaging is None:
            is_alone = not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1
            return 1 if is_alone else None
        # What the last forward pass was made with; inside of no_sync it is off.
        return 1 if self._averaging.require_forward_param_sync else dist.get_world_size(self._averaging.process_group)

    def _in_backward(self, _: Tensor) -> None:
        """Ask to be called at the end of this backward pass, behind what else was to happen there."""
        ENGINE.queue_callback(lambda: ENGINE.queue_callback(self._backward_ended))

    @torch.no_grad()
    def _backward_ended(self) -> None:
        whole = self._squared_gradient()
        if self._hook is not None and whole is not None:
            self._numbers["whole"] = whole
            self._num_ends += 1

    def _stop(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _estimate(self, square: float, *, micro_batches: int, loss_scale: float) -> NoiseEstimate | str:
        if "part" in self._found and micro_batches > 1:
            if self._num_processes is None:
                return UNAVERAGED
            if self._num_ends != micro_batches - 1:
                return UNSEEN
            # Whether the losses are divided by their number or not: the gradient of one is that of all over it.
            part = self._found["part"] * (micro_batches / loss_scale) ** 2
            whole = self._found["whole"] / loss_scale**2
            return noise_from_parts(part, whole, count=micro_batches * self._num_processes)
        if self._beta is None or "moment" not in self._found:
            return NO_MOMENTS
        if self._found["step"] < MIN_STEPS:
            return TOO_EARLY
        return noise_from_moments(square, self._found["moment"], beta=self._beta, step=self._found["step"])
