"""Experiments that exchange the results of operations: activations dropped or inserted, operands kept off an edge."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from isometry.anatomy.operations import TRANSPARENT
from isometry.anatomy.recorder import Call
from isometry.anatomy.substitution import with_substitution
from isometry.anatomy.tape import Operation, Tape
from isometry.checking.change import Change
from isometry.probes.evidence import Evidence, measure
from isometry.probes.guarded import GUARDED
from isometry.probes.nonfinite import NonFiniteOrigin
from isometry.report.finding import Finding
from isometry.report.phrases import Phrase

LOSSES = frozenset(
    {
        "cross_entropy",
        "nll_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
        "kl_div",
    }
)
OUTPUT_ACTIVATIONS = frozenset(
    {
        "softmax",
        "log_softmax",
        "sigmoid",
        "log_sigmoid",
        "logsigmoid",
        "tanh",
        "relu",
        "softplus",
        "hardsigmoid",
        "relu6",
    }
)
FLAT = frozenset({"detach", "data", "sign", "round", "floor", "ceil", "heaviside"})

Result = Callable[[Call], Tensor]


def output_exchanged(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield what may put right an activation at the output that does not suit the loss."""
    tape = evidence.step.tape
    loss = next((each for each in reversed(tape.operations) if each.name in LOSSES), None)
    activation = _output_activation(tape, loss)
    if activation is not None:
        yield from _dropped_or_exchanged(evidence, activation, "" if loss is None else loss.name)
    elif loss is not None:
        yield from _inserted_before(evidence, loss)


def _dropped_or_exchanged(evidence: Evidence, activation: Operation, loss: str) -> Iterator[Change]:
    wanted = {"nll_loss": "log_softmax", "binary_cross_entropy": "sigmoid"}.get(loss)
    if wanted is not None and wanted != activation.name:
        yield _exchange(
            evidence,
            activation,
            _ACTIVATIONS[wanted],
            words=Phrase("{new} in the place of {old}", new=wanted, old=activation.name),
            suggestion=f"{_place(evidence.step.tape, activation)}: {wanted} instead of {activation.name}",
        )
        return
    yield _exchange(
        evidence,
        activation,
        _identity,
        words=Phrase("the {old} at the output left out", old=activation.name),
        suggestion=_advice(activation.name, loss, _place(evidence.step.tape, activation)),
    )


def _inserted_before(evidence: Evidence, loss: Operation) -> Iterator[Change]:
    wanted = {"nll_loss": "log_softmax", "binary_cross_entropy": "sigmoid"}.get(loss.name)
    producer = _producer(evidence.step.tape, loss)
    if wanted is None or producer is None:
        return
    instead = {"log_softmax": "nn.CrossEntropyLoss()", "sigmoid": "nn.BCEWithLogitsLoss()"}[wanted]
    old = {"log_softmax": "nn.NLLLoss()", "sigmoid": "nn.BCELoss()"}[wanted]
    function = _ACTIVATIONS[wanted]
    yield _exchange(
        evidence,
        producer,
        lambda call: function(Call((), {}, (call.outputs[0],), call.outputs)),
        words=Phrase("{new} put before the loss", new=wanted),
        suggestion=f"{instead} instead of {old}",
    )


def nonlinearity_inserted(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield a ReLU behind each layer that a finding names and that another layer follows."""
    behind = {
        layer.operation
        for layer in evidence.anatomy.layers
        if layer.name in finding.where and layer.activation_after is None and not layer.is_head
    }
    if behind:
        first = next(layer.name for layer in evidence.anatomy.layers if layer.operation in behind)
        task = evidence.task
        yield Change(
            words=Phrase("a ReLU behind {name}", name=repr(first))
            if len(behind) == 1
            else Phrase("a ReLU behind {count} layers", count=len(behind)),
            make=lambda: with_substitution(
                task, lambda operation, call: torch.relu(call.outputs[0]) if operation.index in behind else None
            ),
            is_evident=True,
            suggestion=f"x = F.relu(self.{first}(x))" if _is_attribute(first) else f"nn.ReLU() behind layer {first!r}",
        )


def operand_guarded(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield what keeps the operand of an operation that made a NaN or an infinity inside its domain."""
    origin = measure(evidence, NonFiniteOrigin)
    tape = evidence.step.tape
    guilty = next(
        (each for each in tape.operations if each.name == origin.operation and tape.label(each) == origin.where), None
    )
    if guilty is not None and guilty.name in GUARDED:
        safe = GUARDED[guilty.name]
        words = Phrase("what {operation} reads kept off the edge", operation=guilty.name)
        yield _exchange(evidence, guilty, safe, words=words, suggestion="")


def gradient_let_through(finding: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the way round operations without a derivative: their result with the slope of the identity."""
    tape = evidence.step.tape
    flat = {each.index for each in tape.operations if each.name in FLAT and each.inputs}
    names = sorted({tape.operations[index].name for index in flat})
    if flat and any(name in finding.cause for name in names):
        task = evidence.task
        yield Change(
            words=Phrase("the gradient let through {name}", name=names[0]),
            make=lambda: with_substitution(
                task, lambda operation, call: _straight_through(call) if operation.index in flat else None
            ),
        )


def _straight_through(call: Call) -> Tensor | None:
    source, result = call.inputs[0], call.outputs[0]
    return source + (result - source).detach() if source.is_floating_point() else None


def _exchange(evidence: Evidence, operation: Operation, result: Result, *, words: Phrase, suggestion: str) -> Change:
    def put(seen: Operation, call: Call) -> Tensor | None:
        is_meant = seen.index == operation.index and seen.name == operation.name
        return result(call) if is_meant else None

    return Change(
        words=words, make=lambda: with_substitution(evidence.task, put), is_evident=True, suggestion=suggestion
    )


def _output_activation(tape: Tape, loss: Operation | None) -> Operation | None:
    """Return the activation that made what the loss reads; the last one behind the last layer for unknown losses."""
    if loss is not None:
        producer = _producer(tape, loss)
        return producer if producer is not None and producer.name in OUTPUT_ACTIVATIONS else None
    last = max((each.index for each in tape.operations if each.weights), default=len(tape.operations))
    behind = [each for each in tape.operations[last + 1 :] if each.name in OUTPUT_ACTIVATIONS]
    return behind[0] if behind else None


def _producer(tape: Tape, loss: Operation) -> Operation | None:
    """Return the operation that made a loss's first operand, through reshapes."""
    value = loss.inputs[0] if loss.inputs else None
    while value is not None:
        producer = tape.values[value].producer
        if producer is None:
            return None
        operation = tape.operations[producer]
        if operation.name not in TRANSPARENT or not operation.inputs:
            return operation
        value = operation.inputs[0]
    return None


def _place(tape: Tape, operation: Operation) -> str:
    is_own = operation.module and not any(each.module == operation.module for each in tape.operations if each.weights)
    return f"module {operation.module!r}" if is_own else "the last line of forward()"


def _advice(activation: str, loss: str, place: str) -> str:
    if loss == "cross_entropy":
        return f"nn.CrossEntropyLoss takes logits: leave out the {activation} ({place})"
    if loss == "binary_cross_entropy_with_logits":
        return f"nn.BCEWithLogitsLoss takes logits: leave out the {activation} ({place})"
    return f"return the last layer's output itself: leave out the {activation} ({place})"


def _is_attribute(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _identity(call: Call) -> Tensor:
    return call.inputs[0]


_ACTIVATIONS: dict[str, Result] = {
    "log_softmax": lambda call: torch.log_softmax(call.inputs[0], 1 if call.inputs[0].ndim > 1 else 0),
    "sigmoid": lambda call: torch.sigmoid(call.inputs[0]),
}
