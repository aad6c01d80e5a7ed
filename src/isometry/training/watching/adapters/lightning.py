"""Watches a training that Lightning's Trainer runs."""

import math
from collections.abc import Mapping
from typing import Any, Unpack, final

import torch
from torch import Tensor

from isometry._errors import MissingExtraError, RunError
from isometry.training.watching.adapters.session import Session, WatchSettings

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError(
        "LightningWatch needs Lightning, which cannot be imported here. Install it: pip install 'isometry[lightning]'."
    ) from error


@final
class LightningWatch(Callback):
    """Watches what a Lightning Trainer trains, as `isometry.watch` does a plain loop.

    A fault under `on_nan="stop"` and a rule that says stop set `trainer.should_stop`; so does nothing else. All metrics
    that the module logs reach the stopping rule by their names, after each validation, or after each epoch where there
    is none. The rule's state and its best weights go into Lightning's checkpoints. Under `fast_dev_run` nothing is
    written and no rule is asked.

    Args:
        optimizer: Which of several optimisers to watch, counted as `configure_optimizers` returns them; the only one
            if there is one.
        loss: The name under which a `training_step` that returns no loss logs it (manual optimisation).
        **settings: Of `isometry.watch`: `every`, `to`, `on_nan`, `snapshot_every`, `max_faults`, `stopping`,
            `baseline`, `name`.
    """

    def __init__(
        self, *, optimizer: int | None = None, loss: str | None = None, **settings: Unpack[WatchSettings]
    ) -> None:
        self._optimizer = optimizer
        self._loss = loss
        self._settings = settings
        self._session = Session(settings)
        self._saved_weights: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the rule's state and its best weights, for Lightning's checkpoints."""
        rule, best = self._settings.get("stopping"), self._session.best_weights
        if rule is None or best is None:
            return {}
        return {"rule": rule.state_dict(), "best_weights": best.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rule where a checkpoint was."""
        rule = self._settings.get("stopping")
        if rule is not None and state_dict:
            rule.load_state_dict(state_dict["rule"])
            self._saved_weights = state_dict["best_weights"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch, after the sanity check and after a checkpoint was loaded."""
        self._session.settings = self._settings.copy()
        if getattr(trainer, "fast_dev_run", False):
            self._session.settings.update(to=(), stopping=None)
        optimizer = _chosen(trainer, self._optimizer)
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        own = [each for each in schedulers if getattr(each, "optimizer", optimizer) is optimizer]
        self._session.begin(
            pl_module,
            optimizer,
            scheduler=own[0] if own else None,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            first_step=trainer.global_step // len(trainer.optimizers),  # Lightning counts those of all optimisers
        )
        if self._saved_weights is not None and self._session.best_weights is not None:
            self._session.best_weights.load_state_dict(self._saved_weights)
        self._saved_weights = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *ended: Any, **named: Any) -> None:
        """Hand the batch's loss on; `trainer.min_epochs` cannot keep a broken training going."""
        outputs = ended[0] if ended else named["outputs"]
        fault = self._session.fault
        if fault is not None:
            raise fault
        self._session.step(_loss_of(trainer, outputs, self._loss))
        trainer.should_stop = trainer.should_stop or self._session.should_stop

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the metrics on, unless this is the sanity check or a validation by itself."""
        if trainer.validating and not trainer.sanity_checking:
            self._evaluate(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the metrics of the training on where there is no validation."""
        if not trainer.enable_validation:
            self._evaluate(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the run with the reason."""
        self._session.end(exception)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run; with a rule, the weights are those of its best evaluation from here on."""
        self._session.end()

    def _evaluate(self, trainer: Trainer) -> None:
        batches = trainer.num_training_batches
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready / batches if math.isfinite(batches) else 1.0
        metrics: dict[str, Any] = dict(sorted(trainer.callback_metrics.items()))
        if trainer.world_size > 1:  # the same for all processes, so that they stop, and keep the best, together
            metrics = {name: trainer.strategy.reduce(value, reduce_op="mean") for name, value in metrics.items()}
        self._session.evaluate(metrics, trainer.current_epoch + done)
        trainer.should_stop = trainer.should_stop or self._session.should_stop


def _chosen(trainer: Trainer, number: int | None) -> torch.optim.Optimizer:
    """Return the optimiser to watch.

    Raises:
        RunError: If it is not said which of several, or there is none of that number.
    """
    optimizers = trainer.optimizers
    if number is None and len(optimizers) == 1:
        return optimizers[0]
    if number is None or not 0 <= number < len(optimizers):
        found = ", ".join(f"{place}: {type(each).__name__}" for place, each in enumerate(optimizers)) or "none"
        asked = "no optimizer= was given" if number is None else f"optimizer={number} was given"
        raise RunError(
            f"configure_optimizers returned {len(optimizers)} optimisers ({found}), and {asked}. One of them is "
            f"watched; say which: LightningWatch(optimizer=0)."
        )
    return optimizers[number]


def _loss_of(trainer: Trainer, outputs: Any, name: str | None) -> Tensor:
    """Return the loss of a batch as `training_step` gave it.

    Raises:
        RunError: If the training step gave none, and no name, or a wrong one, under which it is logged.
    """
    if isinstance(outputs, Mapping) and isinstance(outputs.get("loss"), Tensor):
        accumulated = trainer.accumulate_grad_batches  # Lightning has divided by it
        return outputs["loss"] * accumulated if accumulated > 1 else outputs["loss"]
    logged = trainer.callback_metrics
    if name in logged:
        return logged[name]
    found = "it logs nothing" if not logged else f"it logs: {', '.join(logged)}"
    raise RunError(
        f"training_step returned no loss, and {found}. Return it, or name it: LightningWatch(loss='train_loss') with "
        f"self.log('train_loss', loss) in training_step."
    )
