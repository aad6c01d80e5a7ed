"""Whether an example's outputs are its own: the same alone as beside another one, and without chance.

A kernel between examples is one of each example's gradients; batch norm and dropout in training mode leave none. The
layers inside are compared as well, since a last layer that starts at zero hides them from the outputs. What a pair does
not show, such as sentences cut to the longest of a block, is asked of each block's outputs before its gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.record import recorded
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, call_model
from isometry.probes.tangent.sight import ROUNDING_ROOTS, names_in, outputs_of

ADVICE = (
    "what a layer gives for an example changes with the examples beside it or with chance, as under batch norm or "
    "dropout in training mode, so that its gradients are not its own. Call model.eval() first; examples lie along the "
    "first axis, so recurrent layers may need batch_first=True."
)

TERM_ROUNDINGS = 16  # rounding units of the longest row met by a layer, by which outputs may differ beside their size

Layer = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class Prints:
    """What an observer kept of a pass: a few numbers of each row that a layer with weights read and gave.

    Attributes:
        layers: Each layer's operation and parameters to the prints of what it met, (rows, 2) each.
        rounding: The coarsest rounding unit of all operations.
        outputs: The model's outputs, (examples, outputs).
    """

    layers: dict[Layer, list[Tensor]] = field(default_factory=dict[Layer, list[Tensor]])
    rounding: float = 0.0
    outputs: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def largest(self) -> float:
        """Length of the longest row that a layer met; 0 without layers."""
        return max(
            (length for met in self.layers.values() for each in met for length in each[:, 0].tolist()), default=0.0
        )

    def __call__(self, operation: Operation, call: Call) -> None:
        """Keep the prints of an operation with parameters."""
        floating = [each for each in call.outputs if each.is_floating_point()]
        self.rounding = max((self.rounding, *(torch.finfo(each.dtype).eps for each in floating)))
        if operation.parameters:
            met = [each for each in (*call.inputs[:1], *floating[:1]) if each.is_floating_point() and each.ndim]
            self.layers.setdefault((operation.name, names_in(operation)), []).extend(print_of(each) for each in met)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much rounding may change outputs.

    Attributes:
        relative: As a share of the largest.
        absolute: Beside that; numbers may be what is left of far larger terms, as where halves of a network cancel.
    """

    relative: float
    absolute: float

    def allows(self, found: Tensor, expected: Tensor) -> bool:
        """Say whether outputs are the same but for rounding."""
        most = self.relative * expected.abs().max() + self.absolute
        return bool((found - expected).abs().le(most).all())


def require_own_outputs(model: nn.Module, take: Callable[[list[int]], Any], *, other: int) -> Tolerance:
    """Compare a pair of examples with each of both alone.

    Args:
        model: The module.
        take: From numbers of examples to them, in any form that the module is called with.
        other: An example that differs from the one with number 0, or 0.

    Returns:
        By how much outputs may differ.

    Raises:
        ModelError: If the model fails, or an example's outputs are not finite or not its own.
    """
    pair = _prints(model, take, rows=[other, 0], seed=0)
    try:
        alone = [_prints(model, take, rows=[row], seed=seed) for seed, row in ((1, other), (2, 0))]
    except ModelError as error:
        raise ModelError(
            f"two examples pass the model and one alone does not, and a kernel is one between examples that are their "
            f"own. Call model.eval() first. {error}"
        ) from error
    if not all(bool(each.outputs.isfinite().all()) for each in (pair, *alone)):
        raise ModelError("the model's outputs are not finite. Check its inputs and weights for NaN and infinity.")
    both = torch.cat([each.outputs for each in alone])
    rounding = max(each.rounding for each in (pair, *alone))
    tolerance = Tolerance(ROUNDING_ROOTS * rounding**0.5, TERM_ROUNDINGS * rounding * pair.largest)
    if not tolerance.allows(pair.outputs, both):
        raise ModelError(ADVICE)
    if not all(_are_alike(pair, alone, layer, tolerance=tolerance) for layer in pair.layers):
        raise ModelError(ADVICE)
    return tolerance


def print_of(met: Tensor) -> Tensor:
    """Return two numbers of each row, by which it is known: its length, and its product with a wave."""
    rows = met.detach()[:, None].flatten(1)
    wave = torch.arange(rows.shape[1], device=rows.device).cos().to(rows.dtype)
    return torch.stack((rows.norm(dim=1), rows @ wave), 1).double()


def _prints(model: nn.Module, take: Callable[[list[int]], Any], *, rows: list[int], seed: int) -> Prints:
    found = Prints()

    def step(module: nn.Module, batch: Any) -> Tensor:
        with torch.no_grad():
            found.outputs = outputs_of(call_model(module, batch), len(rows)).double()
        return found.outputs.sum()

    with recorded(Task(model=model, batch=take(rows), step=step), [found], seed=seed):
        return found


def _are_alike(pair: Prints, alone: list[Prints], layer: Layer, *, tolerance: Tolerance) -> bool:
    """Say whether a layer met the same rows in a pair, in either order; True where it did not meet a row an example."""
    both = pair.layers[layer]
    each = [prints.layers.get(layer, []) for prints in alone]
    if any(len(prints) != len(both) for prints in each):
        return True  # which layers an example passes may depend on it
    for found, *single in zip(both, *each, strict=True):
        if [len(found), *map(len, single)] != [2, 1, 1]:
            continue
        expected = torch.cat(single)
        most = tolerance.relative * expected[:, 0].max() + tolerance.absolute
        orders = (expected, expected.flip(0))
        if not any(bool((found - order).abs().le(most).all()) for order in orders):
            return False
    return True
