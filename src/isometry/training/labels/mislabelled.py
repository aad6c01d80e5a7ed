"""Finds labels that are likely wrong: those that networks which have not seen them contradict, early and clearly."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Loss, OptimizerFactory, Task, as_task
from isometry.probes.training import describe_optimizer
from isometry.training.labels.answers import CUTS, class_of, kind_of
from isometry.training.labels.doubts import MIN_AGREEMENT, Doubts, agreement_beyond_chance, doubts_of
from isometry.training.labels.examples import LabelledExamples, labelled_examples
from isometry.training.labels.learner import Learner, require_counts
from isometry.training.labels.suspects import Suspect, Suspects

FOLDS = 5
MAX_EPOCHS = 30
PATIENCE = 5  # epochs without a better agreement after which the folds stop, once there is one beyond chance
LEARNT = 0.5  # kappa before any epoch; an untrained network reaches less, but by chance more than MIN_AGREEMENT
MIN_GAIN = 0.05  # of kappa, by training; without it the network that was given had learned the labels
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
        DomainError: If there are fewer than two folds, fewer examples than folds, or a count is below 1.
        BuilderError: If the targets are no class for each example, or the loss does not use them.
        ModelError: If the network cannot be copied, its loss carries no gradient, or it has learned the labels already.

    Source:
        Clean labels first: Arpit et al. 2017, arXiv:1706.05394. Margins averaged over the epochs: Pleiss et al. 2020,
        arXiv:2001.10528. Answers of a network that has not learned the example: Northcutt et al. 2021,
        arXiv:1911.00068. Measured against each other in benchmarks/mislabelled.md.
    """
    require_counts(max_epochs=max_epochs, batch_size=batch_size)
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
        scores, labels, epochs, tried = _learn(learners, parts, examples, max_epochs=max_epochs)
    found = _judged(scores, labels)
    order = _order(scores, labels, found)
    return Suspects(
        suspects=() if found is None else _listed(found, labels, order, rows=examples.rows),
        ranking=tuple(examples.rows[place] for place in order.tolist()),
        noise_rate=None if found is None else found.num_wrong / len(labels),
        agreement=_agreement(scores, labels),
        epochs=epochs,
        tried=tried,
        folds=folds,
        optimizer=describe_optimizer(learners[0].training.optimizer),
        loss=task.loss_in_use,
        seconds=time.perf_counter() - start,
    )


def _all_but(part: Tensor, count: int) -> Tensor:
    is_in = torch.ones(count, dtype=torch.bool)
    is_in[part] = False
    return is_in.nonzero()[:, 0]


def _learn(
    learners: Sequence[Learner], parts: Sequence[Tensor], examples: LabelledExamples, *, max_epochs: int
) -> tuple[Tensor, Tensor, int, int]:
    """Return the mean scores up to the epoch of best agreement, the labels, that epoch and the number of epochs."""
    scores, labels = _answered(learners, parts, examples)
    before, gained = _kappa(scores, labels), -1.0
    best, total, best_epoch, epoch = scores, torch.zeros_like(scores), 0, 0
    best_agreement = -1.0
    while epoch < max_epochs and (epoch - best_epoch < PATIENCE or _kappa(best, labels) < MIN_AGREEMENT):
        epoch += 1
        for learner in learners:
            learner.learn()
        scores, labels = _answered(learners, parts, examples)
        total = total + scores
        gained = max(gained, _kappa(scores, labels) - before)
        agreement = _agreement(scores, labels)
        if agreement > best_agreement:
            best, best_agreement, best_epoch = total / epoch, agreement, epoch
    if before >= LEARNT and gained < MIN_GAIN:
        raise ModelError(
            f"before its copies train, the network agrees with {before:.0%} of the labels beyond chance, and after it "
            "with hardly more: it has learned these labels, and may repeat wrong ones. Give the untrained network."
        )
    return best, labels, best_epoch, epoch


def _answered(
    learners: Sequence[Learner], parts: Sequence[Tensor], examples: LabelledExamples
) -> tuple[Tensor, Tensor]:
    """Return the scores of all examples, each by the copy that does not learn it, and the labels."""
    answers = torch.cat([learner.answers(part) for learner, part in zip(learners, parts, strict=True)])
    return _scores(answers[torch.cat([*parts]).argsort()], examples.targets.cpu())


def _kappa(scores: Tensor, labels: Tensor) -> float:
    return agreement_beyond_chance(scores.argmax(1), labels)


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
    if not bool(scores.isfinite().all()) or _kappa(scores, labels) < MIN_AGREEMENT:
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
