"""Experiments at the loss: what it compares is exchanged, an activation at the output or the targets."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from isometry._phrases import Phrase
from isometry.anatomy.operations import TRANSPARENT
from isometry.anatomy.recorder import Call
from isometry.anatomy.substitution import with_substitution
from isometry.anatomy.tape import Operation, Tape
from isometry.checking.change import Change
from isometry.probes.comparisons import THIRD, Comparison, ComparisonTable
from isometry.probes.evidence import Evidence, measure
from isometry.report.finding import Finding

OUTPUT_ACTIVATIONS = frozenset(
    {"exp", "hardsigmoid", "log_sigmoid", "logsigmoid", "log_softmax", "relu", "relu6", "sigmoid"}
    | {"softmax", "softmin", "softplus", "tanh"}
)
LOG_PROBABILITIES = frozenset({"log-classes", "divergence"})  # families of losses that take them
INSTEAD = {
    "nll_loss": Phrase("nn.CrossEntropyLoss() instead of nn.NLLLoss()"),
    "binary_cross_entropy": Phrase("nn.BCEWithLogitsLoss() instead of nn.BCELoss()"),
}
LOGITS = {
    "cross_entropy": Phrase("nn.CrossEntropyLoss takes logits: "),
    "binary_cross_entropy_with_logits": Phrase("nn.BCEWithLogitsLoss takes logits: "),
}
TINY = 1e-8  # deviation below which numbers are constant; in double precision rounding stays far below

Result = Callable[[Call], Tensor | None]


def output_exchanged(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield what puts right an activation at the output that does not suit the loss."""
    comparisons = measure(evidence, ComparisonTable).comparisons
    for comparison in sorted(comparisons, key=lambda each: each.family == "log-softmax")[:1]:
        activation = _activation_before(evidence.step.tape, comparison)
        wanted = _wanted(comparison)
        if wanted is None and activation is not None:
            yield _left_out(evidence, comparison, activation)
        elif wanted is not None:
            yield (
                _inserted(evidence, comparison, wanted)
                if activation is None
                else _swapped(evidence, activation, wanted)
            )


def _left_out(evidence: Evidence, comparison: Comparison, activation: Operation) -> Change:
    place = _place(evidence.step.tape, activation)
    head = LOGITS.get(comparison.name, Phrase("return the last layer's output itself: "))
    return _at(
        evidence,
        activation,
        lambda call: call.inputs[0],
        words=Phrase("the {old} at the output left out", old=activation.name),
        suggestion=Phrase("{head}leave out the {old} ({place})", head=head, old=activation.name, place=place),
        keeps_loss=True,
    )


def _swapped(evidence: Evidence, activation: Operation, wanted: str) -> Change:
    old, place = activation.name, _place(evidence.step.tape, activation)
    is_other_axis = wanted == old
    words = Phrase("{new} in the place of {old}", new=wanted, old=old)
    suggestion = Phrase("{place}: {new} instead of {old}", place=place, new=wanted, old=old)
    return _at(
        evidence,
        activation,
        lambda call: _applied(wanted, call.inputs[0]),
        words=Phrase("{new} over the classes", new=wanted) if is_other_axis else words,
        suggestion=Phrase("{place}: {new}(dim=1)", place=place, new=wanted) if is_other_axis else suggestion,
        keeps_loss=False,
    )


def _inserted(evidence: Evidence, comparison: Comparison, wanted: str) -> Change:
    """Return the activation that a loss needs and that no layer applies."""
    return _at(
        evidence,
        evidence.step.tape.operations[comparison.operation],
        lambda call: _compared(call, comparison, outputs=_applied(wanted, _operands(call, comparison)[0])),
        words=Phrase("{new} put before the loss", new=wanted),
        suggestion=INSTEAD.get(comparison.name, Phrase("{new} before the loss", new=wanted)),
        keeps_loss=False,
    )


def targets_reshaped(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the targets in the shape of the outputs."""
    for comparison in measure(evidence, ComparisonTable).comparisons:
        targets = comparison.targets
        if targets is None or tuple(targets.shape) == comparison.shape or targets.numel() == 0:
            continue
        axes = len(comparison.shape)
        yield _with_targets(
            evidence,
            comparison,
            lambda target, outputs: target.reshape(outputs.shape) if target.numel() == outputs.numel() else None,
            words=Phrase("the targets in the shape of the outputs"),
            suggestion="loss(outputs, targets.unsqueeze(1))"
            if axes > targets.ndim
            else "loss(outputs.squeeze(1), ...)",
        )


def targets_in_domain(_: Finding, evidence: Evidence) -> Iterator[Change]:
    """Yield the targets moved into the domain of the loss."""
    for comparison in measure(evidence, ComparisonTable).comparisons:
        if comparison.family in _INTO_DOMAIN and comparison.targets is not None:
            function, words, suggestion = _INTO_DOMAIN[comparison.family]
            yield _with_targets(
                evidence, comparison, lambda target, _, into=function: into(target), words=words, suggestion=suggestion
            )


def targets_standardised(evidence: Evidence) -> Iterator[Change]:
    """Yield the targets of a regression at mean 0 and deviation 1."""
    for comparison in measure(evidence, ComparisonTable).comparisons:
        targets = comparison.targets
        if comparison.family == "distance" and targets is not None and targets.ndim and len(targets) > 1:
            yield _with_targets(
                evidence,
                comparison,
                lambda target, outputs: _standardised(target).to(outputs.dtype),
                words=Phrase("the targets standardised"),
                suggestion=f"y = targets.double(); targets = ((y - y.mean(0)) / y.std(0).clamp_min({TINY:g})).float()",
            )


def _standardised(target: Tensor) -> Tensor:
    y = target.double()
    return (y - y.mean(0)) / y.std(0).clamp_min(TINY)


def _with_targets(
    evidence: Evidence,
    comparison: Comparison,
    changed: Callable[[Tensor, Tensor], Tensor | None],
    *,
    words: Phrase,
    suggestion: str,
) -> Change:
    def put(call: Call) -> Tensor | None:
        first, second = _operands(call, comparison)
        if comparison.is_by_hand and second.requires_grad:
            target = changed(first, second)
            return None if target is None else target - second
        target = changed(second, first)
        return None if target is None else _compared(call, comparison, target=target)

    operation = evidence.step.tape.operations[comparison.operation]
    return _at(evidence, operation, put, words=words, suggestion=suggestion, keeps_loss=False)


def _compared(
    call: Call, comparison: Comparison, *, outputs: Tensor | None = None, target: Tensor | None = None
) -> Tensor:
    """Return the loss of other outputs, or of other targets."""
    first, second = _operands(call, comparison)
    outputs = first if outputs is None else outputs
    target = second if target is None else target
    if comparison.is_by_hand:
        return outputs - target
    place = _target_place(comparison)
    rest = {key: value for key, value in call.kwargs.items() if key not in {"input", "target"}}
    function = getattr(functional, comparison.name)
    return function(outputs, *call.args[1:place], target, *call.args[place + 1 :], **rest)


def _operands(call: Call, comparison: Comparison) -> tuple[Tensor, Tensor]:
    place = _target_place(comparison)
    first = call.args[0] if call.args else call.kwargs["input"]
    return first, call.args[place] if len(call.args) > place else call.kwargs["target"]


def _target_place(comparison: Comparison) -> int:
    return 2 if comparison.name in THIRD else 1


def _at(
    evidence: Evidence, operation: Operation, result: Result, *, words: Phrase, suggestion: str, keeps_loss: bool
) -> Change:
    def put(seen: Operation, call: Call) -> Tensor | None:
        is_meant = seen.index == operation.index and seen.name == operation.name
        return result(call) if is_meant else None

    return Change(
        words=words,
        make=lambda: with_substitution(evidence.task, put),
        is_evident=True,
        keeps_loss=keeps_loss,
        suggestion=suggestion,
    )


def _wanted(comparison: Comparison) -> str | None:
    """Return the activation that a loss needs, None where it takes any number."""
    if comparison.family in LOG_PROBABILITIES:
        return "log_softmax"
    return "sigmoid" if comparison.name == "binary_cross_entropy" else None


def _applied(activation: str, logits: Tensor) -> Tensor:
    if activation == "sigmoid":
        return torch.sigmoid(logits)
    return torch.log_softmax(logits, 1 if logits.ndim > 1 else 0)


def _activation_before(tape: Tape, comparison: Comparison) -> Operation | None:
    """Return the activation that made what a loss reads, through reshapes."""
    value = comparison.prediction
    while value is not None:
        producer = tape.values[value].producer
        if producer is None:
            return None
        operation = tape.operations[producer]
        if operation.name not in TRANSPARENT or not operation.inputs:
            return operation if operation.name in OUTPUT_ACTIVATIONS else None
        value = operation.inputs[0]
    return None


def _place(tape: Tape, operation: Operation) -> Phrase:
    is_own = operation.module and not any(each.module == operation.module for each in tape.operations if each.weights)
    return Phrase("module {name!r}", name=operation.module) if is_own else Phrase("the last line of forward()")


def _between_0_and_1(target: Tensor) -> Tensor:
    low, high = target.min(), target.max()
    return (target - low) / (high - low).clamp_min(TINY)


_INTO_DOMAIN: dict[str, tuple[Callable[[Tensor], Tensor], Phrase, str]] = {
    "binary": (
        _between_0_and_1,
        Phrase("the targets moved into [0, 1]"),
        "targets = (targets - targets.min()) / (targets.max() - targets.min())",
    ),
    "margin": (
        lambda target: 2 * (target > target.float().mean()).to(target.dtype) - 1,
        Phrase("the targets at -1 and 1"),
        "targets = 2 * targets - 1",
    ),
    "rate": (
        lambda target: target - target.min(),
        Phrase("the targets at least 0"),
        "nn.MSELoss() instead of nn.PoissonNLLLoss()",
    ),
    "divergence": (
        lambda target: target.clamp_min(0) / target.clamp_min(0).sum(-1, keepdim=True).clamp_min(TINY),
        Phrase("the targets at a sum of 1"),
        "targets = targets / targets.sum(-1, keepdim=True)",
    ),
}
