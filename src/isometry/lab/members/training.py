"""Trains many small networks side by side, and says after every epoch how each of them does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from isometry._errors import ShapeError
from isometry.lab.members.bucket import Bucket, Slope
from isometry.lab.members.member import Member

Order = Literal["shared", "own"]
Loss = Literal["cross-entropy", "squared"]

MOST_WASTE = 1.5  # padded over own parameters in a bucket; beyond it another bucket costs less than the padding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """What the members train on.

    Attributes:
        inputs: (n, d), the same for all.
        labels: Classes, (n,) for all or (members, n) where each has its own.
        num_classes: Counts.
    """

    inputs: Tensor
    labels: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        if self.inputs.ndim != 2 or self.labels.shape[-1] != len(self.inputs):  # noqa: PLR2004 - rows and columns
            raise ShapeError(
                f"inputs of shape {tuple(self.inputs.shape)} and labels of {tuple(self.labels.shape)} were given: "
                "inputs are a matrix, and labels are as many as its rows."
            )

    def labels_of(self, index: int) -> Tensor:
        """Return the labels of one member, (n,)."""
        return self.labels if self.labels.ndim == 1 else self.labels[index]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Epoch:
    """How all members do after an epoch, each number (members,).

    Attributes:
        number: Epochs that were trained, counts from 1.
        train_loss: On the whole training set, with each member's own labels.
        train_error: Share of it that is classified otherwise than labelled, in [0, 1].
        test_loss: On the test set.
        test_error: Likewise.
    """

    number: int
    train_loss: Tensor
    train_error: Tensor
    test_loss: Tensor
    test_error: Tensor


class SideBySide:
    """Members in training, in as few buckets as their sizes allow."""

    def __init__(
        self, members: Sequence[Member], examples: Examples, *, loss: Loss = "cross-entropy", order: Order = "shared"
    ) -> None:
        """Draw the initial weights.

        Args:
            members: Any depths and widths.
            examples: What they train on; their dtype is that of the arithmetic.
            loss: Mean cross-entropy, or the mean square of outputs less the label's unit vector.
            order: Whether all see the same batches, or each shuffles by its own seed.

        Raises:
            ShapeError: If labels are given for another number of members.
        """
        if examples.labels.ndim > 1 and len(examples.labels) != len(members):
            raise ShapeError(f"labels for {len(examples.labels)} members were given, and there are {len(members)}.")
        self.members = tuple(members)
        self.examples = examples
        self._loss, self._order = loss, order
        width = examples.inputs.shape[1]
        self._places = _grouped(self.members, width, examples.num_classes)
        self.buckets = [
            Bucket([self.members[each] for each in places], width, examples.num_classes, dtype=examples.inputs.dtype)
            for places in self._places
        ]

    def epochs(self, count: int, *, batch_size: int, test: Examples, seed: int = 0) -> Iterator[Epoch]:
        """Train, and yield how the members do after every epoch.

        Args:
            count: Epochs.
            batch_size: Examples of a batch; a rest that does not fill one is left out of its epoch.
            test: What they are tested on.
            seed: Of the order of shared batches.

        Yields:
            Losses and errors.
        """
        seeds = [member.seed for member in self.members] if self._order == "own" else [seed]
        generators = [torch.Generator().manual_seed(each) for each in seeds]
        for number in range(1, count + 1):
            orders = torch.stack([torch.randperm(len(self.examples.inputs), generator=each) for each in generators])
            for places, bucket in zip(self._places, self.buckets, strict=True):
                labels = self.examples.labels if self.examples.labels.ndim == 1 else self.examples.labels[places]
                shuffled = orders if len(orders) == 1 else orders[places]
                num_full = shuffled.shape[1] // batch_size * batch_size
                for rows in shuffled[:, :num_full].split(batch_size, dim=1):
                    self._step(bucket, labels, rows)
            train_loss, train_error = self.evaluate(self.examples)
            test_loss, test_error = self.evaluate(test)
            yield Epoch(
                number=number,
                train_loss=train_loss,
                train_error=train_error,
                test_loss=test_loss,
                test_error=test_error,
            )

    def evaluate(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of errors of every member on some examples, each (members,)."""
        losses, errors = (torch.empty(len(self.members), dtype=examples.inputs.dtype) for _ in range(2))
        for places, bucket in zip(self._places, self.buckets, strict=True):
            labels = examples.labels if examples.labels.ndim == 1 else examples.labels[places]
            outputs = bucket.outputs(examples.inputs)[-1]
            labels = labels.expand(len(places), -1)
            losses[places] = self._losses(outputs, labels)
            errors[places] = (outputs.argmax(2) != labels).to(losses.dtype).mean(1)
        return losses, errors

    def weights_of(self, index: int) -> list[Tensor]:
        """Return weights and biases of one member in turn, of shapes (fan_out, fan_in) and (fan_out,)."""
        for places, bucket in zip(self._places, self.buckets, strict=True):
            if index in places:
                return bucket.weights_of(places.index(index))
        raise LookupError(index)

    def _step(self, bucket: Bucket, labels: Tensor, rows: Tensor) -> None:
        """Make one step on rows of the examples, (1, batch) for all or (members, batch)."""
        count = len(bucket.members)
        inputs = self.examples.inputs[rows[0] if len(rows) == 1 else rows]
        chosen = labels[rows].expand(count, -1) if labels.ndim == 1 else labels.gather(1, rows.expand(count, -1))
        bucket.step(inputs, self._slope(chosen))

    def _slope(self, labels: Tensor) -> Slope:
        """Return the gradient of the mean loss at the outputs."""
        rows = labels.unsqueeze(2)

        def of_cross_entropy(outputs: Tensor) -> Tensor:
            share = torch.softmax(outputs, 2)
            return share.scatter_add_(2, rows, share.new_full((1, 1, 1), -1.0).expand(rows.shape)).div_(rows.shape[1])

        def of_square(outputs: Tensor) -> Tensor:
            gaps = outputs.scatter_add_(2, rows, outputs.new_full((1, 1, 1), -1.0).expand(rows.shape))
            return gaps.mul_(2 / (outputs.shape[1] * outputs.shape[2]))

        return of_cross_entropy if self._loss == "cross-entropy" else of_square

    def _losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self._loss == "cross-entropy":
            return (
                nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
                .view_as(labels)
                .mean(1)
            )
        target = nn.functional.one_hot(labels, outputs.shape[2]).to(outputs.dtype)
        return (outputs - target).square().mean((1, 2))


def _grouped(members: Sequence[Member], num_inputs: int, num_outputs: int) -> list[list[int]]:
    """Return the members of each bucket: of one depth, and of sizes near enough to be padded to the largest."""
    order = sorted(range(len(members)), key=lambda index: (len(members[index].hidden), members[index].hidden))
    groups: list[list[int]] = []
    for index in order:
        joined = [*groups[-1], index] if groups else [index]
        if groups and _waste([members[each] for each in joined], num_inputs, num_outputs) <= MOST_WASTE:
            groups[-1] = joined
        else:
            groups.append([index])
    return groups


def _waste(members: Sequence[Member], num_inputs: int, num_outputs: int) -> float:
    """Return parameters with padding over those without; infinite where depths differ."""
    if len({len(member.hidden) for member in members}) > 1:
        return float("inf")
    padded = Member(hidden=tuple(max(sizes) for sizes in zip(*(member.hidden for member in members), strict=True)))
    own = sum(member.num_parameters(num_inputs, num_outputs) for member in members)
    return len(members) * padded.num_parameters(num_inputs, num_outputs) / own
