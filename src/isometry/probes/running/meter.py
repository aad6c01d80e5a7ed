"""Measures single steps of a user's own training: what flows forward, the gradients, and what the optimiser does."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isometry.anatomy.names import canonical, names_of
from isometry.probes.running.layers import LayerNumbers
from isometry.probes.running.noise_meter import NoiseMeter
from isometry.probes.running.opening import Opening
from isometry.probes.running.parameters import ParameterNumbers
from isometry.probes.running.readings import Reading
from isometry.probes.running.sighting import Sighting
from isometry.probes.running.transfer import Transfer


class Meter:
    """Measures the steps between `open` and `close`, changes nothing, and costs nothing outside of these.

    Args:
        model: What is trained; also inside wrappers, and compiled.
        optimizer: What trains it.
        window: Recorded steps in which a unit must have been silent to count as dead, counts.
        rows: Rows of a layer's output that are looked at, at most, counts.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, window: int = 10, rows: int = 64) -> None:
        names = names_of(model)
        self._rows = rows
        self._optimizer = optimizer
        self._opening = Opening(model, names, rows)
        self._layers = LayerNumbers(window)
        self._named = _named(model)
        self._parameters = ParameterNumbers()
        self._noise = NoiseMeter(model, optimizer)
        self._rates: list[Any] = []
        self._is_open = False
        self._num_updates = 0

    def open(self) -> None:
        """The coming step is to be measured."""
        if not self._is_open:
            self._is_open = True
            self._opening.open()
            trained = self._trained()
            self._parameters.open(trained)
            self._noise.open([parameter for _, parameter in trained])

    def first_backward(self) -> None:
        """Hear that the gradients are those of the first of several micro-batches."""
        if self._is_open:
            self._noise.first_backward()

    def before_update(self) -> None:
        """Hear that the gradients are what the optimiser gets, and that it has not taken its step."""
        self._num_updates += 1
        if not self._is_open:
            return
        self._rates = [group.get("lr", 0.0) for group in self._optimizer.param_groups]
        with torch.no_grad():
            self._parameters.before(getattr(self._optimizer, "grad_scale", None))
            self._noise.before_update(self._num_updates)

    def after_update(self) -> None:
        """Hear that the optimiser has taken its step."""
        if self._is_open:
            with torch.no_grad():
                self._parameters.after()
                ratios: Any = getattr(self._optimizer, "trust_ratio_tensors", None)  # of LARS and LAMB
                self._parameters.trust({} if ratios is None else ratios())

    def close(
        self,
        losses: Sequence[Tensor],
        *,
        step: int,
        seconds: float,
        micro_batches: int,
        loss_scale: Tensor | float | None,
    ) -> Reading:
        """End the step, and bring all its numbers to the host in one transfer.

        Args:
            losses: Of all steps since the reading before, this one last.
            step: Steps that the optimiser has taken, counts.
            seconds: Wall time since the run began.
            micro_batches: Backward passes that made the gradient, counts.
            loss_scale: By which the loss was multiplied; None if it was not.

        Returns:
            The measured step.
        """
        sighting = self._stop()
        transfer = Transfer()
        with torch.no_grad():
            course = transfer.add({place: each.detach() for place, each in enumerate(losses)})
            rates = transfer.add({place: each for place, each in enumerate(self._rates) if isinstance(each, Tensor)})
            scale = transfer.add({"scale": loss_scale} if isinstance(loss_scale, Tensor) else {})
            layers = self._layers.send(sighting, transfer)
            parameters = self._parameters.send(transfer)
            self._noise.send(transfer)
            transfer.fetch()
        totals = parameters()
        loss_scale = scale.get("scale") if isinstance(loss_scale, Tensor) else loss_scale
        noise, unit = self._noise.scale(
            (totals.gradient_norm or 0.0) ** 2, micro_batches=micro_batches, loss_scale=loss_scale or 1.0
        )
        return Reading(
            step=step,
            seconds=seconds,
            losses=tuple(course.values()),
            learning_rates=tuple(
                rates[place] if place in rates else float(each) for place, each in enumerate(self._rates)
            ),
            layers=layers(),
            parameters=totals.readings,
            gradient_norm=totals.gradient_norm,
            noise_scale=noise,
            noise_unit=unit,
            loss_scale=loss_scale,
            rows=self._rows,
            nonfinite=totals.nonfinite,
        )

    def abandon(self) -> None:
        """End a step without a reading."""
        self._stop()
        self._parameters.forget()
        self._noise.forget()

    def _trained(self) -> list[tuple[str, Tensor]]:
        """Return what the optimiser writes; a group may have been added since the last time."""
        held = {id(each) for group in self._optimizer.param_groups for each in group["params"]}
        return [each for each in self._named if id(each[1]) in held]

    def _stop(self) -> Sighting:
        self._is_open = False
        return self._opening.close()


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return every parameter once under its canonical name, those behind a parametrised weight under their own."""
    names = names_of(model)
    found: dict[int, tuple[str, Tensor]] = {}
    for raw_name, parameter in model.named_parameters():
        name = names.of_tensor[id(parameter)]
        is_alone = len(names.parameters[name]) == 1
        found[id(parameter)] = (name if is_alone else canonical(raw_name), parameter)
    return list(found.values())
