"""Which labels are wrong, from the scores that a network gives to examples it has not learned."""

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_OWN = 5  # examples that a class keeps as its own, below which nothing is held against them
MIN_AGREEMENT = 0.1  # Cohen's kappa of scores and labels; below it the network has learnt nothing to judge by
EARLIEST = 0.1  # the count of wrong labels is read off from this rank on; below it too few examples stand
STEPS = 19  # of ranks at which it is read off
EVEN = 2.0  # a suspect is wrong with a probability of at least one over this


@dataclass(frozen=True, slots=True)
class Doubts:
    """What scores say about labels.

    Attributes:
        rank: For each example, which share of the other class's own examples tells it from the given class at least as
            clearly, in (0, 1]; 1 where the scores agree with the label.
        suggested: For each example the class with the largest score.
        is_suspect: For each example whether its label is more likely wrong than right.
        num_wrong: How many labels are wrong, an estimate.
    """

    rank: Tensor
    suggested: Tensor
    is_suspect: Tensor
    num_wrong: float


def doubts_of(scores: Tensor, labels: Tensor) -> Doubts:
    """Return which labels to doubt, without a threshold to tune.

    An example of class k that is labelled c by mistake looks like the other examples of class k: its rank among them,
    by the difference of the scores of k and c, is uniform in (0, 1]. A hard example of class c that is taken for k
    stands at the end of that order, near 1. So the wrong labels are counted where the hard examples are few, W = min
    over u of (N(u) + sqrt(N(u))) / u, where N(u) is the number of ranks up to u, and its root the deviation of such a
    count; and suspects are the examples up to the rank that maximises 2 W u - N(u), at which one more is as likely
    right as wrong. Of two classes that the network cannot tell apart nothing is doubted.

    Args:
        scores: For each example of each class, by a network that has not learned the example; logits or logarithms.
        labels: The given classes.

    Returns:
        Ranks, suggested classes, suspects and the number of wrong labels.

    Source:
        The count is Storey 2002 (the share of true null hypotheses), turned round; to compare the scores of a class
        with the class's own: Northcutt, Jiang, Chuang 2021, arXiv:1911.00068.
    """
    suggested = scores.argmax(1)
    rank = torch.ones(len(labels), dtype=torch.float64)
    pairs = torch.stack([suggested, labels], 1)[suggested != labels].unique(dim=0)
    for taken_for, given in pairs.tolist():
        own = scores[(labels == taken_for) & (suggested == taken_for)]
        if len(own) >= MIN_OWN and _are_told_apart(suggested, labels, (taken_for, given)):
            places = (suggested == taken_for) & (labels == given)
            rank[places] = _ranks(scores[places], own, (taken_for, given))
    ordered = rank[suggested != labels].sort()[0]
    num_wrong = _count(ordered)
    return Doubts(rank, suggested, (suggested != labels) & (rank <= _cut(ordered, num_wrong)), num_wrong)


def agreement_beyond_chance(first: Tensor, second: Tensor) -> float:
    """Return Cohen's kappa of two classings: 0 if they agree as often as by chance, 1 if always.

    Args:
        first: A class for each example.
        second: Another.

    Source:
        Cohen 1960, A coefficient of agreement for nominal scales.
    """
    size = int(torch.maximum(first.max(), second.max())) + 1
    shares = first.bincount(minlength=size).double() / len(first)
    by_chance = float((shares * second.bincount(minlength=size).double() / len(second)).sum())
    agreed = float((first == second).double().mean())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def _are_told_apart(suggested: Tensor, labels: Tensor, classes: tuple[int, int]) -> bool:
    pair = torch.tensor(classes)
    places = torch.isin(labels, pair) & torch.isin(suggested, pair)
    return agreement_beyond_chance(suggested[places], labels[places]) >= MIN_AGREEMENT


def _ranks(scores: Tensor, own: Tensor, classes: tuple[int, int]) -> Tensor:
    taken_for, given = classes
    differences = (own[:, taken_for] - own[:, given]).sort()[0]
    lower = torch.searchsorted(differences, scores[:, taken_for] - scores[:, given])
    return (1 + len(own) - lower).double() / (1 + len(own))


def _count(ordered: Tensor) -> float:
    limits = torch.linspace(EARLIEST, 1, STEPS, dtype=torch.float64)
    counts = torch.searchsorted(ordered, limits, right=True).double()
    return float(((counts + counts.sqrt()) / limits).min())


def _cut(ordered: Tensor, num_wrong: float) -> float:
    """Return the rank up to which examples are suspects."""
    gain = EVEN * num_wrong * ordered - torch.arange(1, len(ordered) + 1)
    best = int(gain.argmax()) if len(gain) else 0
    return float(ordered[best]) if len(gain) and gain[best] > 0 else 0.0
