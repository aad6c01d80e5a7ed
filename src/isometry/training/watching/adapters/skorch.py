"""Watches a training that skorch runs."""

from typing import Any, Unpack, cast, final

from isometry._errors import MissingExtraError
from isometry.training.watching.adapters.session import Session, WatchSettings

try:
    from skorch import NeuralNet
    from skorch.callbacks import Callback, LRScheduler
except ImportError as error:
    raise MissingExtraError(
        "SkorchWatch needs skorch, which cannot be imported here. Install it: pip install 'isometry[skorch]'."
    ) from error

NO_METRICS = ("epoch", "dur", "batches", "train_batch_count", "valid_batch_count")  # of an epoch in skorch's history


@final
class SkorchWatch(Callback):
    """Watches what a skorch net fits, as `isometry.watch` does a plain loop.

    The numbers of skorch's history, such as `valid_loss`, reach the stopping rule after each epoch. A rule that says
    stop, and a fault under `on_nan="stop"`, end the fit as skorch's own early stopping does: `fit` returns. skorch
    tells no callback of an error, so the run of a fit that raised is ended by the next fit, or as Python exits.

    Args:
        **settings: Of `isometry.watch`: `every`, `to`, `on_nan`, `snapshot_every`, `max_faults`, `stopping`,
            `baseline`, `name`.
    """

    def __init__(self, **settings: Unpack[WatchSettings]) -> None:
        vars(self).update(settings)  # skorch and scikit-learn read, set and copy them by their names
        self.session_ = Session(settings)
        self.epochs_open_ = 0

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """End what a fit that raised has left open."""
        self.session_.end(RuntimeError("the fit before raised an error"))
        self.session_.settings = cast("WatchSettings", self.get_params(deep=False))
        self.epochs_open_ = 0

    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Begin to watch before the first epoch, when every callback has what it needs."""
        if self.session_.run is None:
            done = sum(epoch.get("train_batch_count", 0) for epoch in net.history)
            self.session_.begin(net.module_, net.optimizer_, scheduler=_scheduler_of(net), first_step=done)
        self.epochs_open_ += 1

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: Any = None, **kwargs: Any) -> None:
        """Hand the loss of a training batch on."""
        if training:
            self.session_.step(kwargs["loss"])
            self._stop_if_asked()

    def on_epoch_end(self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Hand the epoch's numbers on."""
        self.epochs_open_ = 0
        epoch = cast("dict[str, Any]", net.history[-1])
        metrics = {name: value for name, value in epoch.items() if name not in NO_METRICS}
        self.session_.evaluate(metrics, len(net.history))
        self._stop_if_asked()

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """End the run; skorch comes here after Ctrl-C, too, and does not say so."""
        was_cut = self.epochs_open_ and not self.session_.should_stop
        self.session_.end(KeyboardInterrupt() if was_cut else None)

    def _stop_if_asked(self) -> None:
        if self.session_.should_stop:
            raise KeyboardInterrupt  # the way in which skorch's own EarlyStopping ends a fit


def _scheduler_of(net: NeuralNet) -> Any:
    """Return the scheduler that skorch's callback steps, if there is one."""
    found = [callback for _, callback in net.callbacks_ if isinstance(callback, LRScheduler)]
    return found[0].lr_scheduler_ if found else None
