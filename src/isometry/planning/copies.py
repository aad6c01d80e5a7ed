"""Which weights of a model are copies of each other, though neither a tie nor a plan says so."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from isometry.anatomy.names import names_of, owner_of
from isometry.fills.distributions import Constant
from isometry.fills.orthogonal import Orthogonal, Orthonormal
from isometry.planning.inventory import Inventory, InventoryRow, weights_of
from isometry.planning.plan import Draw
from isometry.planning.siblings import equal_siblings
from isometry.probes.duplicates import EqualSlices, equal_slices, equal_tensors
from isometry.probes.evidence import Evidence, measure, probe

MAX_PAIRS = 64  # of copies compared by their gradients, counts; if any stay equal, neighbours do
NEAR_GRADIENT = 0.02  # of the gradient's size; copies that differ by 1 % have gradients that do
MIN_NUMBERS = 8  # of a matrix of one row, counts; so many draws are not equal by chance
MIN_AXES = 2  # a vector of draws, such as a bias, is no layer
MIN_FILTER_AXES = 4  # more than a stack of matrices has
SAME = 1e-3  # of the largest; gradients of units that differ by less are equal but for rounding
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TABLES = (nn.Embedding, nn.EmbeddingBag)
UNITS_FIRST = (
    nn.Linear,
    nn.Bilinear,
    *CONVOLUTIONS,
    *TABLES,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
)


Fate = Literal["stay", "part", "unknown"]


@dataclass(frozen=True, slots=True)
class EqualLayers:
    """Modules that hold copies of one another's weights.

    Attributes:
        modules: Paths of the modules, or the names of the parameters, where these are all they share.
        weights: Canonical names of the weights, first those of the first module.
        fate: What a batch says of them: they `stay` copies if all of their gradients are equal as well, and `part`
            otherwise.
    """

    modules: tuple[str, ...]
    weights: tuple[str, ...]
    fate: Fate = "unknown"


@dataclass(frozen=True, slots=True)
class Clones:
    """Layers that hold copies of one another's weights."""

    layers: tuple[EqualLayers, ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies among trainable weights that were drawn.

    Attributes:
        slices: Weights of which some rows, columns or experts equal others, by name.
        harmless: The names of those where that may be on purpose: rows of embeddings, filters of which each comes again
            equally often, and filters that read different channels.
        uniform: Weights of layers of several units that hold one number throughout, other than zero.
        constant: Other matrices that do, which a plan does not write.
    """

    slices: Mapping[str, EqualSlices]
    harmless: frozenset[str] = frozenset()
    uniform: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()


@probe(Clones)
def measure_clones(evidence: Evidence) -> Clones:
    """Find the clones among the layers of a task's model."""
    return find_clones(evidence.task.model, measure(evidence, Inventory), evidence)


def find_clones(model: nn.Module, inventory: Inventory, evidence: Evidence | None = None) -> Clones:
    """Compare the weights of a model with each other.

    Left out is what `find_copies` leaves out.

    Args:
        model: The model.
        inventory: What it holds.
        evidence: A recorded step; it tells what becomes of the copies, and leaves out what gets no gradient.

    Returns:
        The layers of which all weights are copies, by the group.
    """
    chosen = _candidates(model, inventory, evidence)
    groups = equal_tensors({name: tensor.squeeze() for name, tensor in chosen.items()})
    layers = _by_module(groups)
    if evidence is None or evidence.is_meta:
        return Clones(layers)
    told = tuple(replace(each, fate=_fate(each, groups, evidence)) for each in layers)
    small = (EqualLayers(*each, fate="stay") for each in equal_siblings(model, evidence))
    known = {path for each in told for path in each.modules}
    return Clones((*told, *(each for each in small if known.isdisjoint(each.modules))))


def find_copies(model: nn.Module, inventory: Inventory, evidence: Evidence | None = None) -> Copies:
    """Compare the units of each weight of a model with each other.

    Left out are: frozen parameters, tensors of one memory, vectors, constants, what is laid out on purpose, and what
    a plan gives a structure of its own. Of weights that are clones of each other the first is looked at.

    Args:
        model: The model.
        inventory: What it holds.
        evidence: A recorded step; it tells where a weight's units lie, and leaves out what gets no gradient.

    Returns:
        The copies that were found.
    """
    names = names_of(model)
    chosen = _candidates(model, inventory, evidence)
    groups = equal_tensors({name: tensor.squeeze() for name, tensor in chosen.items()})
    again = {name for group in groups for name in group[1:]}
    axes = _axes_of(model, chosen, evidence)
    slices = {
        name: equal_slices(tensor.squeeze() if axes[name] is None else tensor, axes[name] or _every_axis(tensor))
        for name, tensor in chosen.items()
        if name not in again and sum(length > 1 for length in tensor.shape) >= MIN_AXES
    }
    copied = {name: found for name, found in slices.items() if found is not None}
    harmless = (name for name, found in copied.items() if _is_harmless(model, (name, *names.ties.get(name, ())), found))
    uniform, constant = _constants(model, inventory, evidence)
    return Copies(copied, frozenset(harmless), uniform, constant)


def _candidates(model: nn.Module, inventory: Inventory, evidence: Evidence | None) -> dict[str, Tensor]:
    """Return the weights that may be copies, each memory once."""
    weights = weights_of(model, names_of(model) if evidence is None else evidence.step.names)
    idle = set() if evidence is None else _without_gradient(evidence)
    chosen: dict[str, Tensor] = {}
    memories: set[tuple[object, ...]] = set()
    for row in inventory.rows:
        if not _is_candidate(row) or row.name in idle:
            continue
        tensor = weights[row.name]
        memory = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if memory not in memories:
            memories.add(memory)
            chosen[row.name] = tensor
    return chosen


def _fate(layers: EqualLayers, groups: Sequence[Sequence[str]], evidence: Evidence) -> Fate:
    """Say whether some of the copies get equal gradients, all of their weights."""
    own = [group for group in groups if group[0] in layers.weights]
    pairs = itertools.combinations(range(len(layers.modules)), 2)
    for one, other in itertools.islice(pairs, MAX_PAIRS):
        if all(_have_equal_gradients(evidence, group[one], group[other]) for group in own):
            return "stay"
    return "part"


def _have_equal_gradients(evidence: Evidence, first: str, second: str) -> bool:
    found = [evidence.step.gradients[name] for name in (first, second)]
    (one, *_), (other, *_) = found
    if one is None or other is None or one.shape != other.shape:
        return False
    size = torch.linalg.vector_norm(one)
    return bool(size > 0) and bool(torch.linalg.vector_norm(one - other) <= NEAR_GRADIENT * size)


def _is_candidate(row: InventoryRow) -> bool:
    numbers = row.numbers
    is_long = len(row.shape) >= MIN_AXES and math.prod(row.shape) >= MIN_NUMBERS
    is_matrix = is_long or sum(length > 1 for length in row.shape) >= MIN_AXES
    if numbers is None or row.kind != "parameter" or not is_matrix:
        return False
    return numbers.is_finite and not numbers.is_constant and not _has_structure(row)


def _has_structure(row: InventoryRow) -> bool:
    """Say whether the plan draws a tensor whose elements depend on each other, but for orthogonal ones."""
    action = None if row.entry is None else row.entry.action
    if not isinstance(action, Draw) or row.moments is not None:
        return False
    return not isinstance(action.distribution, Orthogonal | Orthonormal | Constant)


def _is_harmless(model: nn.Module, names: Sequence[str], found: EqualSlices) -> bool:
    """Say whether copies may be on purpose, from the modules that have the weight under one of its names."""
    owners = [owner_of(model, name) for name in names]
    if any(isinstance(module, TABLES) for module, _ in owners):
        return True
    convolutions = [module for module, _ in owners if isinstance(module, CONVOLUTIONS + TRANSPOSED)]
    is_filter = bool(convolutions) or any(getattr(*owner).ndim >= MIN_FILTER_AXES for owner in owners)
    return is_filter and (found.is_regular or any(module.groups > 1 for module in convolutions))


def _constants(
    model: nn.Module, inventory: Inventory, evidence: Evidence | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the weights that are one number: those of layers whose units stay equal, and others but for norms'."""
    uniform: list[str] = []
    constant: list[str] = []
    for row in inventory.rows:
        is_matrix = row.kind == "parameter" and sum(length > 1 for length in row.shape) >= MIN_AXES
        numbers = row.numbers
        if not is_matrix or row.is_drawn or numbers is None or not numbers.is_constant or numbers.is_zero:
            continue
        module, _ = owner_of(model, row.name)
        axis = 1 if isinstance(module, TRANSPOSED) else 0
        is_layer = isinstance(module, (nn.Linear, nn.Bilinear, *CONVOLUTIONS, *TRANSPOSED))
        num_units = row.shape[axis] // (module.groups if isinstance(module, CONVOLUTIONS) else 1)
        if is_layer and num_units > 1 and not _are_told_apart(row.name, axis, evidence):
            uniform.append(row.name)
        elif "Norm" not in type(module).__name__:
            constant.append(row.name)
    return tuple(uniform), tuple(constant)


def _are_told_apart(name: str, axis: int, evidence: Evidence | None) -> bool:
    """Say whether a batch gives the units of a weight different gradients, as those of a last layer."""
    gradients = () if evidence is None or evidence.is_meta else evidence.step.gradients.get(name, ())
    for gradient in gradients:
        if gradient is not None:
            units = gradient.movedim(axis, 0)
            if bool((units - units[:1]).abs().max() > SAME * units.abs().max()):
                return True
    return False


def _without_gradient(evidence: Evidence) -> set[str]:
    gradients = evidence.step.gradients
    return {name for name, found in gradients.items() if all(gradient is None for gradient in found)}


def _axes_of(
    model: nn.Module, chosen: Mapping[str, Tensor], evidence: Evidence | None
) -> dict[str, tuple[int, ...] | None]:
    """Return along which axes the units of each weight lie; None where that is not known."""
    seen: dict[str, tuple[int, ...]] = {}
    for layer in () if evidence is None else evidence.anatomy.layers:
        axis = layer.layout.out_axis
        if len(layer.weight) == 1 and axis is not None and not layer.kind.startswith("embedding"):
            seen.setdefault(layer.weight[0], (axis,) if layer.layout.stacked == 1 else ())
    found: dict[str, tuple[int, ...] | None] = {}
    for name in chosen:
        module, _ = owner_of(model, name)
        by_kind = (1,) if isinstance(module, TRANSPOSED) else (0,) if isinstance(module, UNITS_FIRST) else None
        found[name] = seen.get(name) or by_kind
    return found


def _every_axis(tensor: Tensor) -> tuple[int, ...]:
    """Return the axes to look along where it is not known where units lie; three axes are a stack of matrices."""
    return (0, -2, -1) if tensor.squeeze().ndim == MIN_AXES + 1 else (0, 1)


def _by_module(groups: tuple[tuple[str, ...], ...]) -> tuple[EqualLayers, ...]:
    """Put the groups together that are copies of the same modules."""
    found: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        found.setdefault(_prefixes(group), []).extend(group)
    return tuple(EqualLayers(modules, tuple(weights)) for modules, weights in found.items())


def _prefixes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return each name up to the first part in which one of them differs from the others; whole if they differ last."""
    parts = [name.split(".") for name in names]
    shortest = min(len(each) for each in parts)
    place = next((at for at in range(shortest) if len({each[at] for each in parts}) > 1), shortest - 1)
    prefixes = tuple(".".join(each[: place + 1]) for each in parts)
    return prefixes if len(set(prefixes)) == len(prefixes) else names
