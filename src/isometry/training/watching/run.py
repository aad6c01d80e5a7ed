"""A training that is watched: what the user's loop calls, and what happens at each of its steps."""

import math
import time
import warnings
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Self, SupportsFloat, final

import torch
from torch import Tensor

from isometry._errors import RunError, describe
from isometry.probes.running.meter import Meter
from isometry.probes.running.readings import Evaluation, Fault, History, Reading
from isometry.report.run.facts import RunFacts, State
from isometry.training.stopping.best import BestWeights
from isometry.training.stopping.metrics import number_of
from isometry.training.stopping.rule import Decision, StoppingRule
from isometry.training.watching.buffers import Buffers
from isometry.training.watching.current import CurrentStep
from isometry.training.watching.faults import GradientGuard, are_finite, loss_is_finite
from isometry.training.watching.journal import Journal
from isometry.training.watching.keeper import Keeper
from isometry.training.watching.measuring import SafeMeter, losses_alone
from isometry.training.watching.messages import ORDER, error_of
from isometry.training.watching.origin import LastForwards, cause_in_weights, cause_of_earlier, find_cause
from isometry.training.watching.ranks import Ranks
from isometry.training.watching.scaling import ScalerEar
from isometry.training.watching.snapshot import Training
from isometry.training.watching.stepping import StepHooks

OnNan = Literal["stop", "skip", "rollback"]
STALLED_STEPS = 32  # that a gradient scaler left out, after each of which its scale is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a run is watched.

    Attributes:
        every: Steps between two readings, counts.
        on_nan: What to do where a step comes to numbers that are not finite.
        snapshot_every: Steps between two snapshots, counts; None for none.
        max_faults: Faults in a row that are skipped, and returns to one snapshot, before the training is stopped.
        stopping: Says when to stop.
    """

    every: int
    on_nan: OnNan
    snapshot_every: int | None
    max_faults: int
    stopping: StoppingRule | None


@final
class Run:
    """A watched training; made by `isometry.watch` and used as a context, once.

    Attributes:
        steps: The optimiser's steps, those included whose update was not made since a gradient was not finite; counts.
        should_stop: Whether the stopping rule says so.
        best_weights: Those of the best evaluation, which come back at the end; None without a rule.
    """

    def __init__(self, training: Training, journal: Journal, *, settings: RunSettings, ranks: Ranks) -> None:
        self.steps = journal.account.steps
        self.should_stop = False
        self.best_weights: BestWeights | None = None
        self._training = training
        self._journal = journal
        self._settings = settings
        self._ranks = ranks
        self._meter = SafeMeter(Meter(training.model, training.optimizer))
        self._ear = ScalerEar(training.scaler, training.optimizer)
        self._left_out = 0  # steps in a row, by the scaler
        is_kept = settings.on_nan == "rollback"
        self._keeper = Keeper(training, journal, every=settings.snapshot_every, in_memory=is_kept)
        self._guard = GradientGuard(training.model, training.optimizer, ranks=ranks)
        self._forwards: LastForwards | None = None
        self._buffers: Buffers | None = None
        self._stack = ExitStack()
        self._open = CurrentStep()
        self._losses: list[Tensor] = []  # of the steps since the last reading, on their device
        self._num_settled = 0  # of these: looked at after a fault
        self._last_read: int | None = None
        self._last_heard = 0  # the step of the last of these losses
        self._faults_in_a_row = 0
        self._calls = 0
        self._started: float | None = None
        self._device = next(each.device for group in training.optimizer.param_groups for each in group["params"])

    def __enter__(self) -> Self:
        if self._started is not None:
            raise RunError("this run has been entered before. Make a new one: isometry.watch(model, optimizer, ...).")
        self._started = time.perf_counter()
        training, rule = self._training, self._settings.stopping
        self._ranks.meet()
        with ExitStack() as stack:
            if rule is not None:
                self.best_weights = stack.enter_context(rule.keeping(training.model))
                training.beside.update({"stopping": rule, "best": self.best_weights})
                if rule.best is not None:  # of the training that is resumed
                    self.best_weights.load_state_dict(self._journal.best_weights())
            self._forwards, self._buffers = LastForwards(training.model), Buffers(training.model)
            stack.callback(self._forwards.remove)
            hooks = StepHooks(training.model, training.optimizer, before=self._gradients_are_well, after=self._updated)
            stack.callback(hooks.remove)
            stack.callback(self._meter.abandon)
            self._journal.begin()
            if self._agreed(is_well=self._keeper.is_well()):
                self._keeper.take(self.steps)
            self._begin_next()
            self._stack = stack.pop_all()
        return self

    def step(self, loss: Tensor | float) -> None:
        """Hear that a micro-batch's backward pass, and the optimiser's step after it if there was one, are over.

        Args:
            loss: Of the batch, as the user reports it: neither scaled nor divided by the number of micro-batches.

        Raises:
            NonFiniteError: If the step came to numbers that are not finite and the training is to stop.
            RunError: If the run is not entered, or the loss is no scalar.
        """
        self._require_running()
        self._open.hear(self._scalar(loss))
        self._calls += 1
        if not self._open.is_updated:
            if self._ear.has_left_out():
                self._leave_out()
            elif self._open.count == 1:
                self._meter.first_backward()
            return
        count = self._open.count
        self._losses.append(self._open.mean())
        self._last_heard = self.steps
        reading = self._read(count) if self._open.is_measured else None
        if self._open.bad or not self._losses_are_well(reading):
            self._settle(loss, step=self._step_of_bad_loss(reading))
        else:
            self._go_on()
        self._begin_next()

    def evaluate(self, *, epoch: float | None = None, **metrics: SupportsFloat) -> Decision | None:
        """Record an evaluation, and ask the stopping rule.

        Args:
            epoch: Passes through the training data that were made.
            **metrics: From names, such as `val_loss`, to numbers or tensors of one.

        Returns:
            What the stopping rule decides; None without one.
        """
        self._require_running()
        evaluation = Evaluation(
            step=self.steps, metrics={name: number_of(value) for name, value in metrics.items()}, epoch=epoch
        )
        self._journal.add(evaluation)
        rule = self._settings.stopping
        if rule is None:
            return None
        decision = rule.update(evaluation)
        self.should_stop = decision.should_stop
        self._journal.account.reason = decision.reason if decision.should_stop else ""
        return decision

    @property
    def history(self) -> History:
        """The run so far, as the rules see it."""
        return self._journal.history

    def facts(self) -> RunFacts:
        """Return the run so far."""
        return self._journal.facts()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        account = self._journal.account
        account.state, reason = self._end_of(error)
        account.reason = reason or account.reason
        account.steps, account.seconds = self.steps, self._seconds()
        try:
            self._stack.close()
            self._write_losses()
            if error is None:
                self._look_at_the_end()
        finally:
            self._journal.close()
        if error is None:
            self._warn_of_what_was_forgotten()

    def _gradients_are_well(self) -> bool:
        if self._open.is_updated and self._open.bad:  # nobody called run.step since
            self._settle(None, step=self.steps)
            self._begin_next()
        is_first = self.steps == self._journal.account.start.step
        if is_first and self._forwards is not None and 0 < self._forwards.count == self._open.count:
            raise RunError(ORDER)
        if self._open.is_recorded and not self._open.is_measured:
            self._open.is_measured = True
            self._meter.before_update()
        self._open.bad = self._open.bad or self._guard.test()
        if self._open.bad:
            self._guard.drop()
        return not self._open.bad

    def _updated(self) -> None:
        if self._guard.is_left_out:  # by a scaler, from inside of the optimiser
            return
        self._left_out = 0
        if self._open.is_measured and not self._open.is_updated:
            self._meter.after_update()
        self._open.is_updated = True
        self.steps += 1

    def _read(self, micro_batches: int) -> Reading:
        """Bring what was measured to the host; the loss scale is read from inside, since asking for it would wait."""
        scaler = self._training.scaler
        reading = self._meter.close(
            self._losses,
            step=self.steps,
            seconds=self._seconds(),
            micro_batches=micro_batches,
            loss_scale=None if scaler is None else getattr(scaler, "_scale", None),
        )
        self._last_read = self.steps
        self._journal.add(reading)
        return reading

    def _leave_out(self) -> None:
        """Forget the step that the gradient scaler left out, its losses and passes too, and begin it again.

        Its scale is judged after many in a row: a scaler that skips every step leaves no reading.
        """
        self._meter.abandon()
        self._open.is_measured = False
        self._begin_next()
        self._left_out += 1
        scale = getattr(self._training.scaler, "_scale", None)
        if isinstance(scale, Tensor) and self._left_out % STALLED_STEPS == 0:
            reading = Reading(
                step=self.steps, seconds=self._seconds(), losses=(), learning_rates=(), loss_scale=scale.item()
            )
            self._journal.add_scale(reading)

    def _write_losses(self) -> None:
        """Record the losses since the last recorded step, where no further one will come."""
        if not self._losses or self._last_heard == self._last_read:
            return
        with suppress(RuntimeError):  # a broken device gives no number out; the error that is on its way says so
            reading = losses_alone(self._losses, step=self._last_heard, seconds=self._seconds())
            self._last_read = self._last_heard
            self._journal.add_losses(reading)

    def _losses_are_well(self, reading: Reading | None) -> bool:
        """Look at the losses where that costs no wait: on the processor, and where they were brought to the host."""
        if reading is not None:
            is_well = all(math.isfinite(loss) for loss in reading.losses[self._num_settled :])
            return self._agreed(is_well=is_well)
        is_alone = self._ranks.num_ranks == 1
        return not (is_alone and self._device.type == "cpu") or loss_is_finite(self._losses[-1])

    def _step_of_bad_loss(self, reading: Reading | None) -> int:
        """Return the step of the first loss that is not finite, which may have come before the one that is over."""
        if reading is None or self._open.bad:
            return self.steps
        losses = reading.losses
        bad = (place for place in range(self._num_settled, len(losses)) if not math.isfinite(losses[place]))
        return self.steps - (len(losses) - 1 - next(bad, len(losses) - 1))

    def _go_on(self) -> None:
        """Count a step that went well, and keep its state if that is due."""
        self._faults_in_a_row = 0
        if self._buffers is not None:
            if self._calls == 1 or self._keeper.is_due(self.steps):
                self._buffers.look()
            self._buffers.keep()
        if self._keeper.is_due(self.steps):
            is_well = are_finite(self._losses[self._num_settled :]) and self._keeper.is_well()
            if self._agreed(is_well=is_well):
                self._keeper.take(self.steps)

    def _settle(self, loss: Tensor | float | None, *, step: int) -> None:
        """Find out what went wrong in a step, this one or one before, and do what was asked for."""
        assert self._forwards is not None
        bad, settings = self._open.bad, self._settings
        if self._buffers is not None:  # a batch norm has averaged what was not finite
            self._buffers.restore()
        model, optimizer = self._training.model, type(self._training.optimizer).__name__
        if step < self.steps:
            cause = cause_of_earlier(model, optimizer)
        else:
            cause = find_cause(model, self._forwards, loss=loss, bad=bad, optimizer=optimizer)
        self._faults_in_a_row += 1
        in_a_row = self._keeper.returns + 1 if settings.on_nan == "rollback" else self._faults_in_a_row
        action = settings.on_nan if in_a_row <= settings.max_faults else "stop"
        restored = self._keeper.go_back(self.steps) if action == "rollback" else None
        fault = Fault(step=step, action=action, restored=restored, rank=self._ranks.rank, **asdict(cause))
        self._num_settled = len(self._losses)
        if action == "stop":
            self._write_losses()
        self._journal.add(fault)
        if action == "stop":
            raise error_of(fault, is_left_out=bool(bad), in_a_row=in_a_row, on_nan=settings.on_nan)

    def _look_at_the_end(self) -> None:
        """Say so if the last update made weights that are not finite; no later step could have met them."""
        cause = cause_in_weights(self._training.model, type(self._training.optimizer).__name__)
        if cause is None or self.steps == self._journal.account.start.step:
            return
        can_return = self._settings.on_nan == "rollback" and self._ranks.num_ranks == 1
        restored = self._keeper.go_back(self.steps) if can_return else None
        action = "stop" if restored is None else "rollback"
        fault = Fault(step=self.steps, action=action, restored=restored, rank=self._ranks.rank, **asdict(cause))
        self._journal.add(fault)
        if restored is None:
            error = error_of(fault, is_left_out=False, in_a_row=1, on_nan="stop")
            self._journal.account.state, self._journal.account.reason = "failed", str(error)

    def _begin_next(self) -> None:
        """Forget the step that is over, and open the meter for one that is to be measured."""
        if self._open.is_measured:
            self._losses, self._num_settled = [], 0
        if self._forwards is not None:
            self._forwards.forget()
        self._ear.begin()
        step, every = self.steps + 1, self._settings.every
        is_due = self._last_read is None or step % every == 0 or step - self._last_read >= every
        self._open = CurrentStep(is_recorded=is_due)
        if is_due:
            self._meter.open()

    def _agreed(self, *, is_well: bool) -> bool:
        if self._ranks.num_ranks == 1:
            return is_well
        return not bool(self._ranks.agree(torch.tensor(not is_well, device=self._device)))

    def _scalar(self, loss: object) -> Tensor:
        """Return a loss as a number on its device that nobody overwrites."""
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.detach().reshape(()).clone()  # a captured CUDA graph writes into the same place again
        if isinstance(loss, int | float):
            return torch.tensor(float(loss))
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise RunError(f"run.step was given {found}, and needs the loss, a scalar. Give run.step(loss).")

    def _seconds(self) -> float:
        return 0.0 if self._started is None else time.perf_counter() - self._started

    def _require_running(self) -> None:
        if self._started is None or self._journal.account.state != "running":
            raise RunError(
                "run.step and run.evaluate hold inside of the run alone: with isometry.watch(...) as run: ..."
            )

    def _end_of(self, error: BaseException | None) -> tuple[State, str]:
        match error:
            case None:
                return ("stopped" if self.should_stop else "finished"), ""
            case Exception():
                return "failed", describe(error)
            case _:  # an interrupt, an exit, or a generator that nobody asks any more
                return "interrupted", describe(error)

    def _warn_of_what_was_forgotten(self) -> None:
        if self.steps > self._journal.account.start.step and not self._calls:
            warnings.warn(
                f"the optimiser made {self.steps} steps, but run.step(loss) was never called, so nothing was recorded. "
                "Call it once after each optimizer.step().",
                stacklevel=3,
            )
        elif self._calls and self.steps == self._journal.account.start.step:
            warnings.warn(
                f"run.step(loss) was called {self._calls} times, but the optimiser made no step, so nothing was "
                "recorded. Either optimizer.step() is missing, or it is another optimiser's than the one that was "
                "given, or a gradient scaler skipped every step. Call it before run.step(loss).",
                stacklevel=3,
            )
        elif self._settings.stopping is not None and not self.history.evaluations:
            warnings.warn(
                "a stopping rule was given, but run.evaluate(...) was never called, so the rule had no say. Call it "
                "after each evaluation, with the metric that the rule monitors.",
                stacklevel=3,
            )
