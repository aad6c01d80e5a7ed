"""Zeros by design: which parts of a network are silent at the first step only, because a zero on the way learns.

The end of a residual branch, ReZero's scale, LoRA's second factor, the last layer of a flow's coupling, one of
word2vec's two embeddings: each is zero, gets a gradient, and opens the way for what lies before or beside it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.anatomy.operations import PRODUCTS
from isometry.anatomy.preserve import has_numbers
from isometry.probes.evidence import Evidence, probe, structural
from isometry.probes.statistics import OutputNumbers

FIRST = 64  # entries looked at before all are, counts
MULTIPLIES = PRODUCTS | {"mul", "scaled_dot_product_attention", "dot", "inner", "outer"}


@structural
@dataclass(frozen=True, slots=True)
class Openings:
    """The operations that a learning zero keeps silent.

    Attributes:
        behind: Those whose output is exactly zero because of it.
        before: Those whose gradient is exactly zero because of it, and that it opens the way for.
    """

    behind: frozenset[int]
    before: frozenset[int]


@probe(Openings)
def find_openings(evidence: Evidence) -> Openings:
    """Return what a parameter of zeros that gets a gradient keeps silent at the first step."""
    flow, operations = evidence.anatomy.flow, evidence.step.tape.operations
    moved = {name for name in evidence.step.gradients if _is_zero_but_moved(evidence, name)}
    opens = {
        node
        for node in flow.nodes
        if any(use.role != "bias" and not moved.isdisjoint(use.names) for use in operations[node].parameters)
    }
    behind: set[int] = set()
    for node in flow.nodes:
        reads_silence = not behind.isdisjoint(flow.before[node])
        if (node in opens or reads_silence) and (evidence.numbers.get(node) or OutputNumbers()).rms in {0.0, None}:
            behind.add(node)
        if reads_silence and operations[node].name in MULTIPLIES:
            opens.add(node)  # the other factor waits for this one
    before: set[int] = set()
    for node in reversed(flow.nodes):
        if node in opens or not before.isdisjoint(flow.after[node]):
            before.add(node)
    return Openings(frozenset(behind), frozenset(before))


def is_zero(evidence: Evidence, name: str) -> bool:
    """Say whether all entries of a parameter are zero."""
    tensors = evidence.step.names.parameters[name]
    return any(not has_nonzero(tensor) for tensor in tensors if has_numbers(tensor))


def has_nonzero(tensor: Tensor) -> bool:
    """Say whether any entry of a tensor is not zero; most have one among the first, and the others are not read."""
    tensor = tensor.detach()
    if (
        tensor.layout == torch.strided
        and tensor.ndim > 0
        and bool(tensor[(0,) * (tensor.ndim - 1)][:FIRST].ne(0).any())
    ):
        return True
    return bool(tensor.ne(0).any())


def _is_zero_but_moved(evidence: Evidence, name: str) -> bool:
    gradients = [gradient for gradient in evidence.step.gradients[name] if gradient is not None]
    return is_zero(evidence, name) and any(has_nonzero(gradient) for gradient in gradients)
