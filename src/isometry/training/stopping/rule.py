"""What a stopping rule is: evaluations in, one decision at a time, and the best weights kept meanwhile."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, SupportsFloat, final

import torch
from torch import nn

from isometry._errors import SettingsError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.best import BestWeights
from isometry.training.stopping.metrics import evaluation_from, evaluation_state, number_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a rule makes of the evaluations so far.

    Attributes:
        should_stop: Whether training has gone far enough.
        reason: Why, in a sentence; also why it goes on.
        is_best: Whether this evaluation is the best so far, so that its weights are the ones to keep.
    """

    should_stop: bool
    reason: Phrase
    is_best: bool


class StoppingRule(ABC):
    """One rule over one training; a new training needs a new rule, or its saved state.

    A decision is about all evaluations so far. A loop may go on after a stop and ask again.
    """

    _counts_steps = False  # whether the number of evaluations cannot stand for that of steps

    def __init__(self) -> None:
        self._best: Evaluation | None = None
        self._count = 0
        self._keepers: tuple[BestWeights, ...] = ()
        self._is_spent = False  # whether the training that it decided on has ended

    @property
    def best(self) -> Evaluation | None:
        """The evaluation whose weights are the ones to keep; None before there is one."""
        return self._best

    @property
    def count(self) -> int:
        """Evaluations so far, counts."""
        return self._count

    @property
    @abstractmethod
    def monitors(self) -> tuple[str, ...]:
        """Names of the metrics that the rule reads."""

    @final
    def update(
        self,
        evaluation: Evaluation | None = None,
        /,
        *,
        step: int | None = None,
        epoch: float | None = None,
        **metrics: SupportsFloat,
    ) -> Decision:
        """Take one evaluation in, whole or by its metrics.

        Args:
            evaluation: What `run.evaluate` makes; in a loop of one's own it is left out.
            step: The optimiser's steps that were made, counts; the number of evaluations if nobody counts them.
            epoch: Passes through the training data that were made.
            **metrics: From names, such as `val_loss`, to numbers or tensors of one.

        Returns:
            Whether to stop, why, and whether this evaluation is the best.

        Raises:
            UnknownNameError: If a metric that the rule reads is missing.
            SettingsError: If it counts in epochs or steps, and is not told of them.
        """
        if evaluation is None:
            if step is None and self._counts_steps:
                raise SettingsError(
                    "patience is in steps, and the evaluation does not say its step. Pass step=, or leave unit out."
                )
            values = {name: number_of(value) for name, value in metrics.items()}
            evaluation = Evaluation(step=self._count + 1 if step is None else step, epoch=epoch, metrics=values)
        decision = self._judge(evaluation)
        if decision.is_best:
            for keeper in self._keepers:  # before `best` is set, so that an interrupt leaves both as they were
                keeper.keep()
            self._best = evaluation
        self._count += 1
        return decision

    @final
    @contextmanager
    def keeping(self, model: nn.Module, *, device: torch.device | str | None = None) -> Generator[BestWeights]:
        """Keep the weights of the best evaluation, and put them back however the block ends.

        Args:
            model: Whose weights; blocks for several models may be nested.
            device: Where the copy lies; where the weights lie if left out.

        Yields:
            The copy, whose state can be saved and loaded beside the rule's.

        Raises:
            SettingsError: If the rule has decided on a training in an earlier block; a new one needs a new rule.
        """
        if self._is_spent:
            raise SettingsError(
                f"this {type(self).__name__} has decided on a training of {self._count} evaluations. Give a new rule "
                f"for a new one; to go on with the old one, load its state: rule.load_state_dict(rule.state_dict())."
            )
        keeper = BestWeights(model, device=device)
        self._keepers += (keeper,)
        try:
            yield keeper
        finally:
            self._keepers = tuple(each for each in self._keepers if each is not keeper)
            self._is_spent = self._count > 0 and not self._keepers
            if not keeper.restore() and self._best is not None:
                warnings.warn(
                    f"the weights of the best evaluation (step {self._best.step}) were not kept here, so the model has "
                    f"those it ended with. After a resume load the state of what `keeping` yields, too.",
                    stacklevel=3,
                )

    @final
    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs: plain numbers and strings, for JSON or torch.save."""
        return {
            "rule": type(self).__name__,
            "monitors": list(self.monitors),
            "count": self._count,
            "best": evaluation_state(self._best),
            **self._state(),
        }

    @final
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a saved state was; settings such as patience are those of this rule.

        Args:
            state: What `state_dict` gave.

        Raises:
            SettingsError: If it is the state of another kind of rule, or of one that reads other metrics.
        """
        found, needed = (state.get("rule"), state.get("monitors")), (type(self).__name__, list(self.monitors))
        if found != needed:
            raise SettingsError(
                f"the state is of {found[0]} over {found[1]}, and this rule is {needed[0]} over {needed[1]}. "
                f"Load it into a rule of its own kind."
            )
        self._count, self._is_spent = state["count"], False
        self._best = evaluation_from(state["best"])
        self._load(state)

    @abstractmethod
    def _judge(self, evaluation: Evaluation) -> Decision:
        """Decide on one more evaluation; `count` and `best` are those before it."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return what the rule itself remembers, in plain finite numbers and strings."""

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None:
        """Take that back."""
