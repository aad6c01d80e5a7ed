"""A stopping rule that can be asked to train through: past the peak where a network comes to fit its last examples."""

import math
from typing import Any, final

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.metrics import Mode, metric_of, require_falling, sign_of
from isometry.training.stopping.rule import Decision, StoppingRule

FITTED = 0.01  # share of training examples still wrong at which all are as good as fitted
FALL = 0.01  # share by which the training error must fall to count as still falling


@final
class DoubleDescent(StoppingRule):
    """Goes on through the rise to the interpolation peak, and stops when what comes after it no longer improves.

    With wrong labels the validation error may fall, rise until the training error is near zero, and fall again. While
    the training error falls and is not yet near zero, this rule never stops, however far the validation error rises.
    After that it waits for an improvement on what it saw after the peak. The best evaluation is the best of both sides.

    What it cannot know: whether a second descent will come. A small network with noisy labels may rise and stay there,
    and the rule then pays the whole way for nothing; the best weights are still those of the first descent. If the
    training error settles above zero there is no interpolation, and the rule stops with that reason. The training error
    must be that on the labels trained on, the wrong ones too.

    Source:
        Nakkiran et al. 2020, Deep Double Descent, arXiv:1912.02292, section 6 (over epochs): the peak lies where the
        training error comes near zero.
    """

    def __init__(
        self,
        monitor: str = "val_error",
        *,
        train: str = "train_error",
        patience: int = 10,
        fitted: float = FITTED,
        mode: Mode = "auto",
    ) -> None:
        """Set the rule up.

        Args:
            monitor: Name of the validation metric.
            train: Name of the training error, or loss.
            patience: Evaluations without an improvement after the peak, or, before it, without one of either metric,
                counts.
            fitted: Training error at which all examples are as good as fitted, in its own unit.
            mode: Of the monitor: `min`, `max` or `auto`.

        Raises:
            DomainError: If patience is below 1 or `fitted` negative.
            SettingsError: If the names do not fit.
        """
        super().__init__()
        if patience < 1 or not fitted >= 0:
            raise DomainError(f"patience={patience!r} and fitted={fitted!r}; they must be at least 1 and at least 0.")
        self.monitor, self.train = monitor, require_falling(train)
        self.patience, self.fitted = patience, fitted
        self._sign = sign_of(monitor, mode)
        self._has_fitted = False
        self._error: float | None = None  # lowest training error that counted as a fall
        self._reference: float | None = None  # best of the monitor on this side of the peak, times the sign
        self._waited = 0

    def __repr__(self) -> str:
        return f"DoubleDescent({self.monitor!r}, train={self.train!r}, patience={self.patience})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The validation metric and the training error."""
        return (self.monitor, self.train)

    def _judge(self, evaluation: Evaluation) -> Decision:
        height, error = self._height(evaluation), metric_of(evaluation, self.train)
        is_best = math.isfinite(height) and (self.best is None or height < self._height(self.best))
        if not self._has_fitted and error <= self.fitted:
            self._has_fitted, self._reference, self._waited = True, None, 0
        has_gained = self._gains(height) | (not self._has_fitted and self._falls(error))
        self._waited = 0 if has_gained else self._waited + 1
        return Decision(should_stop=self._waited >= self.patience, reason=self._reason(error), is_best=is_best)

    def _height(self, evaluation: Evaluation) -> float:
        return self._sign * metric_of(evaluation, self.monitor)

    def _gains(self, height: float) -> bool:
        """Say whether the monitor is better than before on this side of the peak."""
        has_gained = math.isfinite(height) and (self._reference is None or height < self._reference)
        self._reference = height if has_gained else self._reference
        return has_gained

    def _falls(self, error: float) -> bool:
        """Say whether the training error has fallen by enough to go on falling."""
        has_fallen = math.isfinite(error) and (self._error is None or error < (1 - FALL) * self._error)
        self._error = error if has_fallen else self._error
        return has_fallen

    def _reason(self, error: float) -> Phrase:
        values = {"monitor": self.monitor, "train": self.train, "waited": self._waited, "patience": self.patience}
        if self._has_fitted:
            return Phrase(
                "past the interpolation peak {monitor} has not improved for {waited} of {patience} evaluations",
                **values,
            )
        if self._waited >= self.patience:
            return Phrase(
                "{train} settled at {error:.3g}, so no interpolation peak will come, and {monitor} does not improve",
                error=error,
                **values,
            )
        return Phrase("{train} is {error:.3g}: still before the interpolation peak", error=error, **values)

    def _state(self) -> dict[str, Any]:
        return {
            "has_fitted": self._has_fitted,
            "error": self._error,
            "reference": self._reference,
            "waited": self._waited,
        }

    def _load(self, state: dict[str, Any]) -> None:
        self._has_fitted, self._waited = state["has_fitted"], state["waited"]
        self._error, self._reference = state["error"], state["reference"]
