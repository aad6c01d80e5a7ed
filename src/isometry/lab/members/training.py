"""Trains many small networks side by side on cross-entropy, and says how many labels each of them misses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from isometry._errors import DomainError, ShapeError
from isometry.lab.members.bucket import Bucket
from isometry.lab.members.member import Member

Order = Literal["shared", "own"]

MOST_NUMBERS = 600_000  # in a bucket; the vectors of larger ones outgrow caches, and cost a third more a member
MOST_PADDING = 10_000  # numbers that a member may add to a bucket in zeros; a bucket of its own costs as much time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """What the members train on.

    Attributes:
        inputs: (n, d), the same for all; of a floating type, on the CPU.
        labels: Classes, (n,) for all or (members, n) where each has its own; in [0, num_classes).
        num_classes: Counts.
    """

    inputs: Tensor
    labels: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        is_matrix = self.inputs.ndim == 2  # noqa: PLR2004 - rows and columns
        if not is_matrix or self.labels.ndim not in {1, 2} or self.labels.shape[-1] != len(self.inputs):
            raise ShapeError(
                f"inputs of shape {tuple(self.inputs.shape)} and labels of {tuple(self.labels.shape)} were given: "
                "inputs are a matrix, and labels are as many as its rows."
            )
        if not self.inputs.is_floating_point() or self.inputs.device.type != "cpu":
            raise DomainError(
                f"inputs of {self.inputs.dtype} on {self.inputs.device} were given: they are floating numbers on the "
                "CPU."
            )
        if self.labels.numel() and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.num_classes:
            raise DomainError(
                f"labels from {int(self.labels.min())} to {int(self.labels.max())} were given: they lie between 0 and "
                f"{self.num_classes - 1}."
            )


class SideBySide:
    """Members in training, in as few buckets as their sizes allow."""

    def __init__(self, members: Sequence[Member], examples: Examples, *, order: Order = "shared") -> None:
        """Draw the initial weights.

        Args:
            members: At least one, of any depths and widths.
            examples: What they train on; their dtype is that of the arithmetic.
            order: Whether all see the same batches, or each shuffles by its own seed.

        Raises:
            ShapeError: If labels are given for another number of members.
            DomainError: If there are no members, or no such order.
        """
        if not members or order not in get_args(Order):
            raise DomainError(
                f"{len(members)} members, order={order!r}: there is at least one member, and the order is one of "
                f"{', '.join(get_args(Order))}."
            )
        _require_labels_of(len(members), examples)
        self.members = tuple(members)
        self.examples = examples
        self._order = order
        width = examples.inputs.shape[1]
        self._places = _grouped(self.members, width, examples.num_classes)
        self.buckets = [
            Bucket([self.members[each] for each in places], width, examples.num_classes, dtype=examples.inputs.dtype)
            for places in self._places
        ]

    def train(self, count: int, *, batch_size: int, seed: int = 0) -> Iterator[int]:
        """Train; a look at their errors after every epoch takes as long as a third of it.

        Args:
            count: Epochs.
            batch_size: Examples of a batch; a rest that does not fill one is left out of its epoch.
            seed: Of the order of shared batches.

        Yields:
            The number of each epoch when it is done, from 1. A second call trains on from where the first ended, with
            the same orders from the first on.

        Raises:
            DomainError: If a batch has more examples than there are, or none.
        """
        if not 1 <= batch_size <= len(self.examples.inputs):
            raise DomainError(
                f"batch_size={batch_size!r}: a batch has at least one example, and at most the "
                f"{len(self.examples.inputs)} that there are."
            )
        seeds = [member.seed for member in self.members] if self._order == "own" else [seed]
        generators = [torch.Generator().manual_seed(each) for each in seeds]
        for number in range(1, count + 1):
            orders = torch.stack([torch.randperm(len(self.examples.inputs), generator=each) for each in generators])
            for places, bucket in zip(self._places, self.buckets, strict=True):
                own = orders if len(orders) == 1 else orders[places]
                for inputs, labels in self._batches(self._labels_of(places, self.examples), own, batch_size):
                    bucket.step(inputs, labels)
            yield number

    def errors(self, examples: Examples) -> Tensor:
        """Return the share of some examples that each member classifies otherwise than labelled.

        Args:
            examples: With labels for all members, or for each its own.

        Returns:
            Shares in [0, 1], (members,) in float64; of equal outputs the first is the answer.

        Raises:
            ShapeError: If labels are given for another number of members.
        """
        _require_labels_of(len(self.members), examples)
        errors = torch.empty(len(self.members), dtype=torch.float64)
        for places, bucket in zip(self._places, self.buckets, strict=True):
            labels = self._labels_of(places, examples)
            errors[places] = (~_is_right(bucket.outputs(examples.inputs)[-1], labels)).double().mean(1)
        return errors

    def weights_of(self, index: int) -> list[Tensor]:
        """Return weights and biases of one member in turn, of shapes (fan_out, fan_in) and (fan_out,)."""
        for places, bucket in zip(self._places, self.buckets, strict=True):
            if index in places:
                return bucket.weights_of(places.index(index))
        raise LookupError(index)

    def _batches(self, labels: Tensor, orders: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield an epoch's batches of inputs, (batch, d) or (members, batch, d), and of labels, (members, batch).

        Args:
            labels: (members, n).
            orders: Of the examples, (1, n) for all or (members, n).
            batch_size: Examples of a batch.
        """
        shuffled = labels.gather(1, orders.expand_as(labels))
        inputs = self.examples.inputs
        if len(orders) == 1:
            inputs = inputs.index_select(0, orders[0])
        for start in range(0, orders.shape[1] - batch_size + 1, batch_size):
            rows = slice(start, start + batch_size)
            if len(orders) == 1:
                yield inputs[rows], shuffled[:, rows]
            else:
                chosen = inputs.index_select(0, orders[:, rows].flatten())
                yield chosen.view(len(orders), batch_size, -1), shuffled[:, rows]

    def _labels_of(self, places: list[int], examples: Examples) -> Tensor:
        """Return the labels of some members, (members, n)."""
        return examples.labels.expand(len(places), -1) if examples.labels.ndim == 1 else examples.labels[places]


def _require_labels_of(count: int, examples: Examples) -> None:
    if examples.labels.ndim > 1 and len(examples.labels) != count:
        raise ShapeError(f"labels for {len(examples.labels)} members were given, and there are {count}.")


def _is_right(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return whether the label has the first of the largest outputs, (members, batch)."""
    rows = labels.unsqueeze(1)
    of_label = outputs.gather(1, rows).squeeze(1)
    others = outputs.scatter(1, rows, -torch.inf).amax(1)  # argmax over classes takes longer than all layers
    is_tie = of_label == others
    return (is_tie & (outputs.argmax(1) == labels)) | (of_label > others) if is_tie.any() else of_label > others


def _grouped(members: Sequence[Member], num_inputs: int, num_outputs: int) -> list[list[int]]:
    """Return the members of each bucket: of one depth, and of sizes near enough to be padded to the largest."""

    def padded(indices: Sequence[int]) -> int:
        widths = zip(*(members[each].hidden for each in indices), strict=True)
        largest = Member(hidden=tuple(max(sizes) for sizes in widths))
        return len(indices) * largest.num_parameters(num_inputs, num_outputs)

    order = sorted(range(len(members)), key=lambda index: (len(members[index].hidden), members[index].hidden))
    groups: list[list[int]] = []
    for index in order:
        last = groups[-1] if groups else []
        is_alike = bool(last) and len(members[last[0]].hidden) == len(members[index].hidden)
        joined = padded([*last, index]) if is_alike else MOST_NUMBERS + 1
        if joined <= MOST_NUMBERS and joined - padded(last) - padded([index]) <= MOST_PADDING:
            last.append(index)
        else:
            groups.append([index])
    return groups
