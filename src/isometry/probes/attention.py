"""How attention spreads its weights at the start: all on one key, evenly over all, or in between."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from isometry.anatomy.operations import PRODUCTS, TRANSPARENT
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation
from isometry.probes.evidence import Evidence, NotMeasuredError, probe
from isometry.probes.statistics import has_floats, to_floats

ONE_HOT = 0.987  # largest weight from which 4 p (1 - p), the slope over its largest, is below 5 %
MIN_KEYS = 4  # a query that may look at fewer is no sign of anything
MASKED = 3000.0  # below the largest score; masks put -1e4 or less on what must not be seen
MAX_SAMPLES, MAX_HEADS, MAX_QUERIES = 2, 4, 64  # of opaque attention, whose weights are computed again
MAX_ROWS = 2048  # queries of a softmax that are looked at
_MIN_AXES = 2  # samples and keys; one query a sample needs no axis
_MASK, _IS_CAUSAL = 3, 5  # positions among the arguments of scaled_dot_product_attention
_HEAD_AXES = 4  # samples, heads, queries, keys


@dataclass(frozen=True, slots=True)
class AttentionNumbers:
    """The weights of one attention.

    Attributes:
        name: Name of the module it runs in.
        layers: Names of the layers that make its queries and keys.
        one_hot_share: Share of queries that look at one key alone, in [0, 1].
        deviation: Root mean square by which a weight differs from the even one, relative to it.
    """

    name: str
    layers: tuple[str, ...]
    one_hot_share: float
    deviation: float


@dataclass(frozen=True, slots=True)
class AttentionTable:
    """All attentions in the order of execution."""

    attentions: tuple[AttentionNumbers, ...]


@dataclass(slots=True)
class AttentionWeights:
    """Observes softmaxes and attention functions; `numbers()` fetches what they were reduced to."""

    _pending: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict[int, tuple[Tensor, Tensor]])

    def __call__(self, operation: Operation, call: Call) -> None:
        """Reduce the weights of an attention to two numbers."""
        if operation.name not in {"softmax", "scaled_dot_product_attention"} or not has_floats(call.outputs[0]):
            return
        with torch.no_grad():
            is_opaque = operation.name != "softmax"
            scores = scores_of_attention(call) if is_opaque else _scores_of_softmax(call)
            if scores is not None and scores.shape[-1] >= MIN_KEYS:
                self._pending[operation.index] = _reduced(scores.float())

    def numbers(self) -> dict[int, tuple[float, float]]:
        """Return one-hot share and deviation by the operation's index; attentions without long rows are left out."""
        flat = to_floats([each for pair in self._pending.values() for each in pair])
        pairs = zip(self._pending, flat[::2], flat[1::2], strict=True)
        return {index: (share, deviation) for index, share, deviation in pairs if not math.isnan(share)}


@probe(AttentionTable, AttentionWeights)
def measure_attention(evidence: Evidence) -> AttentionTable:
    """Measure how every attention spreads its weights."""
    operations = evidence.step.tape.operations
    readers = evidence.anatomy.readers
    found = {
        index: numbers
        for index, numbers in evidence.observer(AttentionWeights).numbers().items()
        if index in evidence.anatomy.flow.before
        and (operations[index].name != "softmax" or _weighs_values(operations, operations[index], readers))
        and (operations[index].name != "softmax" or _has_query_axis(evidence, index) or _compares(evidence, index))
    }
    if not found:
        raise NotMeasuredError("there is no attention over four keys or more")
    return AttentionTable(tuple(_numbers(evidence, index, pair) for index, pair in found.items()))


def _numbers(evidence: Evidence, index: int, pair: tuple[float, float]) -> AttentionNumbers:
    operations, label = evidence.step.tape.operations, evidence.step.tape.label
    before = evidence.anatomy.flow.before
    waiting, layers = list(before[index][:2]), list[str]()  # of an attention function queries and keys, not the values
    while waiting:
        node = waiting.pop(0)
        if operations[node].weights:
            layers.append(label(operations[node]))
        else:
            waiting.extend(each for each in before[node] if each not in waiting)
    layers = list(dict.fromkeys(layers))
    name = operations[index].module or (layers[0] if layers else label(operations[index]))
    return AttentionNumbers(name, tuple(layers), *pair)


def _weighs_values(
    operations: tuple[Operation, ...], softmax: Operation, readers: Mapping[int, tuple[int, ...]]
) -> bool:
    """Say whether the result of a softmax is multiplied with other data, as the weights of an attention are."""
    waiting = list(softmax.outputs)
    while waiting:
        value = waiting.pop()
        for index in readers.get(value, ()):
            reader = operations[index]
            if reader.name in PRODUCTS and len(set(reader.inputs)) > 1:
                return True
            if reader.name in TRANSPARENT:
                waiting.extend(reader.outputs)
    return False


def _has_query_axis(evidence: Evidence, index: int) -> bool:
    tape = evidence.step.tape
    return len(tape.values[tape.operations[index].outputs[0]].shape) > _MIN_AXES


def _compares(evidence: Evidence, index: int) -> bool:
    """Say whether the scores of a softmax are products of data with data; a router's are products with weights."""
    operations, before = evidence.step.tape.operations, evidence.anatomy.flow.before
    node = index
    while len(set(before[node])) == 1:
        (node,) = set(before[node])
        if operations[node].weights or operations[node].name in {"mean", "softmax"}:
            return False
    return operations[node].name in PRODUCTS | {"mul"} and len(set(operations[node].inputs)) > 1


def _scores_of_softmax(call: Call) -> Tensor | None:
    scores = call.inputs[0].detach()
    axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else -1)
    if scores.ndim < _MIN_AXES or axis not in {-1, scores.ndim - 1}:
        return None
    rows = scores.reshape(-1, scores.shape[-1])
    return rows[:: max(len(rows) // MAX_ROWS, 1)]


def scores_of_attention(call: Call) -> Tensor | None:
    """Compute the scores of some queries of some heads again."""
    query, key = call.args[:2] if len(call.args) > 1 else (call.kwargs["query"], call.kwargs["key"])
    if query.ndim == key.ndim == _HEAD_AXES - 1:
        query, key = query.unsqueeze(1), key.unsqueeze(1)  # one head
    if query.ndim != _HEAD_AXES or query.is_nested:
        return None
    samples = slice(0, MAX_SAMPLES)
    heads = torch.arange(0, query.shape[1], max(query.shape[1] // MAX_HEADS, 1))
    rows = torch.arange(0, query.shape[2], max(query.shape[2] // MAX_QUERIES, 1))
    some_keys = key.detach()[samples][:, heads * key.shape[1] // query.shape[1]]
    scale = call.kwargs.get("scale") or query.shape[-1] ** -0.5
    scores = query.detach()[samples][:, heads][:, :, rows].float() @ some_keys.float().transpose(-1, -2) * scale
    scores = _masked(scores, call, shape=(*query.shape[:3], key.shape[2]), chosen=(samples, heads, rows))
    return scores.reshape(-1, scores.shape[-1])


def _masked(scores: Tensor, call: Call, *, shape: tuple[int, ...], chosen: tuple[Any, Tensor, Tensor]) -> Tensor:
    samples, heads, rows = chosen
    mask = call.kwargs.get("attn_mask", call.args[_MASK] if len(call.args) > _MASK else None)
    is_causal = call.kwargs.get("is_causal", call.args[_IS_CAUSAL] if len(call.args) > _IS_CAUSAL else False)
    if is_causal:
        keys = torch.arange(shape[-1], device=scores.device)
        return scores.masked_fill(keys > rows.to(scores.device)[:, None], -torch.inf)
    if mask is None:
        return scores
    mask = mask.unsqueeze(1) if mask.ndim == _HEAD_AXES - 1 == call.outputs[0].ndim else mask
    part = mask.detach().broadcast_to(shape)[samples][:, heads][:, :, rows]
    return scores.masked_fill(~part, -torch.inf) if part.dtype == torch.bool else scores + part.float()


def _reduced(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of one-hot rows and the deviation from even rows, over rows with enough keys; NaN if none."""
    is_open = scores > scores.amax(-1, keepdim=True) - MASKED
    num_keys = is_open.sum(-1)
    is_long = num_keys >= MIN_KEYS
    weights = scores.softmax(-1)
    one_hot = (weights.amax(-1) > ONE_HOT) & is_long
    off = torch.where(is_open, weights * num_keys[:, None] - 1, 0.0).square().sum(-1) / num_keys.clamp(min=1)
    count = is_long.sum()
    return one_hot.sum() / count, (torch.where(is_long, off, 0.0).sum() / count).sqrt()
