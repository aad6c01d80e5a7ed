"""Whether the parts of a watched run fit together, said before its first step."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import nn

from isometry._errors import RunError
from isometry.training.stopping.rule import StoppingRule
from isometry.training.watching.run import OnNan, RunSettings
from isometry.training.watching.sink import Sink
from isometry.training.watching.snapshot import Training
from isometry.training.watching.wrappers import own_optimizer


def fitting(training: Training) -> Training:
    """Return a training with the optimiser itself in the place of its wrapper.

    Raises:
        RunError: If a part is something else than it has to be, or the optimiser writes another model.
    """
    model, given = training.model, training.optimizer
    _require(model, nn.Module, name="model", needed="the network that is trained")
    if isinstance(given, list | tuple | dict):
        raise RunError(
            f"optimizer holds {len(given)}, and a run watches one. Watch the one whose steps count, "
            "or give every network with an optimiser of its own a run of its own."
        )
    _require(given, torch.optim.Optimizer, name="optimizer", needed="a torch.optim.Optimizer")
    optimizer = own_optimizer(given)
    written = [each for group in optimizer.param_groups for each in group["params"]]
    own = {id(each) for each in model.parameters()}
    if not any(id(each) in own for each in written):
        raise RunError(
            f"none of the optimiser's {len(written)} parameters belongs to {type(model).__name__}, so it trains "
            "another model. Make the optimiser after the model has got its last parameters, of model.parameters()."
        )
    for name, part in (("scheduler", training.scheduler), ("scaler", training.scaler)):
        if part is not None and not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            raise RunError(
                f"{name} is a {type(part).__name__} without a state, and a rollback needs one. "
                "Give an object with state_dict() and load_state_dict()."
            )
    return replace(training, optimizer=optimizer)


def refuse_settings(settings: RunSettings, sinks: Sequence[Any]) -> None:
    """Raise for settings that cannot be meant.

    Args:
        settings: Of the run.
        sinks: What was given beside folders.

    Raises:
        RunError: With what was found and what to give.
    """
    if settings.on_nan not in get_args(OnNan):
        raise RunError(f"on_nan is {settings.on_nan!r}. Give one of: {', '.join(map(repr, get_args(OnNan)))}.")
    counts = {"every": settings.every, "snapshot_every": settings.snapshot_every, "max_faults": settings.max_faults}
    for name, count in counts.items():
        if count is None and name == "snapshot_every":
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise RunError(f"{name} is {count!r}, but it counts steps. Give a whole number of at least 1.")
    if settings.on_nan == "rollback" and settings.snapshot_every is None:
        raise RunError("on_nan='rollback' goes back to a snapshot. Give snapshot_every a number of steps, such as 100.")
    if settings.stopping is not None:
        _require(settings.stopping, StoppingRule, name="stopping", needed="a rule such as isometry.EarlyStopping(...)")
    for sink in sinks:
        _require(sink, Sink, name="to", needed="a folder, or a sink with start, write and close")


def refuse_numbers(*, first_step: object, baseline: object, places: Sequence[Any]) -> None:
    """Raise for a first step, a baseline or places that cannot be meant.

    Args:
        first_step: Steps that were made before.
        baseline: Loss of the best constant predictor, or None.
        places: Folders and sinks.

    Raises:
        RunError: With what was found and what to give.
    """
    if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
        raise RunError(f"first_step is {first_step!r}, but it counts steps. Give what load_checkpoint returned, or 0.")
    if baseline is not None and (not isinstance(baseline, int | float) or not math.isfinite(baseline)):
        raise RunError(f"baseline is {baseline!r}, but it is a loss. Give a finite number such as ln(classes).")
    if any(isinstance(place, str) and not place for place in places):
        raise RunError("to holds an empty path. Name a folder, such as 'runs/one'.")


def warn_of_a_lost_schedule(training: Training, on_nan: str) -> None:
    """Warn where a rollback would take the learning rate back and leave its schedule ahead."""
    is_scheduled = any("initial_lr" in group for group in training.optimizer.param_groups)
    if on_nan == "rollback" and training.scheduler is None and is_scheduled:
        warnings.warn(
            "the optimiser has a schedule, and watch was not given it: a rollback would take the learning rate back "
            "and leave the schedule ahead. Give scheduler=.",
            stacklevel=3,
        )


def optimizer_in_words(optimizer: torch.optim.Optimizer) -> str:
    """Return an optimiser's class with the numbers of its first group, such as `SGD(lr=0.1, momentum=0.9)`."""
    group = optimizer.param_groups[0]
    shown = {name: _number(value) for name, value in group.items() if name not in {"params", "initial_lr"}}
    words = ", ".join(f"{name}={value}" for name, value in shown.items() if value)
    return f"{type(optimizer).__name__}({words})"


def _number(value: object) -> str:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | tuple | list):
        return ""
    return f"{value:g}" if isinstance(value, int | float) and value else str(value) if value else ""


def _require(part: object, kind: type, *, name: str, needed: str) -> None:
    if not isinstance(part, kind):
        raise RunError(f"{name} is a {type(part).__name__}, and {needed} is needed. Give {name}={needed}.")
