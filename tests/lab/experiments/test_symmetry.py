import pytest
import torch

from isometry.lab.experiments.symmetry import CASES, SymmetrySettings, num_distinct
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("symmetry")
TINY = SymmetrySettings(num_parts=3, num_steps=6, num_examples=12)
SOUND = {"distinct": [[1, 1] if case.stays else [1, 8] for case in CASES], "balance_drift": 0.01}


def place_of(name: str) -> int:
    return next(place for place, case in enumerate(CASES) if case.name == name)


def test_a_small_run_holds_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 1)

    assert TINY.recorded == [0, 1, 2, 4, 6]
    assert not_held(EXPERIMENT.judge(TINY, found)) == []
    require_drawable(EXPERIMENT, TINY, found)


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_any_number_of_parts_starts_as_one_but_where_it_is_drawn(count: int) -> None:
    (found,) = measured(EXPERIMENT, SymmetrySettings(num_parts=count, num_steps=1, num_examples=4), 3)
    starts = {case.name: row[0] for case, row in zip(CASES, found["distinct"], strict=True)}

    assert starts.pop("units drawn at random") == count
    assert set(starts.values()) == {1}


def test_rows_are_counted_once_whatever_their_order() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1e-9], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)

    assert [num_distinct(rows), num_distinct(rows[:1]), num_distinct(rows.flip(0))] == [3, 1, 3]


def test_sound_numbers_hold_every_claim() -> None:
    assert not_held(claims_of("symmetry", [SOUND])) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_that_goes_the_other_way_is_not_held(case: object) -> None:
    place = CASES.index(case)
    rows = [list(row) for row in SOUND["distinct"]]
    rows[place][-1] = 2 if CASES[place].stays else 7

    refuted = not_held(claims_of("symmetry", [SOUND, {"distinct": rows, "balance_drift": 0.01}]))
    assert len(refuted) == 1
    assert refuted[0].startswith(CASES[place].name)


def test_a_balance_that_is_not_kept_is_told() -> None:
    (refuted,) = not_held(claims_of("symmetry", [SOUND | {"balance_drift": 0.2}]))

    assert "difference of squares" in refuted


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("symmetry", 0)
