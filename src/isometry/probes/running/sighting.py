"""What one forward pass of a training showed: its layers, what stands behind them, and its attentions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True, eq=False)
class SeenLayer:
    """One operation with a parameter, or an attention.

    Attributes:
        kind: The operation.
        parameter: Canonical name of its weight; empty if that is computed.
        module: Canonical path of the innermost module it ran in.
        behind: How many axes of its output come behind that of its units.
        units: How many there are.
        rows: Some rows of its output; None if it gave none.
        logit_max: Of an attention: the largest size of its logits.
        is_output: Whether it makes what the model gives.
        name: For people; made when the forward pass has ended.
    """

    kind: str
    parameter: str
    module: str
    behind: int = 0
    units: int = 0
    rows: Tensor | None = None
    logit_max: Tensor | None = None
    is_output: bool = False
    name: str = ""


@dataclass(slots=True, eq=False)
class SeenActivation:
    """The activation behind a layer.

    Attributes:
        function: Its name.
        layer: Whose output it reads.
        num_rows: Rows of its output, counts.
        rows: Some rows of its output.
        peaks: Of a rectifier: for each unit a number that is zero only if all its outputs are.
        is_gate: Whether other data are multiplied by what it gives.
        is_output: Whether it makes what the model gives.
    """

    function: str
    layer: SeenLayer
    num_rows: int
    rows: Tensor
    peaks: Tensor | None = None
    is_gate: bool = False
    is_output: bool = False


@dataclass(slots=True)
class Sighting:
    """What one forward pass showed, in the order of execution."""

    layers: list[SeenLayer] = field(default_factory=list[SeenLayer])
    activations: list[SeenActivation] = field(default_factory=list[SeenActivation])


def titles_of(layers: Sequence[SeenLayer], ties: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return names of layers as the table of `check` has them, no two alike.

    A layer has the name of the module that owns its weight; where a module owns the weights of several layers, each has
    the name of its weight; without a weight of its own it has that of the module it ran in.

    Args:
        layers: In the order of execution.
        ties: From a parameter to its further names, which serve where the first is taken.
    """
    owned: dict[str, set[str]] = {}
    for layer in layers:
        owned.setdefault(_owner(layer.parameter), set()).add(layer.parameter)
    titles: list[str] = []
    for number, layer in enumerate(layers):
        owner = _owner(layer.parameter)
        first = owner if len(owned[owner]) == 1 else layer.parameter
        others = (_owner(each) for each in ties.get(layer.parameter, ()))
        wanted = (first, *others, layer.module, layer.parameter, f"{layer.module or layer.kind} ({layer.kind})")
        free = (name for name in wanted if name and name not in titles)
        titles.append(next(free, f"{layer.kind} (layer {number})"))
    return tuple(titles)


def place_of_attention(before: Sequence[SeenLayer]) -> str:
    """Return the module an attention runs in, taken from the layer before it: the one that holds its projections.

    Args:
        before: The layers that were seen before it.
    """
    parameter = next((each.parameter for each in reversed(before) if each.parameter), "")
    owner, _, attribute = parameter.rpartition(".")
    return _owner(owner) if attribute == "weight" else owner


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
