"""The value RaceResult: two networks trained under the same conditions, side by side."""

from dataclasses import dataclass
from typing import Literal

Winner = Literal["first", "second", "no difference"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One look at a run: after `step` optimiser steps, loss and accuracy on the examples held out.

    `loss` is the mean over the repeats; None if it is not finite. `accuracy` lies in [0, 1]; None if the task
    is no classification. Without examples to hold out, both are those of the training batch.
    """

    step: int
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class RaceSide:
    """One of the two networks.

    Attributes:
        name: What the side is called in reports, such as `as built`.
        losses: Training loss before every step, mean over the repeats, loss units; None where not finite.
        evaluations: Looks at the examples held out, the first before any step.
        finals: The last evaluation's loss in each repeat, loss units; None where not finite.
    """

    name: str
    losses: tuple[float | None, ...]
    evaluations: tuple[Evaluation, ...]
    finals: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """What a race of two networks showed.

    Attributes:
        first: The first side, usually the network as built.
        second: The second side, usually the network as treated.
        winner: Which side ended lower, or `no difference`.
        reason: One sentence with the numbers behind `winner`.
        steps: Optimiser steps of each run, counts.
        batch_size: Examples a step, counts; None if the one batch was used as given.
        optimiser: The optimiser and its settings, in words.
        held_out: Number of examples that no step saw; 0 if losses are those of the training batch.
        repeats: How many data orders each side was trained with, counts.
        seed: Seed of the first data order.
        seconds: How long the race took.
    """

    first: RaceSide
    second: RaceSide
    winner: Winner
    reason: str
    steps: int
    batch_size: int | None
    optimiser: str
    held_out: int
    repeats: int
    seed: int
    seconds: float
