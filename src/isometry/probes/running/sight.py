"""Sees the layers, activations and attentions of a forward pass while a model trains, and copies some rows of each."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from isometry.anatomy.names import ParameterNames
from isometry.anatomy.operations import (
    ACTIVATIONS,
    NORMS,
    PRODUCTS,
    RECTIFIERS,
    RECURRENT,
    WEIGHTED,
    WITH_SUMMAND,
    plain_name,
)
from isometry.anatomy.recorder import ENTERED_ATTENTION, Call, is_transformed
from isometry.anatomy.task import tensors_in
from isometry.probes.attention import MASKED, scores_of_attention
from isometry.probes.running.blocks import is_measured
from isometry.probes.running.lineage import Lineage
from isometry.probes.running.rows import RowSampler
from isometry.probes.running.sighting import SeenActivation, SeenLayer, Sighting, place_of_attention, titles_of
from isometry.probes.running.trouble import Trouble
from isometry.probes.statistics import other_axes

FROM_ZERO = frozenset({"relu", "relu6"})  # never below it, so that a unit's largest output says enough
MAKE_ZEROS = RECTIFIERS | {"clamp", "leaky_relu", "maximum", "prelu", "rrelu", "where"}
BY_CHANNEL = frozenset({"batch_norm", "group_norm", "instance_norm"})
_UNSEEN = torch._C.DisableTorchFunction  # pyright: ignore[reportPrivateUsage] - its only name, and documented
Maker = SeenLayer | SeenActivation | Literal["product", "other"]


class Sight(TorchFunctionMode):
    """Sees the tensor functions a user would name while it is entered.

    Which layer an activation stands behind is read from the backward graph, whose nodes are held until `leave`. Where
    there is none, as in a part that is computed again in the backward pass, it is the layer before.

    Args:
        names: Of the model.
        rows: Which rows of an output are copied.
    """

    def __init__(self, names: ParameterNames, rows: RowSampler) -> None:
        super().__init__()
        self._names = names
        self._rows = rows
        self._lineage = Lineage[Maker]()
        self._used: set[tuple[str, str]] = set()
        self._seen = Sighting()
        self._titled: tuple[Any, tuple[str, ...]] = ((), ())
        self.modules: list[nn.Module] = []
        self.trouble = Trouble()  # of the looks, which run inside of the user's forward pass

    def __torch_function__(  # noqa: PLR0917 - torch's signature
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _OTHERS or is_transformed():
            return func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return ENTERED_ATTENTION(*args, **kwargs)
        name = plain_name(func)
        look = _LOOKS.get(name)
        if look is None:
            _OTHERS.add(func)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if not self.trouble.is_there:
            with self.trouble, _UNSEEN():
                output = result if isinstance(result, Tensor) else next(tensors_in(result), None)
                if output is not None:
                    look(self, name, Call(args, kwargs, (), (output,)))
        return result

    def leave(self, output: Any) -> None:
        """Hear what the model returned, and let the backward graph go."""
        for tensor in tensors_in(output):
            for maker in self._lineage.at(tensor):
                if isinstance(maker, SeenActivation):
                    maker.is_output = maker.layer.is_output = True
                elif isinstance(maker, SeenLayer):
                    maker.is_output = True
        self._lineage.clear()

    def take(self) -> Sighting:
        """Return what was seen since the last time, and forget it."""
        seen = self._seen
        self._lineage.clear()
        self._used.clear()
        self._seen = Sighting()
        key = tuple((each.kind, each.parameter, each.module) for each in seen.layers)
        if key != self._titled[0]:
            self._titled = (key, titles_of(seen.layers, self._names.ties))
        for layer, name in zip(seen.layers, self._titled[1], strict=True):
            layer.name = name
        return seen

    def see_weighted(self, name: str, call: Call) -> None:
        """Take in a function whose weight stands at a known place."""
        position, keyword = WEIGHTED[name].weight
        weight = call.args[position] if position < len(call.args) else call.kwargs[keyword]
        behind = int(name[-2]) if name.startswith("conv") else 0
        self._add_layer(name, self._parameter(weight), call.outputs[0], behind=behind)

    def see_product(self, name: str, call: Call) -> None:
        """Take in a matrix product: a layer if it multiplies with a parameter."""
        operands = list(tensors_in((call.args, call.kwargs)))[name in WITH_SUMMAND :]
        used = [parameter for each in operands if each.ndim and (parameter := self._parameter(each))]
        if not used:
            self._lineage.note(call.outputs[0], "product")
        elif len(used) < len(operands):  # a product of parameters alone makes a weight
            self._add_layer(name, used[0], call.outputs[0])

    def see_recurrent(self, name: str, call: Call) -> None:
        """Take in a recurrent function: one layer with several weights."""
        used = [parameter for each in tensors_in(call.args) if (parameter := self._parameter(each))]
        self._add_layer(name, used[0] if used else "", call.outputs[0])

    def see_norm(self, name: str, call: Call) -> None:
        """Take in a norm that has parameters; what lies behind it may still be seen through it."""
        used = [parameter for each in tensors_in((call.args, call.kwargs)) if (parameter := self._parameter(each))]
        if used:
            behind = call.outputs[0].ndim - 2 if name in BY_CHANNEL else 0
            self._add_layer(name, used[0], call.outputs[0], behind=behind)

    def see_activation(self, name: str, call: Call) -> None:
        """Take in a function of single numbers as that of the layer behind it."""
        output = call.outputs[0]
        layer = self._layer_behind(output)
        if layer is None or not output.ndim or not is_measured(output):
            self._lineage.note(output, "other")
            return
        axis = _unit_axis(layer, output)
        others = other_axes(output, axis)
        plain, peaks = output.detach(), None
        if name in MAKE_ZEROS and others:
            peaks = plain.amax(others)
            peaks = peaks if name in FROM_ZERO else torch.maximum(peaks, plain.amin(others).neg())
        rows = self._rows.sample(plain, axis)
        activation = SeenActivation(
            function=name,
            layer=layer,
            num_rows=plain.numel() // plain.shape[axis],
            rows=rows,
            peaks=peaks,
        )
        self._seen.activations.append(activation)
        self._lineage.note(output, activation)

    def see_multiplication(self, _: str, call: Call) -> None:
        """Hear which activations other data are multiplied by."""
        operands = [each for each in call.args if isinstance(each, Tensor) and each.ndim]
        if len(operands) > 1:
            for operand in operands:
                maker = self._lineage.source(operand)
                if isinstance(maker, SeenActivation):
                    maker.is_gate = True

    def see_softmax(self, _: str, call: Call) -> None:
        """Take in a softmax if what it reads is a product of data with data."""
        logits = call.args[0] if call.args else call.kwargs["input"]
        axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
        is_last = axis in {-1, logits.ndim - 1} and logits.ndim > 1
        if is_last and is_measured(logits) and "product" in self._lineage.behind(call.outputs[0]):
            self._add_attention(self._rows.sample(logits.detach(), logits.ndim - 1))
        self._lineage.note(call.outputs[0], "other")

    def see_attention(self, _: str, call: Call) -> None:
        """Take in an attention whose logits nobody sees, by computing some of them again."""
        scores = scores_of_attention(call) if is_measured(call.outputs[0]) else None
        if scores is not None and scores.numel():
            self._add_attention(scores)
        self._lineage.note(call.outputs[0], "other")

    def _add_layer(self, kind: str, parameter: str, output: Tensor, *, behind: int = 0) -> None:
        """Add a layer whose units lie `behind` axes before the last; the first use of a weight counts."""
        module = self._path()
        key = (kind, parameter or module)
        if key in self._used:
            self._lineage.note(output, "other")
            return
        self._used.add(key)
        layer = SeenLayer(kind=kind, parameter=parameter, module=module, behind=behind)
        if output.ndim and is_measured(output):
            axis = max(output.ndim - 1 - behind, 0)
            layer.units, layer.rows = output.shape[axis], self._rows.sample(output.detach(), axis)
        self._seen.layers.append(layer)
        if kind not in NORMS:
            self._lineage.note(output, layer)

    def _add_attention(self, scores: Tensor) -> None:
        """Add an attention with the logits of some queries, without those that a mask put far down."""
        place = place_of_attention(self._seen.layers)
        if ("attention", place) in self._used:
            return
        self._used.add(("attention", place))
        numbers = scores.float()
        is_open = numbers > numbers.amax(-1, keepdim=True) - MASKED
        logit_max = torch.where(is_open, numbers, 0.0).abs().amax()
        self._seen.layers.append(SeenLayer(kind="attention", parameter="", module=place, logit_max=logit_max))

    def _layer_behind(self, output: Tensor) -> SeenLayer | None:
        if output.grad_fn is None:
            return next((each for each in reversed(self._seen.layers) if each.rows is not None), None)
        return next((each for each in self._lineage.behind(output) if isinstance(each, SeenLayer)), None)

    def _parameter(self, tensor: Tensor) -> str:
        """Return the name of the parameter that a tensor is or is a view of; empty if it is neither."""
        name = self._names.of_tensor.get(id(tensor))
        if name is None and tensor._base is not None:
            name = self._names.of_tensor.get(id(tensor._base))
        return name or ""

    def _path(self) -> str:
        return self._names.of_module.get(id(self.modules[-1]), "") if self.modules else ""


Look = Callable[[Sight, str, Call], None]
_OTHERS: set[Callable[..., Any]] = set()  # functions that nobody looks at
_LOOKS: dict[str, Look] = {
    **dict.fromkeys(ACTIVATIONS | MAKE_ZEROS, Sight.see_activation),
    **dict.fromkeys(WEIGHTED, Sight.see_weighted),
    **dict.fromkeys(PRODUCTS, Sight.see_product),
    **dict.fromkeys(RECURRENT, Sight.see_recurrent),
    **dict.fromkeys(NORMS, Sight.see_norm),
    "mul": Sight.see_multiplication,
    "softmax": Sight.see_softmax,
    "scaled_dot_product_attention": Sight.see_attention,
}


def _unit_axis(layer: SeenLayer, output: Tensor) -> int:
    """Return the axis along which an activation's units lie: where those of its layer lay, if it is as long."""
    usual = max(output.ndim - 1 - layer.behind, 0)
    axes = (usual, *range(1, output.ndim))
    return next((axis for axis in axes if output.shape[axis] == layer.units), output.ndim - 1)
