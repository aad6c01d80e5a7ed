"""Whether a gradient scaler left a step of the optimiser out, told without waiting for the device."""

from collections.abc import Mapping
from typing import Any

import torch


class ScalerEar:
    """Hears a gradient scaler's steps from what it keeps on the host.

    A scaler marks what it was asked to step, and begins a new collection of such marks with each `update`. Where that
    happened and the optimiser made no step, the scaler left it out.

    Args:
        scaler: Of the gradients, or None; one that keeps no such marks is never heard.
        optimizer: Whose steps are asked for.
    """

    def __init__(self, scaler: object, optimizer: torch.optim.Optimizer) -> None:
        self._scaler = scaler
        self._key = id(optimizer)
        self._marks: Mapping[int, Mapping[str, Any]] | None = None
        self._is_update_due = False

    def begin(self) -> None:
        """A step begins."""
        self._marks = self._now()
        self._is_update_due = self._is_asked()

    def has_left_out(self) -> bool:
        """Say whether a step was asked for since the last one began; to be asked where the optimiser made none."""
        if self._now() is self._marks or self._is_update_due:
            return self._is_asked()
        return True

    def _is_asked(self) -> bool:
        own = (self._now() or {}).get(self._key)
        return own is not None and getattr(own.get("stage"), "name", "") == "STEPPED"

    def _now(self) -> Mapping[int, Mapping[str, Any]] | None:
        return getattr(self._scaler, "_per_optimizer_states", None)
