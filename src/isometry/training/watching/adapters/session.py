"""One watched training inside a framework's callback: how it begins, what it is given, and how it ends."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, final

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from isometry._errors import IsometryError, NonFiniteError
from isometry.training.stopping.best import BestWeights
from isometry.training.stopping.rule import StoppingRule
from isometry.training.watching.run import Run
from isometry.training.watching.watch import watch


class WatchSettings(TypedDict, total=False):
    """The arguments of `isometry.watch` that a callback takes and hands on."""

    every: int
    to: Any
    on_nan: Literal["stop", "skip", "rollback"]
    snapshot_every: int | None
    max_faults: int
    stopping: StoppingRule | None
    baseline: float | None
    name: str | None


@final
class Session:
    """What a callback holds of its watched training; it may see several trainings, one after the other.

    Attributes:
        settings: For `isometry.watch`.
        run: The training that is watched; None before the first and after the last step.
        fault: The error that ended the last training; None if none did.
        best_weights: Those of the best evaluation, of the last training that had a rule.
    """

    def __init__(self, settings: WatchSettings) -> None:
        self.settings = settings
        self.run: Run | None = None
        self.fault: NonFiniteError | None = None
        self.best_weights: BestWeights | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles of a callback watch nothing yet."""
        return {**vars(self), "run": None, "best_weights": None}

    def begin(self, model: nn.Module, optimizer: Optimizer, **parts: Any) -> None:
        """Watch from here on; a training that was left without a word is ended first."""
        self.end(RuntimeError("the framework left this training without ending it"))
        self.fault = None
        self.run = watch(model, optimizer, **parts, **self.settings)
        self.run.__enter__()
        self.best_weights = self.run.best_weights

    def step(self, loss: Tensor | float) -> None:
        """Hand a micro-batch's loss to the run; a fault that ends the run ends it here, without an error."""
        if self.run is None:
            return
        try:
            self.run.step(loss)
        except NonFiniteError as error:
            self.fault = error
            self.end(error)

    def evaluate(self, metrics: Mapping[str, Any], epoch: float | None) -> None:
        """Hand an evaluation's numbers to the run; what is no number is left out, and an error ends the run.

        Raises:
            IsometryError: If the stopping rule cannot do with them.
        """
        numbers = {name: float(value) for name, value in metrics.items() if name != "epoch" and _is_number(value)}
        if self.run is None or not numbers:
            return
        try:
            self.run.evaluate(epoch=epoch, **numbers)
        except IsometryError as error:
            self.end(error)
            raise

    @property
    def should_stop(self) -> bool:
        """Whether the framework's loop has to end: the rule says so, or a fault ended the run."""
        return self.fault is not None or (self.run is not None and self.run.should_stop)

    def end(self, error: BaseException | None = None) -> None:
        """End the run, if one is open, as leaving its `with` would."""
        run, self.run = self.run, None
        if run is not None:
            run.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.dtype.is_complex
    return isinstance(value, int | float | np.floating) and not isinstance(value, bool)
