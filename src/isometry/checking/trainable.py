"""`assert_trainable`: a check inside somebody's own tests, with the report as the assertion's message."""

from typing import Any

from torch import nn

from isometry._errors import SettingsError
from isometry.anatomy.task import DEFAULT_BATCH_SIZE, Loss, OptimizerFactory, Task
from isometry.checking.check import DEFAULT, check
from isometry.checking.settings import Settings
from isometry.report.diagnosis import Diagnosis
from isometry.report.facts import VERDICTS, Verdict
from isometry.report.terminal import terminal_text

WIDTH = 100  # cells; test runners indent what they show


def assert_trainable(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
    settings: Settings = DEFAULT,
    worst: Verdict = "at-risk",
) -> Diagnosis:
    """Check a network, and fail with the whole report if its verdict is worse than allowed.

    Args:
        model: As for `check`.
        inputs: As for `check`.
        targets: As for `check`.
        loss: As for `check`.
        optimizer_factory: As for `check`.
        batch_size: As for `check`.
        seed: As for `check`.
        settings: As for `check`.
        worst: The worst verdict that passes: `at-risk` lets warnings pass, `healthy` does not.

    Returns:
        The diagnosis of a network that passes.

    Raises:
        AssertionError: If the verdict is worse; its message is the report.
        BuilderError: If there are no inputs.
        ModelError: If the model fails on its batch.
        SettingsError: If the settings name a rule or a threshold that does not exist, or `worst` is no verdict.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> _ = assert_trainable(model, torch.randn(32, 4))
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead of this one
    if worst not in VERDICTS:
        raise SettingsError(f"worst={worst!r} is no verdict. Give one of {', '.join(VERDICTS)}.")
    diagnosis = check(
        model,
        inputs,
        targets,
        loss=loss,
        optimizer_factory=optimizer_factory,
        batch_size=batch_size,
        seed=seed,
        settings=settings,
    )
    if VERDICTS.index(diagnosis.verdict) > VERDICTS.index(worst):
        raise AssertionError("\n" + terminal_text(diagnosis, width=WIDTH))
    return diagnosis
