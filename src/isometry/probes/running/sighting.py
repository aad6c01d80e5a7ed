"""What one forward pass of a training showed: its layers, what stands behind them, and its attentions."""

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
        name: For people; made when the forward pass has ended.
    """

    kind: str
    parameter: str
    module: str
    behind: int = 0
    units: int = 0
    rows: Tensor | None = None
    logit_max: Tensor | None = None
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

    def entitle(self) -> None:
        """Name the layers as the table of `check` does, no two alike.

        A layer has the name of the module that owns its weight; where a module owns the weights of several layers, each
        has the name of its weight; without a weight of its own it has that of the module it ran in.
        """
        owned: dict[str, set[str]] = {}
        for layer in self.layers:
            owned.setdefault(layer.parameter.rpartition(".")[0], set()).add(layer.parameter)
        taken: set[str] = set()
        for number, layer in enumerate(self.layers):
            owner = layer.parameter.rpartition(".")[0]
            first = owner if len(owned[owner]) == 1 else layer.parameter
            wanted = (first, layer.module, layer.parameter, f"{layer.module or layer.kind} ({layer.kind})")
            free = (name for name in wanted if name and name not in taken)
            layer.name = next(free, f"{layer.kind} (layer {number})")
            taken.add(layer.name)
