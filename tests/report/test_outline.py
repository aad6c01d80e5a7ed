from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.report.facts import Cost
from isometry.report.outline import causes, cost_sentence, measured_against, places, proof_sentence, tally
from tests.report.cases import SLOW_START, UNSCALED_INPUT, VANISHING

CODES = st.sampled_from(["AAA001", "AAA002", "AAA003", "AAA004"])


def folded(pairs: Sequence[tuple[str, str | None]]) -> list[tuple[str, list[str]]]:
    findings = [replace(VANISHING, code=code, because=because) for code, because in pairs]
    return [(cause.finding.code, [symptom.code for symptom in cause.symptoms]) for cause in causes(findings)]


@pytest.mark.parametrize(
    ("pairs", "outline"),
    [
        pytest.param([("A", None), ("B", "A"), ("C", None)], [("A", ["B"]), ("C", [])], id="one symptom"),
        pytest.param([("C", "B"), ("A", None), ("B", "A")], [("A", ["C", "B"])], id="through another, in any order"),
        pytest.param([("A", "Z"), ("B", "A")], [("A", ["B"])], id="explained by what is not there"),
        pytest.param([("A", "B"), ("B", "A"), ("C", "A")], [("A", []), ("B", []), ("C", [])], id="a circle"),
        pytest.param([("A", None), ("A", None), ("B", "A")], [("A", ["B"]), ("A", [])], id="one code twice"),
        pytest.param([("A", None), ("A", "A")], [("A", []), ("A", [])], id="explained by its own code"),
    ],
)
def test_symptoms_fold_under_their_cause(
    pairs: Sequence[tuple[str, str | None]], outline: list[tuple[str, list[str]]]
) -> None:
    assert folded(pairs) == outline


@given(st.lists(st.tuples(CODES, st.none() | CODES), max_size=8))
def test_no_finding_is_lost_or_told_twice(pairs: list[tuple[str, str | None]]) -> None:
    told = [code for leader, symptoms in folded(pairs) for code in (leader, *symptoms)]

    assert sorted(told) == sorted(code for code, _ in pairs)


def test_numbers_of_a_finding_come_with_their_unit() -> None:
    assert measured_against(VANISHING) == "19 decades, allowed 4"
    assert measured_against(replace(VANISHING, allowed=None)) == "19 decades"
    assert measured_against(SLOW_START) == ""
    assert VANISHING.proof is not None
    assert proof_sentence(VANISHING.proof, "decades") == (
        "confirmed: with orthogonal weights of gain 4 it goes from 19 to 0.31 decades"
    )
    assert proof_sentence(replace(VANISHING.proof, confirmed=False), "").startswith("not confirmed: with")


def test_many_places_are_counted() -> None:
    assert places(("a", "b", "c")) == "a, b, c"
    assert places(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"


def test_the_tally_leaves_out_what_is_not_there() -> None:
    assert tally(()) == "no findings"
    assert tally((UNSCALED_INPUT, VANISHING, UNSCALED_INPUT)) == "1 error, 2 warnings"


def test_the_cost_of_a_step_that_was_not_timed_is_left_out() -> None:
    assert cost_sentence(Cost(0.5, 0.0, None)) == "checked in 500 ms"
    assert cost_sentence(Cost(0.5, 0.25, 2**31)) == "checked in 500 ms, 250 ms of it in one watched step, peak 2 GiB"
