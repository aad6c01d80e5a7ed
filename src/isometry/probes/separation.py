"""Observer of the loss function: what the outputs gain by being different for different samples."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from isometry.anatomy.operations import LOSSES
from isometry.anatomy.preserve import has_numbers
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation

OF_CLASSES = frozenset({"cross_entropy", "nll_loss"})  # whose outputs have the classes on axis 1
SETTINGS = ("ignore_index", "weight", "pos_weight")  # that change what the best outputs are


@dataclass(slots=True)
class Separations:
    """Observes how much higher each known loss is for outputs that are averaged over the samples.

    A network that has learnt nothing but the mean of its targets gains nothing from its inputs. In double precision
    the gain of one that begins to tell samples apart is seen long before the loss itself falls.

    Attributes:
        gains: From the index of an operation to the loss of the averaged outputs less that of the outputs.
    """

    gains: dict[int, float] = field(default_factory=dict[int, float])

    def __call__(self, operation: Operation, call: Call) -> None:
        """Compute the loss twice, in double precision."""
        if operation.name not in LOSSES or not all(has_numbers(tensor) for tensor in call.inputs):
            return
        function = getattr(functional, operation.name)
        given = _arguments(function, call)
        outputs, targets = given.get("input"), given.get("target")
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or not outputs.numel():
            return
        settings = {name: _exact(given[name]) for name in SETTINGS if given.get(name) is not None}
        with torch.no_grad():
            outputs, targets = outputs.detach().double(), _exact(targets.detach())
            axes = [axis for axis in range(outputs.ndim) if axis != 1] if operation.name in OF_CLASSES else [0]
            mean = outputs.mean(axes, keepdim=True).expand_as(outputs)
            alike, own = (float(function(each, targets, **settings)) for each in (mean, outputs))
        self.gains[operation.index] = alike - own


def _arguments(function: object, call: Call) -> Mapping[str, object]:
    names = list(inspect.signature(function).parameters)  # pyright: ignore[reportArgumentType] - one of torch's losses
    return {**dict(zip(names, call.args, strict=False)), **call.kwargs}


def _exact(value: object) -> object:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
