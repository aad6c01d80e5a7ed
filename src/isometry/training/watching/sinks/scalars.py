"""The numbers of a recorded step under names with slashes, as experiment trackers group them."""

from collections.abc import Iterator
from dataclasses import fields

from isometry.probes.running.readings import Evaluation, LayerReading, ParameterReading, Reading

NAMED_APART = frozenset({"name", "kind", "is_output", "sampled"})


def scalars_of(reading: Reading) -> dict[str, float]:
    """Return all numbers of a recorded step but its losses, such as `layers/0/activation_rms`."""
    return dict(_scalars(reading))


def metrics_of(evaluation: Evaluation) -> dict[str, float]:
    """Return the numbers of an evaluation, such as `evaluation/val_loss`."""
    numbers = {f"evaluation/{name}": value for name, value in evaluation.metrics.items()}
    return numbers if evaluation.epoch is None else {**numbers, "evaluation/epoch": evaluation.epoch}


def _scalars(reading: Reading) -> Iterator[tuple[str, float]]:
    for number, rate in enumerate(reading.learning_rates):
        yield f"learning_rate/{number}", rate
    for name in ("gradient_norm", "noise_scale", "loss_scale", "seconds"):
        value = getattr(reading, name)
        if value is not None:
            yield f"run/{name}", value
    for layer in reading.layers:
        yield from _numbers(layer)
    for parameter in reading.parameters:
        yield from _numbers(parameter)
        if parameter.update_ratio is not None:
            yield f"{_slashed(parameter.name)}/update_ratio", parameter.update_ratio


def _numbers(part: LayerReading | ParameterReading) -> Iterator[tuple[str, float]]:
    for each in fields(part):
        value = None if each.name in NAMED_APART else getattr(part, each.name)
        if value is not None:
            yield f"{_slashed(part.name)}/{each.name}", value


def _slashed(name: str) -> str:
    return name.replace(".", "/")
