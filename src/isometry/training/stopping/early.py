"""Stop when a metric has not improved for a while: patience, counted in the unit that the user names."""

import math
from typing import Any, Literal, final

from isometry._errors import DomainError, SettingsError
from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation
from isometry.training.stopping.metrics import Mode, metric_of, sign_of
from isometry.training.stopping.rule import Decision, StoppingRule

Unit = Literal["evaluations", "epochs", "steps"]
UNITS: dict[str, Phrase] = {"evaluations": Phrase("evaluations"), "epochs": Phrase("epochs"), "steps": Phrase("steps")}


@final
class EarlyStopping(StoppingRule):
    """Stops when a metric has not improved for `patience` evaluations, epochs or steps.

    The best evaluation is the one with the best value, by however little; only an improvement by more than
    `min_delta` and `min_relative` starts the patience anew. A value that is not finite is no improvement.

    Example:
        >>> stopper = EarlyStopping("val_loss", patience=2)
        >>> [stopper.update(val_loss=loss).should_stop for loss in (3.0, 2.0, 2.5, 2.1)]
        [False, False, False, True]
        >>> print(stopper.best.step)
        2
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: float = 5,
        unit: Unit = "evaluations",
        mode: Mode = "auto",
        min_delta: float = 0.0,
        min_relative: float = 0.0,
        baseline: float | None = None,
        warm_up: float = 0,
        min_evals: int = 1,
        goal: float | None = None,
        divergence: float | None = None,
    ) -> None:
        """Set the rule up.

        Args:
            monitor: Name of the metric.
            patience: How long to wait for an improvement, in `unit`.
            unit: What patience and warm-up count: evaluations, epochs or steps of the optimiser.
            mode: `min` where less is better, `max` where more is; `auto` reads it from words of the name, such as
                `loss` and `accuracy`, and refuses a name that does not tell.
            min_delta: Improvements up to this much do not count for the patience, in the metric's unit.
            min_relative: Likewise, as a share of the value that is to be improved on.
            baseline: Until the metric is better than this, no improvement counts for the patience.
            warm_up: Patience runs from here on only, in `unit` since the training began.
            min_evals: Evaluations before patience may stop, counts.
            goal: Stop at once where the metric is as good as this, or better.
            divergence: Stop at once where the metric is worse than this, or no finite number.

        Raises:
            DomainError: If patience is not positive, an amount is negative, or a bound is no number.
            SettingsError: If the unit or the mode is unknown, or the name does not tell the mode.
        """
        super().__init__()
        if not patience > 0:
            raise DomainError(
                f"patience={patience!r}, and it must be positive. Give 1 to stop at the first that is worse."
            )
        amounts = {"min_delta": min_delta, "min_relative": min_relative, "warm_up": warm_up, "min_evals": min_evals}
        for name, value in amounts.items():
            if not value >= 0:
                raise DomainError(f"{name}={value!r}, and it must be at least 0. Leave it out to have none.")
        for name, bound in {"baseline": baseline, "goal": goal, "divergence": divergence}.items():
            if bound is not None and math.isnan(bound):
                raise DomainError(f"{name}={bound!r}, and no value is better or worse than that. Give a number.")
        if unit not in UNITS:
            raise SettingsError(f"unit={unit!r} is not known. Patience counts in: {', '.join(UNITS)}.")
        self.monitor, self.patience, self.unit = monitor, patience, unit
        self.min_delta, self.min_relative, self.warm_up, self.min_evals = min_delta, min_relative, warm_up, min_evals
        self._sign = sign_of(monitor, mode)
        self._baseline, self._goal, self._divergence = baseline, goal, divergence
        self._reference: float | None = None  # the value to be improved on, times the sign
        self._since: float | None = None  # where the patience began, in the unit
        self._counts_steps = unit == "steps"

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, patience={self.patience:g}, unit={self.unit!r})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """The one metric that the rule reads."""
        return (self.monitor,)

    def _judge(self, evaluation: Evaluation) -> Decision:
        value, now = metric_of(evaluation, self.monitor), self._now(evaluation)
        is_best = math.isfinite(value) and (self.best is None or self._is_better(value, self._value_of_best))
        if self._since is None:
            self._since = 0 if self.unit == "evaluations" else now
        has_gained = self._gains(value)
        if has_gained:
            self._reference, self._since = self._sign * value, now
        waited = now - max(self._since, self.warm_up)
        at_once = self._at_once(value)
        if at_once is not None:
            return Decision(should_stop=True, reason=at_once, is_best=is_best)
        if has_gained:
            return Decision(should_stop=False, reason=self._improved(value), is_best=is_best)
        should_stop = waited >= self.patience and self.count + 1 >= self.min_evals
        return Decision(
            should_stop=should_stop, reason=self._waiting(evaluation if is_best else self.best, waited), is_best=is_best
        )

    def _now(self, evaluation: Evaluation) -> float:
        """Return the time of an evaluation in the unit of the patience."""
        if self.unit == "evaluations":
            return self.count + 1
        if self.unit == "steps":
            return evaluation.step
        if evaluation.epoch is None:
            raise SettingsError(
                "patience is in epochs, and the evaluation does not say its epoch. Pass epoch=, or leave unit out."
            )
        return evaluation.epoch

    @property
    def _value_of_best(self) -> float:
        assert self.best is not None, "asked before there is a best evaluation"
        return metric_of(self.best, self.monitor)

    def _is_better(self, value: float, other: float) -> bool:
        return self._sign * value < self._sign * other

    def _gains(self, value: float) -> bool:
        """Say whether a value starts the patience anew."""
        if not math.isfinite(value) or (self._baseline is not None and not self._is_better(value, self._baseline)):
            return False
        if self._reference is None:
            return True
        return self._sign * value < self._reference - self._gap(self._reference)

    def _gap(self, reference: float) -> float:
        """Return by more than how much a value must be better than the reference."""
        return max(self.min_delta, self.min_relative * abs(reference))

    def _at_once(self, value: float) -> Phrase | None:
        """Return why training ends here, whatever the patience."""
        is_finite, height = math.isfinite(value), self._sign * value
        if self._goal is not None and is_finite and height <= self._sign * self._goal:
            return Phrase("{monitor} reached its goal: {value:.4g}", monitor=self.monitor, value=value)
        if self._divergence is not None and not (is_finite and height <= self._sign * self._divergence):
            return Phrase("{monitor} diverged: {value:.4g}", monitor=self.monitor, value=value)
        return None

    def _improved(self, value: float) -> Phrase:
        return Phrase("{monitor} improved to {value:.4g}", monitor=self.monitor, value=value)

    def _waiting(self, best: Evaluation | None, waited: float) -> Phrase:
        """Return what has not come yet, and which bound an evaluation that is better did not meet."""
        told = Phrase("and no value of it was a finite number")
        value = math.nan if best is None else metric_of(best, self.monitor)
        if best is not None:
            told = Phrase("the best being {value:.4g} at step {step}", value=value, step=best.step)
        if self.count + 1 < self.min_evals and waited >= self.patience:
            told = Phrase("and may not stop before evaluation {min_evals}, {best}", min_evals=self.min_evals, best=told)
        values = {
            "monitor": self.monitor,
            "waited": max(waited, 0),
            "patience": self.patience,
            "unit": UNITS[self.unit],
            "best": told,
        }
        if best is not None and self._reference is None:
            return Phrase(
                "{monitor} has not been better than the baseline {baseline:.4g} for {waited:g} of {patience:g} {unit}, "
                "{best}",
                baseline=self._baseline,
                **values,
            )
        if self._reference is not None and self._sign * value < self._reference:
            return Phrase(
                "{monitor} has not improved by more than {gap:.4g} for {waited:g} of {patience:g} {unit}, {best}",
                gap=self._gap(self._reference),
                **values,
            )
        return Phrase("{monitor} has not improved for {waited:g} of {patience:g} {unit}, {best}", **values)

    def _state(self) -> dict[str, Any]:
        return {"unit": self.unit, "reference": self._reference, "since": self._since}

    def _load(self, state: dict[str, Any]) -> None:
        if state["unit"] != self.unit:
            raise SettingsError(
                f"the state counts in {state['unit']}, and this rule in {self.unit}. Give unit={state['unit']!r}."
            )
        self._reference, self._since = state["reference"], state["since"]
