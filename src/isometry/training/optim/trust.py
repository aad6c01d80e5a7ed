"""What LARS and LAMB share: a step whose length is a share of the weight's own norm, the trust ratio."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from isometry._errors import DomainError
from isometry.training.optim.foreach import FOREACH, buckets, dense

Parameters = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Parameters of one group, device, type and age, which are updated by the same calls.

    Attributes:
        group: The settings of their group.
        step: How many updates they have had, counts.
        parameters: To be written.
        gradients: Of which the sum is to fall; new tensors if the objective is maximised.
        states: What the optimiser keeps of each.
    """

    group: dict[str, Any]
    step: int
    parameters: list[Tensor]
    gradients: list[Tensor]
    states: list[dict[str, Any]]

    def kept(self, name: str) -> list[Tensor]:
        """Return a tensor that is kept of each parameter, zeros at first."""
        for parameter, state in zip(self.parameters, self.states, strict=True):
            if name not in state:
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return [state[name] for state in self.states]


class TrustRatioOptimizer(Optimizer, ABC):
    """An optimiser whose step on each tensor is scaled by a ratio of norms, unless its group has `is_adapted` False."""

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        super().__init__(params, {**defaults, "is_adapted": True})
        self._ratios: list[tuple[list[Tensor], Tensor]] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ratios = []

    @abstractmethod
    def _check(self, group: dict[str, Any]) -> None:
        """Refuse settings that cannot be meant."""

    @abstractmethod
    def _update(self, bucket: Bucket) -> Tensor | None:
        """Write a bucket's parameters, and return their ratios; None where they are not adapted."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take further parameters.

        Args:
            param_group: `params` and the settings in which they differ; `is_adapted=False` for those whose step is not
                to be scaled, which `param_groups` says of gains and biases.

        Raises:
            DomainError: If a setting is out of its range, or a parameter is complex.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            require({name: group[name] for name in ("lr", "weight_decay")})
            self._check(group)
            _refuse_complex(group["params"], type(self).__name__)
        except DomainError:
            self.param_groups.pop()  # a caller who catches it has the optimiser as it was
            raise

    def trust_ratios(self) -> dict[Tensor, float]:
        """Return the ratio that the last step of each parameter was scaled by, dimensionless.

        This waits for the device; the step itself does not. Parameters without a gradient and those that are not
        adapted have none.

        Example:
            >>> from isometry.training.optim.lars import LARS
            >>> layer = torch.nn.Linear(2, 2, bias=False)
            >>> optimizer = LARS(layer.parameters(), lr=0.1)
            >>> layer(torch.ones(1, 2)).sum().backward()
            >>> _ = optimizer.step()
            >>> ratios = optimizer.trust_ratios()
            >>> {name: ratios[parameter] < 0.001 for name, parameter in layer.named_parameters()}
            {'weight': True}
        """
        return {
            parameter: ratio
            for parameters, ratios in self._ratios
            for parameter, ratio in zip(parameters, ratios.tolist(), strict=True)
        }

    def trust_ratio_tensors(self) -> dict[Tensor, Tensor]:
        """Return what `trust_ratios` returns, each number on its device, without waiting for it."""
        return {
            parameter: ratio
            for parameters, ratios in self._ratios
            for parameter, ratio in zip(parameters, ratios.unbind(), strict=True)
        }

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # torch overloads it: None without a closure
        """Update every parameter that has a gradient.

        Args:
            closure: Computes the loss and the gradients anew.

        Returns:
            The closure's loss; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._ratios = []
        for group in self.param_groups:
            for bucket in self._buckets(group):
                ratios = self._update(bucket)
                if ratios is not None:
                    self._ratios.append((bucket.parameters, ratios))
        return loss

    def _buckets(self, group: dict[str, Any]) -> Iterable[Bucket]:
        """Yield the parameters of a group that have a gradient, each a step older."""
        given = [parameter for parameter in cast("list[Tensor]", group["params"]) if parameter.grad is not None]
        for parameter in given:
            state = self.state[parameter]
            state["step"] = state.get("step", 0) + 1
        for (*_, step), parameters in buckets((each, self.state[each]["step"]) for each in given).items():
            gradients = [dense(parameter, type(self).__name__) for parameter in parameters]
            if group["maximize"]:
                gradients = FOREACH._foreach_neg(gradients)
            yield Bucket(group, step, parameters, gradients, [self.state[each] for each in parameters])


def require(values: Mapping[str, Any], *, below: float = math.inf) -> None:
    """Refuse settings that are no number from 0 on.

    Args:
        values: Settings by their names.
        below: The least number that is too large.

    Raises:
        DomainError: If one is out of its range, or a tensor.
    """
    for name, value in values.items():
        if isinstance(value, Tensor):
            raise DomainError(f"{name} is a tensor, and a number is needed. Give float({name}).")
        if not isinstance(value, Real) or not 0 <= float(value) < below:
            raise DomainError(f"{name}={value!r} is out of range; give a number in [0, {below:g}).")


def _refuse_complex(parameters: Iterable[Tensor], name: str) -> None:
    if any(parameter.is_complex() for parameter in parameters):
        raise DomainError(
            f"{name} was given complex parameters, and takes real ones. "
            "Give torch.view_as_real of them, or leave them to torch.optim.Adam."
        )
