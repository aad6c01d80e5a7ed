"""Every parameter and buffer of a model: what a plan says of it, how often it is written, and what it holds."""

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from isometry._errors import PlanError
from isometry._memory import has_memory
from isometry.anatomy.names import ParameterNames, canonical, is_writable, names_of, owner_of
from isometry.fills.distributions import Constant
from isometry.fills.fill import fill
from isometry.fills.streams import Stream
from isometry.planning.bounds import Bounds, Moments, bounds_of, moments_of
from isometry.planning.plan import Draw, Plan, PlanEntry
from isometry.probes.contents import TensorNumbers, has_one_huge_value, is_huge, looks_unwritten, numbers_of
from isometry.probes.evidence import Evidence, NotMeasuredError, probe

Kind = Literal["parameter", "frozen parameter", "buffer", "non-persistent buffer"]
Memory = Literal["real", "meta", "lazy", "opaque"]
INEXACT = 1e-5  # of the root mean square; what draws that are not exact agree to on two machines


@dataclass(frozen=True, slots=True)
class Replay:
    """The numbers that the plan would write against those that are there.

    Attributes:
        num_different: Elements that differ, counts.
        tolerance: What they may differ by, in units of the root mean square; 0 means equal bits.
    """

    num_different: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRow:
    """One tensor of a model.

    Attributes:
        name: Canonical name; a tied weight stands under its first name.
        kind: What the module registered it as.
        shape: Its shape.
        memory: Whether it has numbers; `lazy` ones get theirs at the first forward pass, those of `opaque` ones, such
            as sparse and nested tensors, are not read.
        is_obeyed: Whether the plan's numbers are what is read later; a spectral norm, for one, overrules them.
        entry: What the plan decides on it; None without a plan, or if the plan does not know it.
        writers: Names under which the plan's entries write into this tensor's memory.
        numbers: What it holds; None if it holds no floating-point numbers.
        is_mask: Whether all of its numbers of absurd size are one and the same, as in a mask.
        moments: Of what the plan draws from, where its elements are independent.
        bounds: Where the numbers lie that are drawn so.
        replay: The plan's numbers against these; None without a seed.
        is_unwritten: Whether finite numbers in it look like bits of something else.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    memory: Memory
    is_obeyed: bool
    entry: PlanEntry | None
    writers: tuple[str, ...]
    numbers: TensorNumbers | None
    is_mask: bool
    moments: Moments | None
    bounds: Bounds | None
    replay: Replay | None
    is_unwritten: bool = False

    @property
    def rule(self) -> str:
        """The plan's scheme, `keep`, or nothing."""
        return "" if self.entry is None else self.entry.scheme

    @property
    def constant(self) -> float | None:
        """The number that the plan sets every element to, if it does and is obeyed."""
        action = None if self.entry is None or not self.is_obeyed else self.entry.action
        if isinstance(action, Draw) and isinstance(action.distribution, Constant):
            return action.distribution.value
        return None

    @property
    def is_drawn(self) -> bool:
        """Whether the plan writes it."""
        return self.entry is not None and self.entry.is_written


@dataclass(frozen=True, slots=True)
class Inventory:
    """All tensors of a model, parameters first, in the order of the model.

    Attributes:
        rows: One for each.
        has_run: Whether the model ran on a batch as well, which tells where a NaN comes from.
    """

    rows: tuple[InventoryRow, ...]
    has_run: bool = False


@probe(Inventory)
def measure_inventory(evidence: Evidence) -> Inventory:
    """Take the inventory of a task's model, for rules that hold without a plan."""
    if not evidence.task.is_fresh:
        raise NotMeasuredError("the weights are pretrained, and training may leave anything in them")
    return replace(take_inventory(evidence.task.model), has_run=True)


def take_inventory(model: nn.Module, plan: Plan | None = None, *, seed: int | None = None) -> Inventory:
    """Measure every parameter and buffer of a model, each once; nothing in it is changed.

    Args:
        model: The model.
        plan: What should have been written into it.
        seed: The seed that the plan was applied with; the plan's numbers are then drawn again, one tensor at a time,
            and compared.

    Returns:
        A row for each, parameters first.

    Raises:
        PlanError: If the plan names a parameter that the model lacks, or one of another shape.
    """
    names = names_of(model)
    entries = _entries_by_name(names, plan)
    tensors = weights_of(model, names)
    writers = _writers(names, tensors, entries)
    parts: list[tuple[str, Kind, Tensor]] = [(name, _kind(tensor), tensor) for name, tensor in tensors.items()]
    parts += list(_buffers(model))
    numbers = numbers_of([tensor for _, _, tensor in parts])
    tests = sum(isinstance(entry.action, Draw) for group in entries.values() for entry in group)
    rows: list[InventoryRow] = []
    for (name, kind, tensor), found in zip(parts, numbers, strict=True):
        entry = next(iter(entries.get(name, ())), None) if kind.endswith("parameter") else None
        is_parametrised = name in names.parametrised
        is_obeyed = entry is not None and (not is_parametrised or is_writable(model, name))
        moments = _moments(entry, tensor) if entry is not None and is_obeyed else None
        rows.append(
            InventoryRow(
                name=name,
                kind=kind,
                shape=_shape(tensor),
                memory=_memory(tensor),
                is_obeyed=is_obeyed,
                entry=entry,
                writers=writers.get(name, ()) if kind.endswith("parameter") else (),
                numbers=found,
                is_unwritten=found is not None and _is_odd(found) and looks_unwritten(tensor),
                is_mask=found is not None and is_huge(found) and has_one_huge_value(tensor),
                moments=moments,
                bounds=None if moments is None or found is None else _bounds(moments, found, tensor, tests=tests),
                replay=_replay(entry, tensor, seed, is_parametrised=is_parametrised)
                if seed is not None and entry is not None and found is not None and is_obeyed
                else None,
            )
        )
    return Inventory(tuple(rows))


def _is_odd(numbers: TensorNumbers) -> bool:
    return is_huge(numbers) or numbers.num_subnormal > 0


def _moments(entry: PlanEntry, tensor: Tensor) -> Moments | None:
    """Return the moments of the elements that an entry draws, of complex ones those of their parts."""
    if not isinstance(entry.action, Draw):
        return None
    distribution = entry.action.distribution
    if not tensor.is_complex():
        return moments_of(distribution)
    real, imaginary = distribution.parts()
    return moments_of(real) if real == imaginary else None


def _bounds(moments: Moments, numbers: TensorNumbers, tensor: Tensor, *, tests: int) -> Bounds:
    return bounds_of(moments, numbers.size, tests=tests, dtype=tensor.dtype.to_real())


def weights_of(model: nn.Module, names: ParameterNames) -> dict[str, Tensor]:
    """Return the parameters by canonical name, what a parametrisation computes in the place of its parts."""
    return {
        name: _computed(model, name) if name in names.parametrised else tensors[0]
        for name, tensors in names.parameters.items()
    }


def _computed(model: nn.Module, name: str) -> Tensor:
    """Return what a parametrisation computes; in eval mode, since spectral norm moves its buffers in training."""
    module, attribute = owner_of(model, name)
    chain = cast("nn.ModuleDict", module.parametrizations)[attribute]
    with torch.no_grad(), _evaluating(chain):
        computed: Tensor = getattr(module, attribute)
    return computed.detach().requires_grad_(any(part.requires_grad for part in chain.parameters()))


@contextmanager
def _evaluating(module: nn.Module) -> Generator[None]:
    modes = [(each, each.training) for each in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _kind(tensor: Tensor) -> Kind:
    return "parameter" if tensor.requires_grad else "frozen parameter"


def _memory(tensor: Tensor) -> Memory:
    if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
        return "lazy"
    if tensor.is_meta:
        return "meta"
    return "real" if has_memory(tensor) else "opaque"


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape; nothing for tensors that have none yet, or several."""
    return () if _memory(tensor) == "lazy" or tensor.is_nested else tuple(tensor.shape)


def _buffers(model: nn.Module) -> Iterator[tuple[str, Kind, Tensor]]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        for attribute, buffer in module.named_buffers(recurse=False):
            if id(buffer) not in seen:
                seen.add(id(buffer))
                is_saved = attribute not in vars(module)["_non_persistent_buffers_set"]
                kind: Kind = "buffer" if is_saved else "non-persistent buffer"
                yield canonical(f"{path}.{attribute}" if path else attribute), kind, buffer


def _entries_by_name(names: ParameterNames, plan: Plan | None) -> dict[str, list[PlanEntry]]:
    """Return the plan's entries under the first name of what they write, checked against the model."""
    first_of = {other: first for first, others in names.ties.items() for other in others}
    found: dict[str, list[PlanEntry]] = {}
    for entry in () if plan is None else plan.entries:
        name = first_of.get(entry.parameter, entry.parameter)
        if name not in names.parameters:
            raise PlanError(
                f"the plan decides on {entry.parameter!r}, which the model lacks. "
                "Audit a model of the class and settings that the plan was made for."
            )
        tensor = max(names.parameters[name], key=Tensor.numel)
        if _memory(tensor) != "lazy" and _shape(tensor) != entry.shape:
            raise PlanError(
                f"{entry.parameter!r} has shape {_shape(tensor)}, but the plan was made for {entry.shape}. "
                "Audit a model of the settings that the plan was made for."
            )
        found.setdefault(name, []).append(entry)
    return found


def _writers(
    names: ParameterNames, tensors: Mapping[str, Tensor], entries: Mapping[str, Sequence[PlanEntry]]
) -> dict[str, tuple[str, ...]]:
    """Return for each parameter the entries that write its memory, its own and those of parameters that overlap it."""
    own = {name: [entry.parameter for entry in entries.get(name, ()) if entry.is_written] for name in tensors}
    found = {name: tuple(writers) for name, writers in own.items()}
    by_memory: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if name not in names.parametrised and has_memory(tensor) and tensor.numel():
            by_memory.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    for group in by_memory.values():
        for one, other in _overlapping({name: tensors[name] for name in group}):
            found[one] += tuple(own[other])
            found[other] += tuple(own[one])
    return found


def _overlapping(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Yield the pairs that have an element in common, of tensors of one memory; neighbours alone are compared."""
    spans = sorted((_span(tensor), name) for name, tensor in tensors.items())
    for place, ((_, end), name) in enumerate(spans):
        for (start, _), other in itertools.islice(spans, place + 1, None):
            if start >= end:
                break
            if share_elements(tensors[name], tensors[other]):
                yield name, other


def share_elements(first: Tensor, second: Tensor) -> bool:
    """Say whether two tensors have an element of memory in common; both have memory."""
    if first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr():
        return False
    (one_start, one_end), (other_start, other_end) = _span(first), _span(second)
    if one_end <= other_start or other_end <= one_start:
        return False
    if first.is_contiguous() and second.is_contiguous():
        return True  # neither has gaps
    start = min(one_start, other_start)
    marked = torch.zeros(max(one_end, other_end) - start, dtype=torch.bool)
    _bytes(marked, first, one_start - start).fill_(True)  # noqa: FBT003 - a value
    return bool(_bytes(marked, second, other_start - start).any())


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the first byte of a tensor in its storage, and the one after its last."""
    start = int(tensor.storage_offset())
    last = start + sum((length - 1) * int(stride) for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start * tensor.element_size(), (last + 1) * tensor.element_size()


def _bytes(memory: Tensor, tensor: Tensor, first: int) -> Tensor:
    """Return the bytes of a tensor in a piece of memory, in which it starts at the byte `first`."""
    size = tensor.element_size()
    strides = (*(stride * size for stride in tensor.stride()), 1)
    return memory.as_strided((*tensor.shape, size), strides, first)


def _replay(entry: PlanEntry, tensor: Tensor, seed: int, *, is_parametrised: bool) -> Replay | None:
    """Draw a tensor again and count what differs; a parametrisation rounds once more on the way."""
    if not isinstance(entry.action, Draw):
        return None
    action = entry.action
    with torch.no_grad():
        drawn = torch.empty_like(tensor, requires_grad=False)
        fill(drawn, action.distribution, Stream(seed, "init", entry.parameter), matrices=action.matrices)
        if entry.is_exact and not is_parametrised:
            return Replay(int(tensor.detach().ne(drawn).sum()), 0.0)
        size = float(torch.linalg.vector_norm(drawn, dtype=torch.float64)) / max(drawn.numel(), 1) ** 0.5
        tolerance = max(INEXACT, torch.finfo(tensor.dtype).eps)
        return Replay(int((tensor.detach() - drawn).abs().gt(tolerance * size).sum()), tolerance)
