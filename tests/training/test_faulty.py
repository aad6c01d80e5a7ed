"""Each fault of a training is found under its code and in time, and its twin without the fault is left in peace."""

import pytest

from isometry.findings.rule import WATCH_RULES
from tests.training.faulty import FAULTY
from tests.training.runs import alarms, codes, watched

NOT_TRAINED = {"BWD102"}  # always beside TRN101, which explains it: tests/findings/watched/test_gradients.py


def test_every_rule_has_a_training_on_which_it_fires() -> None:
    assert {pair.code for pair in FAULTY.values()} == set(WATCH_RULES) - NOT_TRAINED


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.slow
def test_a_fault_is_found_in_time(name: str, every: int) -> None:
    pair = FAULTY[name]
    run = watched(lambda seed: pair.make(seed, True), seed=0, every=every)
    found = codes(run)

    assert pair.code in found
    assert found[pair.code] <= pair.by


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.slow
def test_the_twin_without_the_fault_is_left_in_peace(name: str, every: int) -> None:
    run = watched(lambda seed: FAULTY[name].make(seed, False), seed=0, every=every)

    assert alarms(run) == []
