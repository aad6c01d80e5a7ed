"""Watches a training that the Trainer of Hugging Face's transformers runs."""

import inspect
from collections.abc import Callable
from typing import Any, Unpack, cast, final

from torch import Tensor

from isometry._errors import MissingExtraError, RunError
from isometry.training.watching.adapters.session import Session, WatchSettings

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise MissingExtraError(
        "TrainerWatch needs transformers and accelerate, which cannot be imported here. "
        "Install them: pip install 'isometry[transformers]'."
    ) from error

SAVED_AS = "isometry.stopping"  # the key of the rule's state in trainer_state.json


@final
class TrainerWatch(TrainerCallback):
    """Watches what a `transformers.Trainer` trains, as `isometry.watch` does a plain loop.

    A fault under `on_nan="stop"` and a rule that says stop set `control.should_training_stop`. The metrics of each
    evaluation reach the stopping rule under the Trainer's names, such as `eval_loss`; its state goes into the
    Trainer's checkpoints, its best weights do not, as these hold plain text only. Each loss is the one that the
    Trainer takes backward, whatever computes it.

    Args:
        **settings: Of `isometry.watch`: `every`, `to`, `on_nan`, `snapshot_every`, `max_faults`, `stopping`,
            `baseline`, `name`.
    """

    def __init__(self, **settings: Unpack[WatchSettings]) -> None:
        self._session = Session(settings)
        self._rule = settings.get("stopping")
        self._losses: list[Tensor] = []  # of the micro-batches since the last step
        self._metrics: dict[str, float] = {}  # that the rule has not seen yet
        self._release: Callable[[], None] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to watch, after a checkpoint was loaded."""
        self._end(None)
        trainer = _trainer_that_calls()
        optimizer = kwargs["optimizer"]  # wrapped by Accelerate, which does no more than to call it
        self._session.begin(
            kwargs["model"],
            getattr(optimizer, "optimizer", optimizer),
            scheduler=kwargs.get("lr_scheduler"),
            scaler=getattr(optimizer, "scaler", None),
            first_step=state.global_step,
        )
        saved = _saved_in(state)
        if self._rule is not None and SAVED_AS in saved:
            self._rule.load_state_dict(saved[SAVED_AS])
        self._release = self._listen(trainer)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so if the rule's metric came in no evaluation."""
        if self._rule is not None and self._metrics and not self._rule.count:
            self._session.evaluate(self._metrics, state.epoch)

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand a micro-batch's loss on."""
        self._session.step(self._losses[-1] * args.gradient_accumulation_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Hand the last micro-batch's loss on."""
        # The Trainer's add up to the step's loss, also where an epoch's last group is smaller; ours are averaged.
        *before, last = self._losses
        missing = (len(before) + 1 - args.gradient_accumulation_steps) * sum(before)
        self._session.step(last * (len(before) + 1) + missing)
        self._losses.clear()
        self._stop_if_asked(control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Hand the metrics on, once the rule's are among them: several data sets are evaluated one by one."""
        self._metrics |= kwargs["metrics"]
        if self._rule is not None and not all(name in self._metrics for name in self._rule.monitors):
            return
        self._session.evaluate(self._metrics, state.epoch)
        self._metrics.clear()
        if self._rule is not None:
            _saved_in(state)[SAVED_AS] = self._rule.state_dict()
        self._stop_if_asked(control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the run; with a rule, the weights are those of its best evaluation from here on."""
        self._end(None)

    def _stop_if_asked(self, control: TrainerControl) -> None:
        if self._session.should_stop:
            control.should_training_stop = True

    def _listen(self, trainer: Trainer) -> Callable[[], None]:
        """Note the losses and errors of the Trainer's steps, which it tells no callback; return what ends that."""
        step = trainer.training_step

        def training_step(*args: Any, **kwargs: Any) -> Tensor:
            try:
                loss = step(*args, **kwargs)
            except BaseException as error:
                self._end(error)
                raise
            self._losses.append(loss)
            return loss

        def release() -> None:
            if vars(trainer).get("training_step") is training_step:
                del trainer.training_step

        trainer.training_step = training_step
        return release

    def _end(self, error: BaseException | None) -> None:
        self._losses.clear()
        if self._release is not None:
            self._release()
            self._release = None
        self._session.end(error)


def _saved_in(state: TrainerState) -> dict[str, Any]:
    """Return what goes into trainer_state.json; its annotation names what it is made from."""
    return cast("dict[str, Any]", state.stateful_callbacks)


def _trainer_that_calls() -> Trainer:
    """Return the Trainer whose event this is: it tells its callbacks everything but itself.

    Raises:
        RunError: If no Trainer calls.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    raise RunError(
        "TrainerWatch was called by what is no transformers.Trainer. In a loop of your own use isometry.watch."
    )
