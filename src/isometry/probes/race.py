"""Trains copies of two networks under the same conditions and says which one ends lower, if any."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.anatomy.preserve import preserved, seeded
from isometry.anatomy.task import Batch, Task, call_model
from isometry.probes.race_result import Evaluation, RaceResult, RaceSide, Winner
from isometry.probes.training import Training, describe_optimizer

DEFAULT_STEPS = 300
DEFAULT_BATCH = 64  # examples
HELD_OUT = 0.2  # share of a data set that no step sees
MIN_HELD_OUT = 30  # examples; on fewer a look says nothing, and the batch trained on is looked at instead
MAX_HELD_OUT = 2000  # examples; more make the looks slower and no surer
NUM_LOOKS = 10  # evaluations of a run, beside the one before any step
REPEATS = 3  # data orders
MIN_ADVANTAGE = 2.0  # of the final losses; two draws of one scheme differed by up to 1.56: benchmarks/race.md

Progress = Callable[[int, int, tuple[Evaluation, Evaluation]], None]


def race(
    first: Task,
    second: Task,
    *,
    names: tuple[str, str] = ("as built", "treated"),
    steps: int = DEFAULT_STEPS,
    batch_size: int = DEFAULT_BATCH,
    repeats: int = REPEATS,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> RaceResult:
    """Train copies of two networks side by side on the same batches in the same order with the same optimiser.

    The networks themselves are not changed. One side wins only if it ends lower on the examples held out (with fewer
    than 150 examples, on the batch it trains on) in every repeat, and at less than half of the other's loss over all;
    anything else is `no difference`, and so is a side that ends higher only because it memorises what it trains on.

    Args:
        first: One task, usually the network as built; its data, optimiser and step serve both sides.
        second: The other, usually the network as treated.
        names: What the sides are called in reports.
        steps: Optimiser steps of each run, counts.
        batch_size: Examples of a step where there is a data set; counts.
        repeats: How many data orders to train with, counts.
        seed: Seed of the examples held out, and of the first data order.
        on_progress: Called after each step with the steps done, the steps in all, and the two latest looks.

    Returns:
        Both sides' losses and looks, and which of them ended lower, if any.

    Raises:
        DomainError: If steps, batch size or repeats are not positive.
        ModelError: If a network cannot be copied, or its loss carries no gradient.
    """
    if min(steps, batch_size, repeats) < 1:
        raise DomainError(
            f"steps={steps!r}, batch_size={batch_size!r} and repeats={repeats!r} must all be at least 1. "
            "Give positive numbers."
        )
    start = time.perf_counter()
    course = _course(first, steps=steps, batch_size=batch_size, seed=seed)
    runs: list[tuple[_Run, _Run]] = []
    with preserved(first.model, seed=seed) as guard:
        for repeat in range(repeats):
            trainings = [Training(first, model, guard) for model in (first.model, second.model)]
            pair = (_Run(trainings[0], course), _Run(trainings[1], course))
            for step in _run_pair(pair, course, seed=seed + repeat):
                if on_progress is not None:
                    looks = pair[0].evaluations[-1], pair[1].evaluations[-1]
                    on_progress(repeat * steps + step, repeats * steps, looks)
            runs.append(pair)
    sides = [_side(names[side], [pair[side] for pair in runs]) for side in (0, 1)]
    winner, reason = judge(sides[0], sides[1])
    return RaceResult(
        first=sides[0],
        second=sides[1],
        winner=winner,
        reason=reason,
        steps=steps,
        batch_size=course.batch_size,
        optimiser=describe_optimizer(runs[0][0].training.optimizer),
        held_out=len(course.held_out),
        repeats=repeats,
        seed=seed,
        seconds=time.perf_counter() - start,
    )


def judge(first: RaceSide, second: RaceSide) -> tuple[Winner, str]:
    """Return the winner and a sentence with the numbers that decided."""
    pairs = list(zip(_comparable(first), _comparable(second), strict=True))
    start = max(_start(first), _start(second))
    means = statistics.fmean(pair[0] for pair in pairs), statistics.fmean(pair[1] for pair in pairs)
    ends = Phrase(
        "{first} {ending}, {second} {other}",
        first=first.name,
        ending=_ending(means[0]),
        second=second.name,
        other=_ending(means[1]),
    )
    outcomes: tuple[tuple[int, int, Winner, str], ...] = (
        (1, 0, "second", Phrase("lower in every repeat")),
        (0, 1, "first", Phrase("higher in every repeat")),
    )
    for lower, higher, winner, order in outcomes:
        if all(pair[higher] > pair[lower] for pair in pairs) and _is_well_above(means[higher], means[lower], start):
            if _fits_better((first, second)[higher], (first, second)[lower]):
                rival = (first, second)[higher].name
                return "no difference", Phrase(
                    "{ends}; but {rival} fits the batches it trains on better: it memorises.", ends=ends, rival=rival
                )
            return winner, Phrase("{ends}, {order}.", ends=ends, order=order)
    return "no difference", Phrase(
        "{ends}; a difference counts from a factor of {factor:g} in every repeat alike.",
        ends=ends,
        factor=MIN_ADVANTAGE,
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """What both sides share: the examples to train on and to look at, and when to look."""

    steps: int
    batch_size: int | None
    training: tuple[int, ...]
    held_out: tuple[int, ...]
    looks: frozenset[int]

    def parts(self) -> list[tuple[int, ...]]:
        """Return the examples held out in parts of a batch; one empty part where there are none."""
        size = self.batch_size or 1
        starts = range(0, max(len(self.held_out), 1), size)
        return [self.held_out[start : start + size] for start in starts]

    def order(self, seed: int) -> list[list[int]]:
        """Return the examples of each step, epoch after epoch."""
        generator = torch.Generator().manual_seed(seed)
        batches: list[list[int]] = []
        while self.batch_size and len(batches) < self.steps:
            rows = torch.tensor(self.training)[torch.randperm(len(self.training), generator=generator)]
            parts = rows.split(self.batch_size)
            # Of the last few examples batch norm might not be able to take a deviation.
            batches.extend(part.tolist() for part in parts if len(part) == self.batch_size)
        return batches[: self.steps]


class _Run:
    """One network in training."""

    def __init__(self, training: Training, course: _Course) -> None:
        self.training = training
        self.task = training.task
        self.course = course
        self.losses = training.losses
        self.evaluations: list[Evaluation] = []

    def look(self, step: int) -> None:
        """Measure loss and accuracy on the examples held out, in eval mode and in parts no larger than a batch."""
        model, modes = self.task.model, {module: module.training for module in self.task.model.modules()}
        model.eval()
        looks = [(len(rows) or 1, *self._measure(rows)) for rows in self.course.parts()]
        for module, mode in modes.items():
            module.training = mode
        total = sum(count for count, _, _ in looks)
        loss = sum(count * loss for count, loss, _ in looks) / total
        shares = [count * accuracy for count, _, accuracy in looks if accuracy is not None]
        accuracy = sum(shares) / total if len(shares) == len(looks) else None
        self.evaluations.append(Evaluation(step, loss if math.isfinite(loss) else None, accuracy))

    def _measure(self, rows: Sequence[int]) -> tuple[float, float | None]:
        model, examples = self.task.model, self.task.examples
        batch = examples.take(rows) if examples is not None and rows else self.task.batch
        # With gradients on, as in training: some steps differentiate on their way to the loss.
        loss = float(self.training.loss(batch).detach())
        with self.task.context():
            return loss, _accuracy(model, batch)


def _course(task: Task, *, steps: int, batch_size: int, seed: int) -> _Course:
    looks = frozenset(round(steps * look / NUM_LOOKS) for look in range(NUM_LOOKS + 1))
    if task.examples is None:
        return _Course(steps, None, (), (), looks)
    order: list[int] = torch.randperm(task.examples.count, generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(round(HELD_OUT * len(order)), MAX_HELD_OUT)
    count = count if count >= MIN_HELD_OUT else 0
    training = tuple(order[count:])
    return _Course(steps, min(batch_size, len(training)), training, tuple(order[:count]), looks)


def _run_pair(pair: tuple[_Run, _Run], course: _Course, *, seed: int) -> Iterator[int]:
    """Train both side by side, and yield the number of each step that is done."""
    order = course.order(seed)
    for run in pair:
        with seeded(run.task.model, seed):
            run.look(0)
    for step in range(1, course.steps + 1):
        for run in pair:
            examples = run.task.examples
            batch = run.task.batch if examples is None else examples.take(order[step - 1])
            with seeded(run.task.model, seed * 1_000_003 + step):
                run.training.step(batch)
                if step in course.looks:
                    run.look(step)
        yield step


def _accuracy(model: nn.Module, batch: Any) -> float | None:
    """Return the share of right answers, None where outputs and targets are none of a classification."""
    if not isinstance(batch, Batch) or not isinstance(batch.targets, Tensor) or batch.targets.is_floating_point():
        return None
    with torch.no_grad():
        outputs = call_model(model, batch.inputs)
    logits = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != batch.targets.ndim + 1:
        return None
    for axis in (1, -1):  # torch's losses have the classes second, language models last
        if logits.shape[axis] > 1 and logits.argmax(axis).shape == batch.targets.shape:
            return float((logits.argmax(axis) == batch.targets).double().mean())
    return None


def _side(name: str, runs: Sequence[_Run]) -> RaceSide:
    steps = [evaluation.step for evaluation in runs[0].evaluations]
    return RaceSide(
        name=name,
        losses=tuple(_mean([run.losses[step] for run in runs]) for step in range(len(runs[0].losses))),
        evaluations=tuple(
            Evaluation(
                step,
                _mean([run.evaluations[look].loss for run in runs]),
                _mean([run.evaluations[look].accuracy for run in runs]),
            )
            for look, step in enumerate(steps)
        ),
        finals=tuple(run.evaluations[-1].loss for run in runs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(numbers) if len(numbers) == len(values) else None


def _fits_better(side: RaceSide, other: RaceSide) -> bool:
    """Say whether a side ends well below another on the batches it trains on, whatever the examples held out say."""
    ends = [_mean(each.losses[-max(len(each.losses) // NUM_LOOKS, 1) :] or (None,)) for each in (side, other)]
    return ends[0] is not None and ends[1] is not None and 0 <= ends[0] * MIN_ADVANTAGE <= ends[1]


def _comparable(side: RaceSide) -> list[float]:
    return [math.inf if final is None else final for final in side.finals]


def _start(side: RaceSide) -> float:
    start = side.evaluations[0].loss if side.evaluations else None
    return -math.inf if start is None else start


def _is_well_above(high: float, low: float, start: float) -> bool:
    if low > 0:
        return high >= MIN_ADVANTAGE * low
    # Losses below zero have no ratio; then the way from the start counts instead.
    return high - low >= (1 - 1 / MIN_ADVANTAGE) * (max(start, high) - low)


def _ending(loss: float) -> Phrase:
    return Phrase("ended at a loss of {loss:.4g}", loss=loss) if math.isfinite(loss) else Phrase("diverged")
