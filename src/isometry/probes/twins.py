"""Units of one weight that are copies or mirror images of each other, and whether gradients tell them apart.

Every unit's weights and their gradient are projected on the same few random vectors: equal units have equal
projections whatever these are, and others share all of them by chance with a probability below 1e-9.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from isometry.anatomy.reading import Layer
from isometry.probes.duplicates import EqualSlices, described
from isometry.probes.evidence import Evidence, probe
from isometry.probes.randomness import looks_drawn
from isometry.probes.statistics import has_floats

PROJECTIONS = 4  # random vectors
SEED = 0x7317  # of the random vectors; any will do
EQUAL = 1e-5  # of a unit's size; what copies of a weight in one float type agree to
EQUAL_GRADIENT = 1e-4  # of a unit's gradient; sums of 32-bit products in another order differ by 1e-6 to 1e-5
# Of a unit's size: units of two kinds, with noise of three hundredths on each, reach 0.43 where others reach 0.92
# (benchmarks/symmetry.md); with a tenth they reach 0.55, but so far apart are units of averaging filters too.
NEAR = 0.06
NEAR_GRADIENT = 0.2  # of a unit's gradient, which the weights behind the units take part in
MIN_NEAR_LENGTH = 8  # numbers of a unit; shorter ones come near each other by chance
MATRIX_AXES = 2  # counts; a vector has no units
STACK_AXES = 3  # counts; heads and experts in one tensor lie along the first

Fate = Literal["stay", "drift", "part"]


@dataclass(frozen=True, slots=True)
class TwinUnits:
    """One weight with units that are copies of each other.

    Attributes:
        layer: Name of the layer.
        num_units: Its units, heads or experts, counts.
        num_distinct: Of these, those that differ from each other, counts.
        fate: `stay` if copies get copies of one gradient, `drift` if both are nearly equal, `part` if the gradients
            differ.
        is_mirrored: Whether some are each other's negatives, gradient included.
        places: Which slices of the weight come again, where they do so in a pattern.
    """

    layer: str
    num_units: int
    num_distinct: int
    fate: Fate
    is_mirrored: bool = False
    places: EqualSlices | None = None

    @property
    def lost_share(self) -> float:
        """Share of the units that add nothing, in [0, 1)."""
        return 1 - self.num_distinct / self.num_units


@dataclass(frozen=True, slots=True)
class TwinTable:
    """All weights of hidden layers with units that are copies of each other, in the order of execution.

    Attributes:
        layers: The weights.
        has_dropout: Whether something random acts in the network.
    """

    layers: tuple[TwinUnits, ...]
    has_dropout: bool = False


@probe(TwinTable)
def measure_twins(evidence: Evidence) -> TwinTable:
    """Compare the units of every hidden weight that is one parameter; those of a head may be alike."""
    found: list[TwinUnits] = []
    with torch.no_grad():
        for layer, weights, gradients in hidden_units(evidence):
            twins = twins_among(weights, gradients, layer=layer.name)
            found += [twins] if twins else []
    has_dropout = any("dropout" in operation.name for operation in evidence.step.tape.operations)
    if has_dropout:  # gradients that differ a little at one step do so at every other, each time otherwise
        found = [replace(each, fate="part") if each.fate == "drift" else each for each in found]
    return TwinTable(tuple(found), has_dropout)


def hidden_units(evidence: Evidence) -> Iterator[tuple[Layer, Tensor, Tensor]]:
    """Yield every hidden layer whose weight is one parameter, at its first use, with the numbers of its units.

    Args:
        evidence: A recorded step.

    Yields:
        The layer; weights and biases of its units, heads or experts, (units, numbers); their gradients likewise.
    """
    heads = {name for layer in evidence.anatomy.heads for name in layer.weight}
    first_use: dict[str, Layer] = {}
    for layer in evidence.anatomy.layers:
        if len(layer.weight) == 1 and not layer.kind.startswith("embedding"):
            first_use.setdefault(layer.weight[0], layer)
    for name, layer in first_use.items():
        units = None if name in heads else _units_of(evidence, name, layer)
        if units is not None:
            yield layer, *units


def twins_among(
    weights: Float[Tensor, "units numbers"], gradients: Float[Tensor, "units numbers"], *, layer: str
) -> TwinUnits | None:
    """Return what is equal among the units of a weight, or nearly so; None if nothing is.

    Args:
        weights: The numbers of each unit, its bias included.
        gradients: Of the loss, for each of them.
        layer: The layer's name.
    """
    numbers, slope = _Prints.of(weights), _sizes(_scaled(gradients))
    alive = (numbers.size > 0) & (slope > 0) & numbers.size.isfinite() & slope.isfinite()
    # Mirror images become copies: where a projection is negative, weights and gradient change their sign.
    sign = torch.where(numbers.values[:, :1] < 0, -1.0, 1.0)
    plain, numbers = numbers, numbers.flipped(sign)
    is_long = weights.shape[1] >= MIN_NEAR_LENGTH
    if not _groups(numbers, alive, allowed=NEAR if is_long else EQUAL).any_equal:
        return None  # before the gradients are projected, which costs as much again
    plain, steps = _groups(plain, alive, allowed=EQUAL), _Prints.of(gradients).flipped(sign)
    twins = _refined(_groups(numbers, alive, allowed=EQUAL), steps, allowed=EQUAL_GRADIENT)
    if twins.any_equal:
        return _described(twins, len(weights), layer, fate="stay", sign=sign)
    if is_long:
        near = _refined(_groups(numbers, alive, allowed=NEAR), steps, allowed=NEAR_GRADIENT)
        if near.any_equal:
            return _described(near, len(weights), layer, fate="drift", sign=sign)
    if plain.any_equal and looks_drawn(weights[plain.firsts]):  # mirror images that part are a start by design
        return _described(plain, len(weights), layer, fate="part", sign=sign.abs())
    return None


@dataclass(frozen=True, slots=True)
class _Prints:
    """Projections of the rows of a matrix, and their sizes."""

    values: Float[Tensor, "rows projections"]
    size: Float[Tensor, " rows"]

    @classmethod
    def of(cls, rows: Tensor) -> "_Prints":
        generator = torch.Generator().manual_seed(SEED)
        vectors = torch.randn(rows.shape[1], PROJECTIONS, generator=generator).to(rows)
        rows = _scaled(rows)
        return cls((rows @ vectors).double().cpu(), _sizes(rows))

    def flipped(self, sign: Tensor) -> "_Prints":
        return _Prints(self.values * sign, self.size)

    def are_close(self, one: Tensor, other: Tensor, *, allowed: float) -> Bool[Tensor, " pairs"]:
        size = torch.maximum(self.size[one], self.size[other])
        return ((self.values[one] - self.values[other]).abs() <= allowed * size[:, None]).all(dim=1)


def _scaled(rows: Tensor) -> Tensor:
    """Return rows with 1 as their largest number; squares of 1e-22 vanish in single precision."""
    return rows / rows.abs().amax().clamp(min=torch.finfo(rows.dtype).tiny)


def _sizes(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).double().cpu()


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows in an order in which equal ones follow each other, and the number of each one's group."""

    order: Int64[Tensor, " rows"]
    group: Int64[Tensor, " rows"]

    @property
    def any_equal(self) -> bool:
        return len(self.group) > 0 and int(self.group[-1]) + 1 < len(self.group)

    @property
    def num_copies(self) -> int:
        return len(self.group) - int(self.group[-1]) - 1

    @property
    def firsts(self) -> Tensor:
        """One row of each group."""
        is_first = torch.ones_like(self.group, dtype=torch.bool)
        is_first[1:] = self.group.diff() > 0
        return self.order[is_first]

    def members(self) -> list[list[int]]:
        """Return the groups of more than one row."""
        pieces = torch.split(self.order, torch.bincount(self.group).tolist())
        return [sorted(piece.tolist()) for piece in pieces if len(piece) > 1]


def _groups(prints: _Prints, alive: Tensor, *, allowed: float) -> _Groups:
    order = alive.nonzero().flatten()
    order = order[torch.argsort(prints.values[order, 0])]
    return _Groups(order, _numbered(order, ~prints.are_close(order[:-1], order[1:], allowed=allowed)))


def _refined(groups: _Groups, prints: _Prints, *, allowed: float) -> _Groups:
    """Return groups cut where other prints differ too, in which rows may take turns: they are sorted by these."""
    by_print = torch.argsort(prints.values[groups.order, 0])
    place = by_print[torch.argsort(groups.group[by_print], stable=True)]
    order, group = groups.order[place], groups.group[place]
    is_other = (group.diff() > 0) | ~prints.are_close(order[:-1], order[1:], allowed=allowed)
    return _Groups(order, _numbered(order, is_other))


def _numbered(order: Tensor, is_other: Tensor) -> Tensor:
    return torch.cat([torch.zeros(len(order[:1]), dtype=torch.int64), torch.cumsum(is_other, dim=0)])


def _described(groups: _Groups, num_units: int, layer: str, *, fate: Fate, sign: Tensor) -> TwinUnits:
    members = sorted(groups.members())
    is_mirrored = any(len({float(sign[place, 0]) for place in group}) > 1 for group in members)
    places = None if is_mirrored else described(members, axis=0, num_slices=num_units)
    return TwinUnits(layer, num_units, num_units - groups.num_copies, fate, is_mirrored, places)


def _units_of(evidence: Evidence, name: str, layer: Layer) -> tuple[Tensor, Tensor] | None:
    """Return the numbers of each unit of a weight and their gradients, its biases' included."""
    tensors, gradients = evidence.step.names.parameters[name], evidence.step.gradients.get(name, (None,))
    weight, gradient = tensors[0].detach(), gradients[0]
    if len(tensors) > 1 or gradient is None or not has_floats(weight) or weight.ndim < MATRIX_AXES:
        return None
    axis = layer.layout.out_axis
    if layer.layout.stacked > 1 or axis is None:
        axis = 0 if weight.ndim >= STACK_AXES else None
    if axis is None or weight.shape[axis] == 1:
        return None
    columns, steps = [weight.movedim(axis, 0).flatten(1)], [gradient.movedim(axis, 0).flatten(1)]
    for bias, its_gradient in _biases(evidence.step.names.parameters, evidence.step.gradients, layer):
        if bias.shape == weight.shape[axis : axis + 1]:
            columns.append(bias.detach()[:, None])
            steps.append(its_gradient[:, None])
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    numbers = torch.cat([each.to(wide) for each in columns], 1)
    if not bool((_sizes(columns[0]) > 0).all()):
        numbers = numbers * columns[0].any(dim=1)[:, None]  # units of zero weights have nothing but a bias to compare
    return numbers, torch.cat([each.to(wide) for each in steps], 1)


def _biases(
    parameters: Mapping[str, tuple[Tensor, ...]], gradients: Mapping[str, tuple[Tensor | None, ...]], layer: Layer
) -> list[tuple[Tensor, Tensor]]:
    found = [(parameters[name][0], gradients.get(name, (None,))[0]) for name in layer.biases]
    return [(bias, gradient) for bias, gradient in found if gradient is not None]
