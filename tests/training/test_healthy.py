"""No alarm on trainings that are sound: no event of a severity above a note, at every step or at every tenth."""

import pytest

from tests.training import healthy_classifiers, healthy_others, healthy_sequences
from tests.training.runs import HEALTHY, alarms, watched

assert all((healthy_classifiers, healthy_others, healthy_sequences))  # importing them fills the table
MIN_KINDS = 12


def test_there_are_many_kinds_of_sound_trainings() -> None:
    assert len(HEALTHY) >= MIN_KINDS


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.slow
def test_a_sound_training_is_left_in_peace(name: str, every: int) -> None:
    run = watched(HEALTHY[name], seed=0, every=every)

    assert alarms(run) == []


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.long
def test_a_sound_training_is_left_in_peace_at_other_seeds(name: str, seed: int) -> None:
    run = watched(HEALTHY[name], seed=seed, every=1)

    assert alarms(run) == []
