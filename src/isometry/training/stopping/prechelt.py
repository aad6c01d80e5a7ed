"""Prechelt's three classes of stopping rules: generalisation loss, progress quotient, strips that went up.

They read losses or errors, which are at least 0, and count evaluations; Prechelt evaluated once an epoch.
A validation loss that is not finite stands for one above all bounds.

Source:
    Prechelt 1998, Early Stopping - But When?, in Neural Networks: Tricks of the Trade, section 2.
"""

import math
from typing import Any, final

from isometry._errors import DomainError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.metrics import metric_of, number_state, require_falling
from isometry.training.stopping.rule import Decision, StoppingRule

STRIP = 5  # evaluations; Prechelt's k


@final
class GL(StoppingRule):
    """Stops at the first evaluation whose generalisation loss is above `alpha` per cent.

    GL(t) = 100 · (E_va(t) / E_opt(t) - 1), with E_opt(t) the lowest E_va until t

    Example:
        >>> rule = GL(5)
        >>> [rule.update(val_loss=loss).should_stop for loss in (1.0, 0.8, 0.83, 0.85)]
        [False, False, False, True]
    """

    def __init__(self, alpha: float = 5.0, *, monitor: str = "val_loss") -> None:
        """Set the rule up.

        Args:
            alpha: The bound, in per cent; Prechelt tried 1 to 5.
            monitor: Name of the validation loss or error.

        Raises:
            DomainError: If `alpha` is negative.
            SettingsError: If the name is one of a metric where more is better.
        """
        super().__init__()
        self.alpha, self.monitor = _at_least("alpha", alpha, 0), require_falling(monitor)

    def __repr__(self) -> str:
        return f"GL({self.alpha:g}, monitor={self.monitor!r})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The validation loss."""
        return (self.monitor,)

    def _judge(self, evaluation: Evaluation) -> Decision:
        value, lowest = _loss(evaluation, self.monitor), _lowest(self.best, self.monitor)
        loss = generalisation_loss(value, min(value, lowest))
        told = Phrase(
            "{monitor} is {loss:.3g} % above its lowest (bound {alpha:g} %)",
            monitor=self.monitor,
            loss=loss,
            alpha=self.alpha,
        )
        return Decision(should_stop=loss > self.alpha, reason=told, is_best=value < lowest)

    def _state(self) -> dict[str, Any]:
        return {}

    def _load(self, state: dict[str, Any]) -> None:
        """Nothing more to take back: the lowest loss is that of the best evaluation."""


@final
class PQ(StoppingRule):
    """Stops at the first end of a strip where generalisation loss over training progress is above `alpha`.

    PQ(t) = GL(t) / P_k(t), with P_k(t) = 1000 · (mean of E_tr over the strip / its minimum there - 1)
    """

    def __init__(
        self, alpha: float = 0.5, *, strip: int = STRIP, monitor: str = "val_loss", train: str = "train_loss"
    ) -> None:
        """Set the rule up.

        Args:
            alpha: The bound, in per cent over per mille; Prechelt tried 0.5 to 3.
            strip: Evaluations of a strip, counts; k in the formula.
            monitor: Name of the validation loss or error.
            train: Name of the training loss.

        Raises:
            DomainError: If `alpha` is negative, or a strip has no evaluation.
            SettingsError: If a name is one of a metric where more is better.
        """
        super().__init__()
        self.alpha, self.strip = _at_least("alpha", alpha, 0), _at_least("strip", strip, 1)
        self.monitor, self.train = require_falling(monitor), require_falling(train)
        self._losses: list[float] = []  # training losses of the strip that is not yet full

    def __repr__(self) -> str:
        return f"PQ({self.alpha:g}, strip={self.strip}, monitor={self.monitor!r}, train={self.train!r})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The validation loss and the training loss."""
        return (self.monitor, self.train)

    def _judge(self, evaluation: Evaluation) -> Decision:
        value, lowest = _loss(evaluation, self.monitor), _lowest(self.best, self.monitor)
        losses = [*self._losses, _loss(evaluation, self.train)]
        self._losses = losses if len(losses) < self.strip else []
        if self._losses:
            told = Phrase("the strip of {strip} evaluations is not at its end", strip=self.strip)
            return Decision(should_stop=False, reason=told, is_best=value < lowest)
        loss, progress = generalisation_loss(value, min(value, lowest)), training_progress(losses)
        told = Phrase(
            "{monitor} is {loss:.3g} % above its lowest, at a training progress of {progress:.3g} per mille "
            "(bound {alpha:g} times that)",
            monitor=self.monitor,
            loss=loss,
            progress=progress,
            alpha=self.alpha,
        )
        return Decision(should_stop=loss > self.alpha * progress, reason=told, is_best=value < lowest)

    def _state(self) -> dict[str, Any]:
        return {"losses": [number_state(loss) for loss in self._losses]}

    def _load(self, state: dict[str, Any]) -> None:
        self._losses = [float(loss) for loss in state["losses"]]


@final
class UP(StoppingRule):
    """Stops at the end of the last of `strips` successive strips whose ends each lie above the end before.

    UP_s stops at t if UP_{s-1} stopped at t - k and E_va(t) > E_va(t - k); UP_1 at the first end of a strip that rose
    """

    def __init__(self, strips: int = 2, *, strip: int = STRIP, monitor: str = "val_loss") -> None:
        """Set the rule up.

        Args:
            strips: Successive rises, counts; s in the formula.
            strip: Evaluations of a strip, counts; k in the formula.
            monitor: Name of the validation loss or error.

        Raises:
            DomainError: If one of the numbers is below 1.
            SettingsError: If the name is one of a metric where more is better.
        """
        super().__init__()
        self.strips, self.strip = _at_least("strips", strips, 1), _at_least("strip", strip, 1)
        self.monitor = require_falling(monitor)
        self._end: float | None = None  # validation loss at the end of the last strip
        self._rises = 0

    def __repr__(self) -> str:
        return f"UP({self.strips}, strip={self.strip}, monitor={self.monitor!r})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The validation loss."""
        return (self.monitor,)

    def _judge(self, evaluation: Evaluation) -> Decision:
        value = _loss(evaluation, self.monitor)
        if (self.count + 1) % self.strip == 0:
            has_risen = self._end is not None and (value > self._end or math.isinf(value))
            self._rises, self._end = self._rises + 1 if has_risen else 0, value
        told = Phrase(
            "{monitor} rose over {rises} of {strips} successive strips of {strip} evaluations",
            monitor=self.monitor,
            rises=self._rises,
            strips=self.strips,
            strip=self.strip,
        )
        is_best = value < _lowest(self.best, self.monitor)
        return Decision(should_stop=self._rises >= self.strips, reason=told, is_best=is_best)

    def _state(self) -> dict[str, Any]:
        return {"end": None if self._end is None else number_state(self._end), "rises": self._rises}

    def _load(self, state: dict[str, Any]) -> None:
        self._end, self._rises = None if state["end"] is None else float(state["end"]), state["rises"]


def generalisation_loss(loss: float, lowest: float) -> float:
    """Return by how much a loss lies above the lowest, in per cent; an infinite one has no bound.

    GL = 100 · (loss / lowest - 1)

    Args:
        loss: Validation loss of now, at least 0.
        lowest: The lowest so far, this one included.
    """
    if loss == lowest:
        return math.inf if math.isinf(loss) else 0.0
    return 100 * (loss / lowest - 1) if lowest > 0 else math.inf


def training_progress(losses: list[float]) -> float:
    """Return by how much the mean training loss of a strip lies above its lowest, in per mille.

    P_k = 1000 · (mean / minimum - 1)

    Args:
        losses: Training losses of one strip, at least 0.
    """
    mean, lowest = sum(losses) / len(losses), min(losses)
    if mean == lowest:
        return 0.0
    return 1000 * (mean / lowest - 1) if lowest > 0 else math.inf


def _at_least(name: str, value: Any, bound: int) -> Any:
    if not value >= bound:
        raise DomainError(f"{name}={value!r}, and it must be at least {bound}.")
    return value


def _loss(evaluation: Evaluation, name: str) -> float:
    """Return a loss; infinity for one that is not finite."""
    value = metric_of(evaluation, name)
    if math.isfinite(value) and value < 0:
        raise DomainError(
            f"{name} is {value:.4g} at step {evaluation.step}, and Prechelt's rules divide by the lowest loss, which "
            f"must not be negative. Use EarlyStopping for it."
        )
    return value if math.isfinite(value) else math.inf


def _lowest(best: Evaluation | None, name: str) -> float:
    return math.inf if best is None else metric_of(best, name)
