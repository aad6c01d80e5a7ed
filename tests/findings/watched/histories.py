"""Histories made by hand, for the rules that judge a run."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from isometry.findings.rule import WATCH_RULES
from isometry.findings.watched.judge import judge
from isometry.probes.running.readings import Evaluation, History, LayerReading, ParameterReading, Reading

PARAMETERS = tuple(
    ParameterReading(name=f"{index}.weight", weight_rms=0.1, gradient_rms=0.01, update_rms=1e-4) for index in range(8)
)


def reading(step: int, *losses: float) -> Reading:
    """Return a reading of a step with eight parameters whose updates are a thousandth of them."""
    return Reading(
        step=step, seconds=0.0, losses=losses, learning_rates=(0.1,), parameters=PARAMETERS, gradient_norm=1.0
    )


def history(
    losses: Sequence[float], edit: Callable[[Reading], Reading] | None = None, *, baseline: float | None = None
) -> History:
    """Return a run that was read at every step.

    Args:
        losses: One for each step.
        edit: Changes a reading before it is added.
        baseline: Loss of the best constant predictor.
    """
    run = History(baseline=baseline)
    for step, loss in enumerate(losses, start=1):
        made = reading(step, float(loss))
        run.add(made if edit is None else edit(made))
    return run


def with_layer(**measured: float | None) -> Callable[[Reading], Reading]:
    """Return an edit that adds a hidden layer with these measurements, and an output layer behind it."""
    layers = (
        LayerReading(name="0", kind="linear", **measured),
        LayerReading(name="2", kind="linear", saturated_share=1.0),
    )
    return lambda each: replace(each, layers=layers)


def with_ends(first: float | None, last: float | None) -> Callable[[Reading], Reading]:
    """Return an edit that adds a first layer and an output layer whose rows differ by so much."""
    layers = (
        LayerReading(name="0", kind="linear", difference=first),
        LayerReading(name="2", kind="linear", difference=last, is_output=True),
    )
    return lambda each: replace(each, layers=layers)


def with_updates(ratio: float) -> Callable[[Reading], Reading]:
    """Return an edit that makes all updates a share of the weights."""
    made = tuple(replace(each, update_rms=0.1 * ratio) for each in PARAMETERS)
    return lambda each: replace(each, parameters=made)


def evaluated(run: History, values: Sequence[float], **others: Sequence[float]) -> History:
    """Add evaluations of a validation loss, evenly over a run, and return it."""
    last = run.readings[-1].step
    for number, value in enumerate(values):
        metrics = {"val_loss": value, **{name: series[number] for name, series in others.items()}}
        run.add(Evaluation(step=max(1, last * (number + 1) // len(values)), metrics=metrics))
    return run


def noise(count: int, size: float, *, seed: int = 0) -> np.ndarray:
    """Return normal noise."""
    return np.random.default_rng(seed).normal(0.0, size, count)


def falling(count: int, *, start: float = 2.3, end: float = 0.1, size: float = 0.02) -> np.ndarray:
    """Return a loss that falls exponentially, with noise."""
    return end + (start - end) * np.exp(-5 * np.arange(count) / count) + noise(count, size)


def flat(count: int, level: float = 2.3, size: float = 0.02) -> np.ndarray:
    """Return a loss that stays where it is, with noise."""
    return level + noise(count, size)


def severities(code: str, run: History) -> list[str]:
    """Return the severities of what one rule finds."""
    return [finding.severity for finding in judge(run, [WATCH_RULES[code]])]
