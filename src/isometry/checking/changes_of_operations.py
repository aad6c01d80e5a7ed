"""Experiments that exchange the results of operations: an activation inserted, operands kept off an edge."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from isometry._phrases import Phrase
from isometry.anatomy.recorder import Call
from isometry.anatomy.substitution import with_substitution
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task
from isometry.checking.change import Change
from isometry.probes.evidence import Evidence, measure
from isometry.probes.guarded import GUARDED
from isometry.probes.nonfinite import NonFiniteOrigin
from isometry.report.finding import Finding

BOUNDED = frozenset({"sigmoid", "tanh"})
MAX_SHARE = 0.5  # of an activation's outputs that are saturated
FLAT = frozenset({"detach", "data", "sign", "round", "floor", "ceil", "heaviside"})


def nonlinearity_inserted(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield a ReLU behind each layer that a finding names and that another layer follows."""
    layers = [
        layer
        for layer in evidence.anatomy.layers
        if layer.name in finding.where and layer.activation_after is None and not layer.is_head
    ]
    if layers:
        first = layers[0].name
        behind = frozenset(layer.operation for layer in layers)
        is_attribute = all(part.isidentifier() for part in first.split("."))
        yield Change(
            words=Phrase("a ReLU behind {name}", name=repr(first))
            if len(behind) == 1
            else Phrase("a ReLU behind {count} layers", count=len(behind)),
            make=lambda: _exchanged(evidence.task, behind, lambda _, call: torch.relu(call.outputs[0])),
            is_evident=True,
            suggestion=f"x = F.relu(self.{first}(x))"
            if is_attribute
            else Phrase("nn.ReLU() behind layer {name!r}", name=first),
        )


def activation_cooled(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield activations that are saturated with what they read divided by its deviation; of attention, the scores."""
    tape, numbers = evidence.step.tape, evidence.numbers
    is_attention = "scores" in finding.remedy.suggestion
    hot = [
        each
        for each in tape.operations
        if (is_attention and each.name == "softmax")
        or (each.name in BOUNDED and each.index in numbers and (numbers[each.index].saturated_share or 0) > MAX_SHARE)
    ]
    sources = frozenset(tape.values[value].producer for each in hot for value in each.inputs[:1]) - {None}
    if sources:
        yield Change(
            words=Phrase("what {operation} reads divided by its deviation", operation=hot[0].name),
            make=lambda: with_substitution(
                evidence.task, lambda seen, call: _of_deviation_one(call) if seen.index in sources else None
            ),
        )


def operand_guarded(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield what keeps operands inside their domains: at the operation that made a NaN or an infinity, then at all."""
    origin = measure(evidence, NonFiniteOrigin)
    tape = evidence.step.tape
    risky = [each for each in tape.operations if each.name in GUARDED]
    guilty = [each for each in risky if each.name == origin.operation and tape.label(each) == origin.where]
    if guilty:
        words = Phrase("what {operation} reads kept off the edge", operation=origin.operation)
        yield _guarding(evidence.task, frozenset({guilty[0].index}), words)
    # Of a quotient with a number the tape does not tell which of the two was divided.
    certain = frozenset(each.index for each in risky if each.name != "div" or len(each.inputs) > 1)
    if certain:
        words = Phrase("what logarithms, roots and quotients read kept off the edge")
        yield _guarding(evidence.task, certain, words)


def gradient_let_through(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the way round operations without a derivative: their result with the slope of the identity."""
    operations = evidence.step.tape.operations
    flat = frozenset(each.index for each in operations if each.name in FLAT and each.inputs)
    names = [name for name in sorted({operations[index].name for index in flat}) if name in finding.cause]
    if names:
        yield Change(
            words=Phrase("the gradient let through {name}", name=names[0]),
            make=lambda: _exchanged(evidence.task, flat, lambda _, call: _straight_through(call)),
        )


def _of_deviation_one(call: Call) -> Tensor:
    output = call.outputs[0]
    known = output.detach()[output.detach().isfinite()]  # scores may be masked
    return output / known.std().clamp_min(1.0)


def _guarding(task: Task, indices: frozenset[int], words: Phrase) -> Change:
    def put(operation: Operation, call: Call) -> Tensor | None:
        return GUARDED[operation.name](call) if operation.name in GUARDED else None

    return Change(words=words, make=lambda: _exchanged(task, indices, put))


def _exchanged(task: Task, indices: frozenset[int], result: Callable[[Operation, Call], Tensor | None]) -> Task:
    """Return a task with the results of some operations exchanged."""
    return with_substitution(
        task, lambda operation, call: result(operation, call) if operation.index in indices else None
    )


def _straight_through(call: Call) -> Tensor | None:
    source, result = call.inputs[0], call.outputs[0]
    return source + (result - source).detach() if source.is_floating_point() else None
