"""The value TrialResult: what a few optimiser steps on a copy of a model showed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpdateRatio:
    """How far the first step moved one parameter.

    Attributes:
        parameter: Canonical name.
        ratio: Root mean square of the update over that of the parameter, dimensionless.
    """

    parameter: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Failure:
    """The first number of a course of training that is not finite.

    Attributes:
        step: How many steps had been made when it came up; 0 is the loss before any.
        parameter: Canonical name of the first weight that was not finite; None if it was the loss that was not.
    """

    step: int
    parameter: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What a few optimiser steps on one batch showed, made on a copy of the model.

    Attributes:
        losses: The loss before each step and after the last; not finite from where it is no number.
        constant: The loss of the best predictor that ignores its input, on this batch; None if it is not known.
        optimizer: The optimiser with its settings, in words.
        is_given: Whether the optimiser is the user's own; else it is the tool's.
        learning_rate: Of its first group; None if it has none.
        updates: How far the first step moved each parameter that is not zero.
        learns: Whether the losses show that the network learns to tell its samples apart: no statistic of the
            start weighs more than this.
        remaining: The loss at the end over that of the best predictor that ignores its input, the least of the loss
            calls, dimensionless; None if it is not known.
        failure: Where the first number came up that is not finite; None if all stayed finite.
        momentum: Of the optimiser's first group, dimensionless; 0 if it has none.
        is_warming_up: Whether a schedule holds the learning rate below what it will be.
        step_seconds: Time of one step.
        num_held: How many parameters of the model the optimiser holds, counts.
        num_strangers: How many tensors the user's optimiser holds that are no parameters of the model; counts.
        missed: Names of trainable parameters that get a gradient and that the user's optimiser does not hold.
    """

    losses: tuple[float, ...]
    constant: float | None
    optimizer: str
    is_given: bool
    learning_rate: float | None
    updates: tuple[UpdateRatio, ...]
    learns: bool
    remaining: float | None = None
    failure: Failure | None = None
    momentum: float = 0.0
    is_warming_up: bool = False
    step_seconds: float = 0.0
    num_held: int = 0
    num_strangers: int = 0
    missed: tuple[str, ...] = ()
