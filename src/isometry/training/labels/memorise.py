"""The random-label test: how long a network takes to fit its targets, and the same targets given to other examples."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Loss, OptimizerFactory, Task, as_task
from isometry.probes.training import describe_optimizer
from isometry.training.labels.answers import Kind, error_of, error_of_constant, kind_of
from isometry.training.labels.examples import labelled_examples
from isometry.training.labels.learner import Learner, require_counts
from isometry.training.labels.memorisation import FITTED, End, FitCurve, Memorisation

MAX_EXAMPLES = 1000  # that an MLP of width 512 memorises in 60 to 90 epochs: benchmarks/memorise.md
MAX_EPOCHS = 500
PATIENCE = 50  # epochs without a gain after which a course stands still, if its loss does not fall either
MIN_GAIN = 0.01  # of what there is to fit
MIN_FALL = 0.01  # of the lowest loss before them
MIN_DEALT = 2  # targets; one alone has none to change with
BATCH_SIZE = 50  # examples
MAX_SECONDS = 120.0  # for both fits together, at most half of it for the true targets


def can_memorise(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    share: float = 1.0,
    max_examples: int = MAX_EXAMPLES,
    max_epochs: int = MAX_EPOCHS,
    max_seconds: float = MAX_SECONDS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> Memorisation:
    """Train copies of a network on its targets and on the same targets dealt out at random, until each is fitted.

    ratio = epochs to fit the random targets / epochs to fit the true ones

    Targets are fitted when of the mistakes of the best constant answer at most one in a hundred is left (of the
    variance of numbers: one in twenty). The network itself is not changed.

    Args:
        model: The network, or a task.
        inputs: As for `check`; a data set.
        targets: One for each example: classes, labels that are on or off, or numbers.
        loss: As for `check`.
        optimizer_factory: From parameters to an optimiser; without it the task's own, else Adam.
        share: Share of the examples whose targets are dealt out anew among them, in (0, 1].
        max_examples: Largest number of examples, drawn from the data set, counts.
        max_epochs: Most epochs of each fit, counts.
        max_seconds: After so long no further epoch is begun.
        batch_size: Examples of a step, counts.
        seed: Seed of the examples, of their order, of dropout and of the random targets.
        on_progress: Told after every epoch the share of both fits that is done, in (0, 1], if they take all that they
            may.

    Returns:
        Both curves, the ratio, and what they mean; printable.

    Raises:
        DomainError: If the share is not in (0, 1] or deals out nothing, a count is below 1, or there is nothing to tell
            apart in the targets.
        BuilderError: If the task has no examples with a target each, or its loss does not use them.
        ModelError: If the network cannot be copied, or its loss carries no gradient.

    Source:
        Zhang, Bengio, Hardt, Recht, Vinyals 2017, arXiv:1611.03530, section 2; Arpit et al. 2017, arXiv:1706.05394.
    """
    if not 0 < share <= 1:
        raise DomainError(f"share={share!r} is not in (0, 1]. Give the share of targets that are dealt out anew.")
    require_counts(max_examples=max_examples, max_epochs=max_epochs, batch_size=batch_size)
    start = time.perf_counter()
    task = as_task(model, inputs, targets, loss=loss, seed=seed)
    task = task if optimizer_factory is None else replace(task, optimizer_factory=optimizer_factory)
    examples = labelled_examples(task, most=max_examples, seed=seed)
    if round(share * examples.count) < MIN_DEALT:
        raise DomainError(
            f"share={share!r} of {examples.count} examples is {round(share * examples.count)}, and to deal out targets "
            f"anew takes at least {MIN_DEALT}. Give a larger share, or more examples."
        )
    dealt = examples.relabelled(dealt_out(examples.targets, share, seed=seed))
    with preserved(task.model, seed=seed) as guard:
        learners = [Learner(task, guard, each, batch_size=batch_size, seed=seed) for each in (examples, dealt)]
        kind = kind_of(learners[0].answers(), examples.targets.cpu())
        courses: list[FitCurve] = []
        for number, (learner, each) in enumerate(zip(learners, (examples, dealt), strict=True), 1):
            goal = _Goal(each.targets.cpu(), kind, max_epochs, deadline=start + number * max_seconds / 2)
            courses.append(_fit(learner, goal, _half(on_progress, number)))
    return Memorisation(
        true=courses[0],
        random=courses[1],
        kind=kind,
        share=share,
        num_examples=examples.count,
        max_epochs=max_epochs,
        optimizer=describe_optimizer(learners[0].training.optimizer),
        loss=task.loss_in_use,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def dealt_out(targets: Tensor, share: float, *, seed: int) -> Tensor:
    """Return targets of which a share has been dealt out anew among its own examples.

    Args:
        targets: One row for each example.
        share: Share of the rows, in (0, 1].
        seed: Seed of the choice and of the deal.

    Returns:
        A copy; which targets there are, and how many of each, is as before.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(targets), generator=generator)[: round(share * len(targets))]
    dealt = chosen[torch.randperm(len(chosen), generator=generator)]
    found = targets.clone()
    found[chosen.to(targets.device)] = targets[dealt.to(targets.device)]
    return found


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a course is to fit, and by when."""

    targets: Tensor
    kind: Kind
    max_epochs: int
    deadline: float
    begun: float = field(default_factory=time.perf_counter)

    def share(self, num_epochs: int) -> float:
        """Return how much of its epochs or of its time a course has taken, the larger, in [0, 1]."""
        taken = (time.perf_counter() - self.begun) / max(self.deadline - self.begun, 1e-9)
        return min(max(num_epochs / self.max_epochs, taken), 1.0)

    def end(self, fits: Sequence[float], losses: Sequence[float]) -> End | None:
        """Return why a course is over; None while it is not."""
        if fits[-1] >= FITTED[self.kind]:
            return "fitted"
        if losses and not math.isfinite(losses[-1]):
            return "not finite"
        has_gained = len(fits) <= PATIENCE or max(fits[-PATIENCE:]) >= max(fits[:-PATIENCE]) + MIN_GAIN
        if not has_gained and not _is_falling(losses):
            return "standing still"
        if len(fits) > self.max_epochs:
            return "out of epochs"
        return "out of time" if time.perf_counter() > self.deadline else None


def _half(on_progress: Callable[[float], None] | None, number: int) -> Callable[[float], None]:
    """Return what tells the share of one of two courses as that of both."""

    def tell(share: float) -> None:
        if on_progress is not None:
            on_progress((number - 1 + share) / 2)

    return tell


def _is_falling(losses: Sequence[float]) -> bool:
    lowest = min(losses[:-PATIENCE], default=math.inf)
    return min(losses[-PATIENCE:]) < lowest - MIN_FALL * abs(lowest)


def _fit(learner: Learner, goal: _Goal, tell: Callable[[float], None]) -> FitCurve:
    answers = learner.answers()
    constant = error_of_constant(answers, goal.targets, goal.kind)
    if not constant > 0:
        raise DomainError(
            f"the targets of all {len(goal.targets)} examples are alike, so there is nothing to memorise. "
            "Give examples with different targets."
        )
    fits = [1 - error_of(answers, goal.targets, goal.kind) / constant]
    losses: list[float] = []
    while (end := goal.end(fits, losses)) is None:
        losses.append(learner.learn())
        fits.append(1 - error_of(learner.answers(), goal.targets, goal.kind) / constant)
        tell(goal.share(len(losses)))
    tell(1.0)
    return FitCurve(fits=tuple(fits), end=end)
