"""Finds labels that are likely wrong: those that networks which have not seen them contradict, early and clearly."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Loss, OptimizerFactory, Task, as_task
from isometry.probes.training import describe_optimizer
from isometry.training.labels.answers import CUTS, class_of, kind_of
from isometry.training.labels.doubts import MIN_AGREEMENT, Doubts, agreement_beyond_chance, doubts_of
from isometry.training.labels.examples import LabelledExamples, labelled_examples
from isometry.training.labels.learner import Learner
from isometry.training.labels.suspects import Suspect, Suspects

FOLDS = 5
MAX_EPOCHS = 30
PATIENCE = 5  # epochs without a better agreement after which the folds stop
BATCH_SIZE = 50  # examples


def find_mislabelled(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    folds: int = FOLDS,
    max_epochs: int = MAX_EPOCHS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Suspects:
    """Train copies of a network on parts of a data set, and doubt the labels that they contradict on the rest.

    Networks learn what the clean labels have in common before they memorise wrong ones. So each fold's copy is asked
    about the examples it does not learn after every epoch, up to the one at which such answers agree best with the
    labels; the scores are the means of these answers, and `doubts_of` judges them. The network is not changed.

    Args:
        model: The network, or a task. It should be as before training: one that has learned the labels repeats them.
        inputs: As for `check`; the whole data set.
        targets: A class for each example.
        loss: As for `check`.
        optimizer_factory: From parameters to an optimiser; without it the task's own, else Adam.
        folds: Copies, each of which learns all but one part of the examples, counts.
        max_epochs: Most epochs of each, counts.
        batch_size: Examples of a step, counts.
        seed: Seed of the folds, of the order of the examples and of dropout.

    Returns:
        Suspects, the most doubtful first, a ranking of all examples, and the estimated share of wrong labels.

    Raises:
        DomainError: If there are fewer than two folds, or fewer examples than folds.
        BuilderError: If the targets are no class for each example.
        ModelError: If the network cannot be copied, or its loss carries no gradient.

    Source:
        Clean labels first: Arpit et al. 2017, arXiv:1706.05394. Margins averaged over the epochs: Pleiss et al. 2020,
        arXiv:2001.10528. Answers of a network that has not learned the example: Northcutt et al. 2021,
        arXiv:1911.00068. Measured against each other in benchmarks/mislabelled.md.
    """
    start = time.perf_counter()
    task = as_task(model, inputs, targets, loss=loss, seed=seed)
    task = task if optimizer_factory is None else replace(task, optimizer_factory=optimizer_factory)
    examples = labelled_examples(task, most=None, seed=seed)
    if not 1 < folds <= examples.count:
        raise DomainError(
            f"folds={folds!r} does not part {examples.count} examples: at least 2 folds are needed, and an example in "
            "each. Give a number in between."
        )
    with preserved(task.model, seed=seed) as guard:
        order = torch.randperm(examples.count, generator=torch.Generator().manual_seed(seed))
        parts = [order[fold::folds].sort()[0] for fold in range(folds)]
        learners = [
            Learner(task, guard, examples, batch_size=batch_size, seed=seed + fold, rows=_all_but(part, examples.count))
            for fold, part in enumerate(parts)
        ]
        scores, labels, epochs = _learn(learners, parts, examples, max_epochs=max_epochs)
    found = _judged(scores, labels)
    order = _order(scores, labels, found)
    return Suspects(
        suspects=() if found is None else _listed(found, labels, order, rows=examples.rows),
        ranking=tuple(examples.rows[place] for place in order.tolist()),
        noise_rate=None if found is None else found.num_wrong / len(labels),
        agreement=_agreement(scores, labels),
        epochs=epochs,
        folds=folds,
        optimizer=describe_optimizer(learners[0].training.optimizer),
        seconds=time.perf_counter() - start,
    )


def _all_but(part: Tensor, count: int) -> Tensor:
    is_in = torch.ones(count, dtype=torch.bool)
    is_in[part] = False
    return is_in.nonzero()[:, 0]


def _learn(
    learners: Sequence[Learner], parts: Sequence[Tensor], examples: LabelledExamples, *, max_epochs: int
) -> tuple[Tensor, Tensor, int]:
    """Return the mean scores of the examples up to the epoch of best agreement, their labels and that epoch."""
    total = best = labels = torch.empty(0)
    best_agreement, best_epoch = -1.0, 0
    for epoch in range(1, max_epochs + 1):
        for learner in learners:
            learner.learn()
        answers = torch.cat([learner.answers(part) for learner, part in zip(learners, parts, strict=True)])
        scores, labels = _scores(answers[torch.cat([*parts]).argsort()], examples.targets.cpu())
        total = scores if epoch == 1 else total + scores
        agreement = _agreement(scores, labels)
        if agreement > best_agreement:
            best, best_agreement, best_epoch = total / epoch, agreement, epoch
        if epoch - best_epoch >= PATIENCE:
            break
    return best, labels, best_epoch


def _scores(answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores of every class and the given classes; on and off are two."""
    kind = kind_of(answers, targets)
    if kind == "labels" and answers.numel() == len(targets):
        is_on, value = targets.reshape(len(targets)) > 0, answers.reshape(len(targets))
        centre = min(CUTS, key=lambda cut: int(((value > cut) != is_on).sum()))
        return torch.stack([centre - value, value - centre], 1), is_on.long()
    if kind == "classes":
        scores, labels = class_of(answers, targets)
        if labels.ndim == 1 and bool((labels >= 0).all()):
            return scores, labels
    raise BuilderError(
        f"targets of shape {tuple(targets.shape)} and type {targets.dtype} are no class for each example. Give "
        "integers from 0 to the number of classes less one, one for each row of the inputs."
    )


def _judged(scores: Tensor, labels: Tensor) -> Doubts | None:
    """Return what the scores say of the labels; None where they say nothing."""
    if not bool(scores.isfinite().all()) or agreement_beyond_chance(scores.argmax(1), labels) < MIN_AGREEMENT:
        return None
    return doubts_of(scores, labels)


def _agreement(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(1) == labels).double().mean())


def _listed(found: Doubts, labels: Tensor, order: Tensor, *, rows: Sequence[int]) -> tuple[Suspect, ...]:
    return tuple(
        Suspect(rows[place], int(labels[place]), int(found.suggested[place]), float(found.rank[place]))
        for place in order[found.is_suspect[order]].tolist()
    )


def _order(scores: Tensor, labels: Tensor, found: Doubts | None) -> Tensor:
    """Return all examples by rank, those of equal rank by the margin of the given class over the best other."""
    given = scores.gather(1, labels[:, None])[:, 0]
    margin = given - scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    order = margin.argsort(stable=True)
    return order if found is None else order[found.rank[order].argsort(stable=True)]
