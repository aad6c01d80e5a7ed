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
    """

    losses: tuple[float, ...]
    constant: float | None
    optimizer: str
    is_given: bool
    learning_rate: float | None
    updates: tuple[UpdateRatio, ...]
    learns: bool
