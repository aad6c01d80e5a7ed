"""Copies among weights: tensors that equal each other, and slices of one tensor that do.

Every tensor is projected on fixed random vectors; copies have equal projections. What looks equal so is then compared
number by number, so that no projection decides alone.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.probes.randomness import looks_drawn

PROJECTIONS = 2  # random vectors; two slices that differ agree on one by chance, not on both
CLOSE = 1e-5  # of the root mean square; projections of equal numbers differ by the rounding of sums
NEAR = 1e-2  # of the root mean square; whole tensors this near each other have not been drawn apart
CHANCE = 1e-9  # expected number of slices that agree by chance, above which a tensor's slices are too short to judge
BATCH = 2**22  # numbers compared at a time
ROWS = -2  # the axis of the rows of stacked matrices; the last one is that of their columns
SEED = 0x15D  # of the random vectors; any will do


@dataclass(frozen=True, slots=True)
class EqualSlices:
    """Slices of a tensor along one axis, of which several are copies of each other.

    Attributes:
        axis: The axis; for stacked matrices -2 for the rows and -1 for the columns of each.
        num_slices: All slices, counts.
        num_copies: Those that copy an earlier one, counts.
        first: The first slice that is copied.
        again: Where it comes again.
        block: Neighbouring slices that are copied together at the same distance, counts: the width of a head.
        is_regular: Whether every slice has copies, as many and at the same distances as any other.
    """

    axis: int
    num_slices: int
    num_copies: int
    first: int
    again: int
    block: int
    is_regular: bool


def equal_tensors(tensors: Mapping[str, Tensor]) -> tuple[tuple[str, ...], ...]:
    """Return groups of tensors that are equal, up to 1 % of their size; those laid out on purpose are left out.

    Args:
        tensors: By name: floating-point, with memory and at least two axes longer than one.

    Returns:
        The names of each group, in the order given.
    """
    kinds: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in tensors.items():
        kinds.setdefault((tuple(tensor.shape), tensor.device), []).append(name)
    groups: list[tuple[str, ...]] = []
    for names in kinds.values():
        if len(names) > 1:
            rows = [_rows(tensors[name]) for name in names]
            groups.extend(tuple(names[place] for place in group) for group in _near(rows))
    return tuple(group for group in groups if looks_drawn(tensors[group[0]]))


def equal_slices(tensor: Tensor, axes: Sequence[int]) -> EqualSlices | None:
    """Return the copies among the slices of a tensor along some of its axes; None if there are none.

    Slices of zeros, and such as are laid out on purpose, are no copies. Neither are slices so short that some would
    agree by chance.

    Args:
        tensor: Floating-point, with memory, at least two axes.
        axes: Axes to slice along; -2 and -1 of a tensor of three axes stand for the rows and columns of each matrix.
    """
    for axis in axes:
        found = _equal_rows(_sliced(tensor, axis))
        if found:
            return described(found, axis, len(_sliced(tensor, axis)))
    return None


def described(groups: Sequence[Sequence[int]], axis: int, num_slices: int) -> EqualSlices:
    """Return what groups of equal slices have in common: the first that comes again, and in which pattern."""
    pairs = [(group[0], other) for group in groups for other in group[1:]]
    (first, again), distances = pairs[0], Counter(other - own for own, other in pairs)
    distance = again - first
    starts = {own for own, other in pairs if other - own == distance}
    block = next(width for width in itertools.count(1) if first + width not in starts)
    return EqualSlices(
        axis=axis,
        num_slices=num_slices,
        num_copies=len(pairs),
        first=first,
        again=again,
        block=min(block, distance) if distances[distance] > 1 else 1,
        is_regular=sum(map(len, groups)) == num_slices
        and len({tuple(place - group[0] for place in group) for group in groups}) == 1,
    )


def _rows(tensor: Tensor) -> Tensor:
    plain = tensor.detach()
    plain = torch.view_as_real(plain) if plain.is_complex() else plain
    return plain.reshape(plain.shape[0], -1) if plain.shape[0] > 1 else plain.reshape(-1, plain.shape[-1])


def _sliced(tensor: Tensor, axis: int) -> Tensor:
    plain = tensor.detach()
    if axis >= 0:
        return (torch.view_as_real(plain) if plain.is_complex() else plain).movedim(axis, 0).flatten(1)
    plain = plain.real if plain.is_complex() else plain  # copies have equal real parts; the other part adds little
    return (plain if axis == ROWS else plain.mT).flatten(0, -2)


def _projected(rows: Tensor) -> Tensor:
    """Return a few random sums of each row."""
    vectors = torch.randn(PROJECTIONS, rows.shape[1], generator=torch.Generator().manual_seed(SEED)).to(rows.device)
    if rows.stride(1) > 1 == rows.stride(0):  # the columns of a matrix: its rows follow each other in memory
        step = max(1, BATCH // rows.shape[0])
        pieces = zip(vectors.split(step, dim=1), rows.T.split(step), strict=True)
        return sum((part @ piece.float() for part, piece in pieces), torch.zeros((), device=rows.device)).T.double()
    pieces = rows.split(max(1, BATCH // rows.shape[1]))
    return torch.cat([piece.float() @ vectors.T for piece in pieces]).double()


def _near(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return groups of places of tensors that are near each other."""
    prints = []
    for rows in tensors:
        projected = _projected(rows)
        weights = torch.randn(len(rows), generator=torch.Generator().manual_seed(SEED + 1)).to(projected)
        prints.append(torch.cat([weights @ projected, projected.square().sum().sqrt()[None]]))
    table = torch.stack(prints).cpu()
    sequence = torch.argsort(table[:, 0])
    table, order = table[sequence], sequence.tolist()
    window = 4 * NEAR * table[:, -1:]
    ends = torch.searchsorted(table[:, 0].contiguous(), table[:, 0] + window[:, 0], right=True).tolist()
    group_of = list(range(len(tensors)))  # the place of the first member of each one's group, in this order
    for earlier, end in enumerate(ends):
        close = ((table[earlier] - table[earlier + 1 : end]).abs() <= window[earlier]).all(1)
        for later in (earlier + 1 + close.nonzero()[:, 0]).tolist():
            one, other = group_of[earlier], group_of[later]
            if one != other and _is_near(tensors[order[earlier]], tensors[order[later]]):
                group_of = [one if own == other else own for own in group_of]
    groups: dict[int, list[int]] = {}
    for place, own in zip(order, group_of, strict=True):
        groups.setdefault(own, []).append(place)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _is_near(first: Tensor, second: Tensor) -> bool:
    size = torch.linalg.vector_norm(first.float())
    return bool(size > 0) and bool(torch.linalg.vector_norm(first.float() - second.float()) <= NEAR * size)


def _equal_rows(rows: Tensor) -> list[list[int]]:
    """Return groups of equal rows, sorted."""
    num_rows, width = rows.shape
    spacing = max(CLOSE, torch.finfo(rows.dtype).eps)
    expected = 2 * math.log(num_rows) - math.log(2) + width * math.log(spacing)  # log of equal pairs by chance
    if num_rows == 1 or expected > math.log(CHANCE):
        return []
    prints = _projected(rows)
    size = prints.square().mean(1).sqrt()
    order = torch.argsort(prints[:, 0])
    earlier, later = order[:-1], order[1:]
    close = ((prints[earlier] - prints[later]).abs() <= CLOSE * size[earlier, None]).all(1) & (size[earlier] > 0)
    candidates = torch.stack([earlier[close], later[close]], dim=1)
    same = [piece[_agree(rows, piece)] for piece in candidates.split(max(1, BATCH // width))]
    pairs: list[list[int]] = torch.cat(same).tolist() if same else []
    groups = _chained(pairs)
    is_first = size > 0
    is_first[[place for group in groups for place in group[1:]]] = False
    if not groups or not looks_drawn(rows[is_first]):
        return []
    return sorted(group for group in groups if looks_drawn(rows[group[0]]))


def _agree(rows: Tensor, pairs: Tensor) -> Tensor:
    one, other = rows[pairs[:, 0]].float(), rows[pairs[:, 1]].float()
    size = one.square().mean(1).sqrt()
    varies = one.amax(1) > one.amin(1)
    return ((one - other).abs().amax(1) <= CLOSE * size) & varies


def _chained(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Chain neighbours into groups, each sorted."""
    groups: list[list[int]] = []
    for earlier, later in pairs:
        if groups and groups[-1][-1] == earlier:
            groups[-1].append(later)
        else:
            groups.append([earlier, later])
    return [sorted(group) for group in groups]
