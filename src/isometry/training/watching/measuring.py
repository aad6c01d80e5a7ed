"""The meter of a run, kept from harming it."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from torch import Tensor

from isometry._errors import describe
from isometry.probes.running.meter import Meter
from isometry.probes.running.readings import Reading
from isometry.probes.running.transfer import Transfer

Made = TypeVar("Made")


class SafeMeter:
    """A meter that is given up with one warning where it fails; losses are read without it from then on."""

    def __init__(self, meter: Meter) -> None:
        self._meter: Meter | None = meter

    def open(self) -> None:
        """The coming step is to be measured."""
        self._tried(lambda meter: meter.open())

    def first_backward(self) -> None:
        """Hear that the gradients are those of the first of several micro-batches."""
        self._tried(lambda meter: meter.first_backward())

    def before_update(self) -> None:
        """Hear that the gradients are what the optimiser gets, and that it has not taken its step."""
        self._tried(lambda meter: meter.before_update())

    def after_update(self) -> None:
        """Hear that the optimiser has taken its step."""
        self._tried(lambda meter: meter.after_update())

    def close(
        self,
        losses: Sequence[Tensor],
        *,
        step: int,
        seconds: float,
        micro_batches: int,
        loss_scale: Tensor | float | None,
    ) -> Reading:
        """End the step; see `Meter.close`.

        Returns:
            The measured step; its losses alone if the meter was given up.
        """
        measured = self._tried(
            lambda meter: meter.close(
                losses, step=step, seconds=seconds, micro_batches=micro_batches, loss_scale=loss_scale
            )
        )
        return losses_alone(losses, step=step, seconds=seconds) if measured is None else measured

    def abandon(self) -> None:
        """End a step without a reading."""
        self._tried(lambda meter: meter.abandon())

    def _tried(self, act: Callable[[Meter], Made]) -> Made | None:
        meter = self._meter
        if meter is None:
            return None
        try:
            return act(meter)
        except Exception as error:  # noqa: BLE001 - whatever the meter dies of, the training must not
            self._meter = None
            with suppress(Exception):
                meter.abandon()
            warnings.warn(
                f"the measuring is given up: {describe(error)}. The training goes on, and losses and numbers that are "
                "not finite are still watched. Please report this as a defect of isometry.",
                stacklevel=5,
            )
            return None


def losses_alone(losses: Sequence[Tensor], *, step: int, seconds: float) -> Reading:
    """Return a reading in which nothing but the losses was measured.

    Args:
        losses: Of all steps since the reading before.
        step: Steps that the optimiser has taken, counts.
        seconds: Wall time since the run began.
    """
    transfer = Transfer()
    with torch.no_grad():
        course = transfer.add({place: each.detach() for place, each in enumerate(losses)})
        transfer.fetch()
    return Reading(step=step, seconds=seconds, losses=tuple(course.values()), learning_rates=())
