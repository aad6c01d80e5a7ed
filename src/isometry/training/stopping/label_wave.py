"""Stop without a validation set: where the fewest training predictions change, before wrong labels are learned."""

import math
from typing import Any, final

import torch
from torch import Tensor

from isometry._errors import DomainError, ShapeError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.metrics import metric_of
from isometry.training.stopping.rule import Decision, StoppingRule

WINDOW = 3  # evaluations
HOLD = 3  # evaluations; both as benchmarks/stopping.md measures them
UNSEEN = -1


@final
class LabelWave(StoppingRule):
    """Stops after the first local minimum of a moving average of changed training predictions.

    A network learns right labels first, and its predictions settle. When it begins to fit wrong ones they change again.
    The evaluation at the minimum is the best one. Without wrong labels the rule costs a little: see `replay`.

    Source:
        Yuan, Feng, Liu 2024, Early Stopping Against Label Noise Without Validation Data, arXiv:2502.07551.
    """

    def __init__(self, *, window: int = WINDOW, hold: int = HOLD, monitor: str = "changed_predictions") -> None:
        """Set the rule up.

        Args:
            window: Evaluations that are averaged, counts.
            hold: Evaluations that must not undercut the minimum, counts.
            monitor: Name of the share of changed predictions, as `PredictionChanges` gives it.

        Raises:
            DomainError: If one of the numbers is below 1.
        """
        super().__init__()
        if min(window, hold) < 1:
            raise DomainError(f"window={window!r} and hold={hold!r}, and both must be at least 1.")
        self.window, self.hold, self.monitor = window, hold, monitor
        self._recent: list[float] = []
        self._lowest: float | None = None
        self._held = 0

    def __repr__(self) -> str:
        return f"LabelWave(window={self.window}, hold={self.hold}, monitor={self.monitor!r})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The share of changed predictions."""
        return (self.monitor,)

    def _judge(self, evaluation: Evaluation) -> Decision:
        value, is_best = metric_of(evaluation, self.monitor), False
        if math.isfinite(value) and self._held < self.hold:  # the first epoch has none before it, and no change
            self._recent = [*self._recent, value][-self.window :]
            is_best = self._take(sum(self._recent) / len(self._recent))
        return Decision(should_stop=self._held >= self.hold, reason=self._reason(), is_best=is_best)

    def _take(self, average: float) -> bool:
        """Compare one more average with the minimum; say whether it is the new one."""
        if len(self._recent) < self.window:
            return False
        is_lowest = self._lowest is None or average < self._lowest
        self._lowest, self._held = (average, 0) if is_lowest else (self._lowest, self._held + 1)
        return is_lowest

    def _reason(self) -> Phrase:
        if self._lowest is None:
            return Phrase("too few evaluations for an average over {window}", window=self.window)
        return Phrase(
            "changed predictions had a minimum of {lowest:.3g} on average over {window} evaluations, "
            "and stayed above it for {held} of {hold}",
            lowest=self._lowest,
            window=self.window,
            held=self._held,
            hold=self.hold,
        )

    def _state(self) -> dict[str, Any]:
        return {"recent": list(self._recent), "lowest": self._lowest, "held": self._held}

    def _load(self, state: dict[str, Any]) -> None:
        self._recent, self._lowest, self._held = list(state["recent"]), state["lowest"], state["held"]


@final
class PredictionChanges:
    """Counts training predictions that differ from those of the epoch before; the training's own outputs will do.

    Predictions stay on their device until an epoch's share is asked for.

    Example:
        >>> changes = PredictionChanges(4)
        >>> changes.see(torch.arange(4), torch.tensor([0, 1, 1, 0]))
        >>> changes.share()
        nan
        >>> changes.see(torch.arange(4), torch.tensor([0, 1, 0, 0]))
        >>> changes.share()
        0.25
    """

    def __init__(self, num_examples: int) -> None:
        """Begin with nothing seen.

        Args:
            num_examples: Examples of the training set, counts.
        """
        self._before = torch.full((num_examples,), UNSEEN)
        self._now = self._before.clone()

    def see(self, rows: Tensor, outputs: Tensor) -> None:
        """Note the predictions for some examples.

        Args:
            rows: Which examples of the training set, indices.
            outputs: Their logits (rows, classes), or their predicted classes (rows), whole numbers.

        Raises:
            ShapeError: If there are not as many outputs as rows, or they are one logit each.
        """
        if outputs.shape[1:] == (1,) or (outputs.shape == rows.shape and outputs.is_floating_point()):
            raise ShapeError(
                f"the outputs have shape {tuple(outputs.shape)} and type {outputs.dtype}: one number for each example "
                f"is no row of logits and no class. Of one logit give the class, (outputs > 0).long().flatten()."
            )
        predictions = outputs.detach().argmax(1) if outputs.ndim > 1 else outputs.detach()
        if predictions.shape != rows.shape:
            raise ShapeError(
                f"{tuple(outputs.shape)} outputs came for {tuple(rows.shape)} rows. Give one row of logits, or one "
                f"class, for each example."
            )
        if self._now.device != predictions.device:
            self._before, self._now = self._before.to(predictions.device), self._now.to(predictions.device)
        self._now[rows.to(predictions.device)] = predictions.long()

    def share(self) -> float:
        """Return the share of examples, of those seen in this epoch and the one before, whose prediction changed.

        Returns:
            In [0, 1]; NaN after the first epoch. The next epoch begins.
        """
        is_known = (self._before != UNSEEN) & (self._now != UNSEEN)
        share = ((self._before != self._now) & is_known).sum() / is_known.sum()
        self._before, self._now = self._now, torch.full_like(self._now, UNSEEN)
        return share.item()
