"""Measures experiments as a worker does: what comes back went through JSON."""

import json
from dataclasses import replace
from typing import Any

import pytest

from isometry._errors import MissingExtraError
from isometry.lab.engine.records import jsonable
from isometry.lab.experiment import Claim, Experiment, Measured, OnTask
from isometry.lab.runner import find_experiment
from tests.lab.words import require_vietnamese, require_whole


class Shares(list[float]):
    """How far a measurement said it was, call by call."""

    def __call__(self, share: float, /, **metrics: float) -> None:
        assert all(isinstance(value, float) for value in metrics.values()), metrics
        self.append(share)


def measured(experiment: Experiment[Any], settings: Any, *seeds: int) -> list[Measured]:
    """Return what each seed measures; shares of progress must grow to 1. Without the extra that it needs, skip."""
    found: list[Measured] = []
    for seed in seeds:
        shares = Shares()
        try:
            result = experiment.measure(settings, seed, shares)
        except MissingExtraError as error:
            pytest.skip(str(error))
        found.append(json.loads(json.dumps(jsonable(result))))

        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    return found


def claims_of(name: str, measured: list[Measured], **changes: Any) -> tuple[Claim, ...]:
    """Return the claims on what was measured, with some of the quick settings changed."""
    experiment = find_experiment(name)
    return experiment.judge(replace(experiment.quick, **changes), measured)


def not_held(claims: tuple[Claim, ...]) -> list[str]:
    """Return the texts of claims that do not hold, with what was measured."""
    return [f"{claim.text}: {claim.measured}" for claim in claims if not claim.is_held]


def require_drawable(experiment: Experiment[Any] | OnTask[Any], settings: Any, found: list[Measured]) -> None:
    """Require pictures with keys of their own, as many values as places, and words that Vietnamese has too."""
    figures = experiment.draw(settings, found)

    assert figures
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        for series in figure.series:
            assert len(series.x) == len(series.y), f"{figure.key}: {series.name}"
    require_vietnamese(figures)


def require_held(name: str, *seeds: int) -> None:
    """Require that the quick preset holds all of its claims."""
    experiment = find_experiment(name)
    found = measured(experiment, experiment.quick, *seeds)

    assert not_held(experiment.judge(experiment.quick, found)) == []
    require_drawable(experiment, experiment.quick, found)
    require_whole(experiment.draw(experiment.quick, found))
