from dataclasses import replace
from unittest import mock

import pytest
import torch

from isometry._phrases import Phrase
from isometry.lab.apparatus.equal_parts import Parts, heads
from isometry.lab.experiments import symmetry
from isometry.lab.experiments.symmetry import CASES, Case, SymmetrySettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("symmetry")
TINY = SymmetrySettings(num_parts=3, num_steps=6, num_examples=12, batch_size=4)
SOUND = {
    "distinct": [[1, 1] if case.stays else [1, 8] for case in CASES],
    "moved": [1.0] * len(CASES),
    "balance_drift": 0.01,
    "lawless_drift": 0.1,
}


def place_of(name: str) -> int:
    return next(place for place, case in enumerate(CASES) if case.name == name)


def test_a_small_run_holds_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0, 1)

    assert TINY.recorded == [0, 1, 2, 4, 6]
    assert [text for text in not_held(EXPERIMENT.judge(TINY, found)) if "of tanh" not in text] == []  # 6 steps are few
    require_drawable(EXPERIMENT, TINY, found)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 32])
def test_any_number_of_parts_starts_as_one_but_where_it_is_drawn(count: int) -> None:
    (found,) = measured(EXPERIMENT, SymmetrySettings(num_parts=count, num_steps=1, num_examples=4), 3)
    starts = {case.name: row[0] for case, row in zip(CASES, found["distinct"], strict=True)}

    assert starts.pop("units drawn at random") == count
    assert set(starts.values()) == {1}


def test_sound_numbers_hold_every_claim() -> None:
    assert not_held(claims_of("symmetry", [SOUND])) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_that_goes_the_other_way_is_not_held(case: object) -> None:
    place = CASES.index(case)
    rows = [list(row) for row in SOUND["distinct"]]
    rows[place][-1] = 2 if CASES[place].stays else 7

    refuted = not_held(claims_of("symmetry", [SOUND, SOUND | {"distinct": rows}]))
    assert len(refuted) == 1
    assert refuted[0].startswith(CASES[place].name)


def test_a_balance_that_is_not_kept_is_told() -> None:
    (refuted,) = not_held(claims_of("symmetry", [SOUND | {"balance_drift": 0.2}]))

    assert "difference of squares" in refuted


def test_a_balance_that_is_kept_without_the_law_says_nothing() -> None:
    (refuted,) = not_held(claims_of("symmetry", [SOUND | {"lawless_drift": 0.01}]))

    assert "of tanh" in refuted


def test_parts_that_are_equal_since_nothing_moves_them_are_told() -> None:
    (refuted,) = not_held(claims_of("symmetry", [SOUND | {"moved": [*SOUND["moved"][:-1], 0.75]}]))

    assert "for want of a gradient" in refuted


def test_heads_without_a_gradient_are_found_by_the_measurement() -> None:
    def frozen(count: int, generator: torch.Generator) -> Parts:
        network = heads(count, generator)
        network.parameters["maps"].register_hook(torch.zeros_like)
        return network

    case = Case(name=Phrase("heads"), build=frozen)
    with mock.patch.object(symmetry, "CASES", (CASES[0], case)):
        (found,) = measured(EXPERIMENT, TINY, 0)

    assert found["moved"] == [1.0, 0.0]


def test_a_batch_is_drawn_anew_for_each_step() -> None:
    whole, batches = ((place_of(name),) for name in ("units, gradient descent", "units, stochastic gradient descent"))
    seen: list[int] = []

    def counted(count: int, generator: torch.Generator) -> Parts:
        network = CASES[batches[0]].build(count, generator)

        def outputs(inputs: torch.Tensor) -> torch.Tensor:
            seen.append(len(inputs))
            return network.outputs(inputs)

        return replace(network, outputs=outputs)

    cases = tuple(replace(CASES[place], build=counted) for (place,) in (whole, batches))
    with mock.patch.object(symmetry, "CASES", cases):
        measured(EXPERIMENT, TINY, 0)

    assert seen == [12] * 7 + [4] * 7


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("symmetry", 0)
