"""Measures the Jacobian from input to output, and those from layer to layer, of a model as it runs on its batch."""

import math
import statistics
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isometry._errors import ModelError
from isometry._phrases import Phrase
from isometry.anatomy.record import recorded
from isometry.anatomy.recorder import Call
from isometry.anatomy.tape import Operation, Tape
from isometry.anatomy.task import Batch, Task, map_tensors, tensors_in
from isometry.probes.evidence import Evidence, NotMeasuredError
from isometry.probes.jacobian_result import JacobianResult, MeanField, Spectrum
from isometry.probes.prediction import predict
from isometry.probes.products import Product, couples_samples, dense, lanczos

NUM_SAMPLES = 4  # whose Jacobians are taken; a mean over more costs more and says little more
NUM_COUPLED = 16  # samples that influence one another, as under batch norm, whose deviation takes some
NUM_STEPS = 20  # of Lanczos for the whole network; its largest singular value is then known to a few per mille
NUM_LAYER_STEPS = 8  # the like between layers, whose spectra are plainer
MAX_SIDE = 256  # products for a dense Jacobian
MAX_ENTRIES = 2**22  # of the dense Jacobians of all samples, 32 MB
MAX_LAYERS = 32  # pairs of layers that are looked at, spread over the depth


def measure_jacobian(evidence: Evidence, *, num_vectors: int) -> JacobianResult:
    """Take the spectra of a task's Jacobians, on a few samples of its batch.

    Samples that do not influence one another count each; where they do, as under batch norm in training mode, the
    Jacobian is that of the whole batch. Dropout acts under the evidence's seed; nothing of the model is changed.

    Args:
        evidence: A recorded step of the task.
        num_vectors: Random directions for the spectra that are too large to compute densely, counts.

    Returns:
        The spectra, and theory beside them where the network is a plain stack.

    Raises:
        NotMeasuredError: If no way leads from a number of the batch to an output, or the backward pass has no
            derivative.

    Source:
        Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735, for what the spectrum says.
    """
    if evidence.is_meta or not evidence.is_finite:
        raise NotMeasuredError("the model has no numbers" if evidence.is_meta else "the loss is not finite")
    points = _points(evidence)
    theory, why_not = predict(evidence)
    with sdpa_kernel(SDPBackend.MATH):
        for count in (NUM_SAMPLES, NUM_COUPLED):
            with _captured(_few_samples(evidence.task, count), evidence, points) as seen:
                is_coupled = couples_samples(_whole(seen), seed=evidence.seed)
                if not is_coupled or count == NUM_COUPLED:
                    return _measure(seen, theory, why_not, num_vectors=num_vectors, is_coupled=is_coupled)
    raise AssertionError("the second count is measured whatever it shows")


@dataclass(slots=True)
class _Seen:
    """The tensors of one forward pass between which Jacobians are taken."""

    inputs: tuple[Tensor, ...]
    points: tuple[int, ...]
    outputs: dict[int, Tensor] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    seed: int = 0

    def __call__(self, operation: Operation, call: Call) -> Tensor | None:
        """Keep an output, and hand on a copy that may be written into."""
        if operation.index not in self.points:
            return None
        self.outputs[operation.index] = call.outputs[0]
        return call.outputs[0].clone() if len(call.outputs) == 1 else None  # recurrent layers return their state too


def _points(evidence: Evidence) -> tuple[int, ...]:
    """Return the layers and residual sums of the longest trunk that makes numbers with a gradient."""
    trunks = [[point for point in trunk if point in evidence.numbers] for trunk in evidence.anatomy.trunks]
    longest = max(trunks, key=len, default=[])
    if not longest:
        raise NotMeasuredError("no layer lies on every way from the input to the loss")
    return tuple(longest)


def _few_samples(task: Task, count: int) -> Task:
    """Return the task for its first samples, where its batch can be cut; else the task itself."""
    batch = task.batch
    if not isinstance(batch, Batch):
        return task
    lengths = {len(tensor) if tensor.ndim else 0 for tensor in tensors_in((batch.inputs, batch.targets))}
    if len(lengths) != 1 or max(lengths) <= count:
        return task

    def cut(thing: Any) -> Any:
        return map_tensors(thing, lambda tensor: tensor[:count])

    return replace(task, batch=Batch(cut(batch.inputs), cut(batch.targets)))


@contextmanager
def _captured(task: Task, evidence: Evidence, points: tuple[int, ...]) -> Generator[_Seen]:
    """Run the task on inputs whose gradients can be asked for."""
    leaves: list[Tensor] = []

    def follow(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    batch = task.batch
    if isinstance(batch, Batch):
        given: Any = Batch(map_tensors(batch.inputs, follow), batch.targets)
    else:
        given = map_tensors(batch, follow)
    seen = _Seen(tuple(leaves), points, seed=evidence.seed)
    try:
        with recorded(replace(task, batch=given), [seen], seed=evidence.seed) as tape:
            _name(seen, evidence.step.tape, tape)
            yield seen
    except ModelError as error:
        raise NotMeasuredError(
            Phrase("the model does not run on a part of its batch: {error}", error=str(error))
        ) from error


def _name(seen: _Seen, first: Tape, tape: Tape) -> None:
    for point in seen.points:
        names = [each.label(each.operations[point]) for each in (first, tape) if point < len(each.operations)]
        if len(set(names)) != 1 or point not in seen.outputs:
            raise NotMeasuredError("the model does other operations when it is run again")
        seen.names[point] = names[0]


def _whole(seen: _Seen) -> Product:
    """Return the Jacobian from the first input that leads to the output, or from the first layer's output."""
    target = seen.outputs[seen.points[-1]]
    if not target.requires_grad:
        raise NotMeasuredError("no gradient flows to the output")
    reached = (
        torch.autograd.grad(target.sum(), seen.inputs, retain_graph=True, materialize_grads=True) if seen.inputs else ()
    )
    source = next((leaf for leaf, found in zip(seen.inputs, reached, strict=True) if bool(found.any())), None)
    if source is None and len(seen.points) == 1:
        raise NotMeasuredError("no number of the batch leads to the output")
    return Product(seen.outputs[seen.points[0]] if source is None else source, target)


def _measure(
    seen: _Seen, theory: MeanField | None, why_not: str, *, num_vectors: int, is_coupled: bool
) -> JacobianResult:
    whole = _whole(seen)
    samples = 0 if is_coupled else len(whole.source)
    pairs = list(pairwise(seen.points))
    stride = max(math.ceil(len(pairs) / MAX_LAYERS), 1)

    def spectrum(product: Product, name: str, effort: _Effort) -> Spectrum:
        return _spectrum(product, name, effort=effort, num_samples=samples, seed=seen.seed)

    def between(start: int, end: int) -> Product:
        return Product(seen.outputs[start], seen.outputs[end])

    thorough = _Effort(num_vectors, NUM_STEPS)
    hidden = None
    if theory is not None and theory.hidden_mean_square is not None:
        hidden = spectrum(between(seen.points[0], seen.points[-2]), "first to last hidden layer", thorough)
    return JacobianResult(
        whole=spectrum(whole, "input to output", thorough),
        hidden=hidden,
        layers=tuple(
            spectrum(between(start, end), _between(seen, start, end), _Effort(1, NUM_LAYER_STEPS))
            for start, end in pairs[::stride]
        ),
        theory=theory,
        why_no_theory=why_not,
        num_samples=samples,
    )


def _between(seen: _Seen, start: int, end: int) -> Phrase:
    return Phrase("{first} to {last}", first=seen.names[start], last=seen.names[end])


@dataclass(frozen=True, slots=True)
class _Effort:
    """Random directions, and steps of Lanczos from each; counts."""

    num_vectors: int
    num_steps: int


def _spectrum(product: Product, name: str, *, effort: _Effort, num_samples: int, seed: int) -> Spectrum:
    side = min(product.num_inputs, product.num_outputs)
    entries = product.num_inputs * product.num_outputs / max(num_samples, 1)
    if num_samples and side <= MAX_SIDE * num_samples and entries <= MAX_ENTRIES:
        matrices = dense(product, num_samples=num_samples)
        each = torch.linalg.svdvals(matrices)
        values, squares = each.flatten().sort(descending=True).values, each.square()
        spreads = [_ratio(float(row.square().mean()), float(row.mean())) for row in squares]
        return Spectrum(
            name=name,
            largest=float(values[0]),
            smallest=float(values[-1]),
            mean_square=float(squares.sum()) / product.num_outputs,
            spread=statistics.fmean(spreads),
            values=tuple(values.tolist()),
        )
    ritz = lanczos(product, num_vectors=effort.num_vectors, num_steps=effort.num_steps, seed=seed)
    return Spectrum(
        name=name,
        largest=math.sqrt(ritz.nodes[0]),
        smallest=math.sqrt(ritz.nodes[-1]) if ritz.is_exact else None,
        mean_square=ritz.mean * side / product.num_outputs,
        spread=_ratio(ritz.mean_square, ritz.mean),
        density=tuple(zip(ritz.nodes, ritz.weights, strict=True)),
    )


def _ratio(mean_square: float, mean: float) -> float:
    """Return the variance over the squared mean; 0 where all is zero."""
    return mean_square / mean**2 - 1 if mean > 0 else 0.0
