"""Stop without a validation set: random labels among the training data, which nothing but memorising can fit.

What a network learns of them is what it memorises, of the other wrong labels too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor
from torch.utils.data import Dataset

from isometry._errors import DomainError, ShapeError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.metrics import metric_of
from isometry.training.stopping.rule import Decision, StoppingRule


@final
class RandomLabelProbe(StoppingRule):
    """Keeps the weights where training accuracy is furthest above accuracy on the probe, and stops behind that.

    score = accuracy on the training labels - accuracy on the random labels

    The weight of the second term must stay 1: tenfold it costs 2 to 4 points of test accuracy (benchmarks/stopping.md).

    Source:
        After Garg, Balakrishnan, Kolter, Lipton 2021, RATT, arXiv:2105.00303, who bound the true error by this.
    """

    def __init__(self, *, train: str = "train_accuracy", probe: str = "probe_accuracy", patience: int = 5) -> None:
        """Set the rule up.

        Args:
            train: Name of the accuracy on the training data without the probe, in [0, 1].
            probe: Name of the accuracy on the probe's random labels, in [0, 1].
            patience: Evaluations without a better score before it stops, counts.

        Raises:
            DomainError: If patience is below 1.
        """
        super().__init__()
        if patience < 1:
            raise DomainError(f"patience={patience!r}, and it must be at least 1.")
        self.train, self.probe, self.patience = train, probe, patience
        self._waited = 0

    def __repr__(self) -> str:
        return f"RandomLabelProbe(train={self.train!r}, probe={self.probe!r}, patience={self.patience})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """Both accuracies."""
        return (self.train, self.probe)

    def _judge(self, evaluation: Evaluation) -> Decision:
        score = self._score(evaluation)
        highest = -math.inf if self.best is None else self._score(self.best)
        is_best = math.isfinite(score) and score > highest
        self._waited = 0 if is_best else self._waited + 1
        told = self._told(score if is_best else highest)
        return Decision(should_stop=self._waited >= self.patience, reason=told, is_best=is_best)

    def _told(self, highest: float) -> Phrase:
        if math.isinf(highest):
            return Phrase(
                "training accuracy less that on random labels was no finite number for {waited} of {patience} "
                "evaluations",
                waited=self._waited,
                patience=self.patience,
            )
        return Phrase(
            "training accuracy less that on random labels was highest at {score:.3g}, and not higher for "
            "{waited} of {patience} evaluations",
            score=highest,
            waited=self._waited,
            patience=self.patience,
        )

    def _score(self, evaluation: Evaluation) -> float:
        return metric_of(evaluation, self.train) - metric_of(evaluation, self.probe)

    def _state(self) -> dict[str, Any]:
        return {"waited": self._waited}

    def _load(self, state: dict[str, Any]) -> None:
        self._waited = state["waited"]


@dataclass(frozen=True, slots=True)
class ProbedLabels:
    """The labels of a training set, some of them random.

    Attributes:
        labels: As given, but for the probe's.
        is_probe: Whether an example belongs to the probe.
    """

    labels: Tensor
    is_probe: Tensor


@final
class ProbedDataset(Dataset[Any]):
    """A data set of (input, ..., label) with some labels random; all other items are its own, untouched.

    Attributes:
        is_probe: Whether an example belongs to the probe; `torch.utils.data.Subset` takes the indices of either part.
    """

    def __init__(self, dataset: Dataset[Any], probed: ProbedLabels) -> None:
        self._dataset = dataset
        self._labels = probed.labels
        self.is_probe = probed.is_probe

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        if not self.is_probe[index]:
            return item
        label, given = self._labels[index], item[-1]
        return (*item[:-1], label.to(given).reshape(given.shape) if isinstance(given, Tensor) else int(label))


def with_random_labels(
    labels: Tensor | Sequence[int], *, share: float = 0.1, seed: int = 0, num_classes: int | None = None
) -> ProbedLabels:
    """Draw labels anew, uniformly over the classes, for a random share of the examples.

    Args:
        labels: Classes of the training examples, in [0, classes).
        share: Of the examples whose labels are drawn, in (0, 1).
        seed: Of the draw; global random state is not touched.
        num_classes: Classes, counts; one more than the largest label if left out.

    Returns:
        All labels, and which examples are the probe.

    Raises:
        DomainError: If the share leaves no probe or nothing else, there are fewer than two classes, or a label is none.
        ShapeError: If there is not one class for each example.
    """
    given = torch.as_tensor(labels)
    if given.ndim != 1 or given.is_floating_point() or not len(given):
        raise ShapeError(
            f"the labels have shape {tuple(given.shape)} and type {given.dtype}. Give one class, a whole number, for "
            f"each example."
        )
    lowest, highest = int(given.min()), int(given.max())
    count, classes = round(share * len(given)), highest + 1 if num_classes is None else num_classes
    if not 0 < count < len(given) or classes <= 1:
        raise DomainError(
            f"share={share!r} of {len(given)} examples in {classes} classes leaves {count} for the probe. "
            f"Both parts need examples, and there must be two classes."
        )
    if lowest < 0 or highest >= classes:
        raise DomainError(
            f"the labels go from {lowest} to {highest}, and the {classes} classes are 0 to {classes - 1}. Leave out "
            f"examples without a class, and give num_classes= if it is another number."
        )
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(given), generator=generator)[:count].to(given.device)
    drawn = torch.randint(classes, (count,), generator=generator).to(given)
    is_probe = torch.zeros(len(given), dtype=torch.bool, device=given.device)
    is_probe[rows] = True
    return ProbedLabels(given.clone().index_copy(0, rows, drawn), is_probe)


def probed(
    dataset: Dataset[Any], *, share: float = 0.1, seed: int = 0, num_classes: int | None = None
) -> ProbedDataset:
    """Return a data set of (input, ..., label) in which a random share of the labels is random.

    Args:
        dataset: With a length; every item is read once, for its label as training gets it.
        share: Of the examples whose labels are drawn, in (0, 1).
        seed: Of the draw.
        num_classes: Classes, counts; one more than the largest label if left out.
    """
    sized = cast(Any, dataset)
    labels = torch.tensor([])
    if len(sized):
        labels = torch.stack([torch.as_tensor(sized[row][-1]) for row in range(len(sized))])
    labels = labels.flatten() if labels.numel() == len(labels) else labels  # each may be a tensor of one
    return ProbedDataset(dataset, with_random_labels(labels, share=share, seed=seed, num_classes=num_classes))
