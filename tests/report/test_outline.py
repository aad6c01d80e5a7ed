import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.probes.jacobian_result import JacobianResult, MeanField, Spectrum
from isometry.probes.trial_result import Failure, TrialResult
from isometry.report.facts import Cost
from isometry.report.outline import (
    causes,
    cost_sentence,
    jacobian_rows,
    measured_against,
    places,
    proof_sentence,
    tally,
    trial_sentence,
)
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


@pytest.mark.parametrize(("is_given", "told"), [(True, "2 steps of SGD("), (False, "2 steps of isometry's own SGD(")])
def test_a_trial_says_whose_optimiser_it_was(is_given: bool, told: str) -> None:
    trial = TrialResult(
        losses=(2.0, 1.5, 1.0),
        constant=None,
        optimizer="SGD(lr=0.1)",
        is_given=is_given,
        learning_rate=0.1,
        updates=(),
        learns=True,
    )

    assert trial_sentence(trial).startswith(told)


def trial(*losses: float, constant: float | None = 2.3, failure: Failure | None = None) -> str:
    return trial_sentence(
        TrialResult(
            losses=losses,
            constant=constant,
            optimizer="SGD(lr=0.1)",
            is_given=True,
            learning_rate=0.1,
            updates=(),
            learns=False,
            failure=failure,
        )
    )


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        pytest.param(trial(2.3, 2.2, 2.25), "that shows nothing learned yet", id="hardly moved"),
        pytest.param(trial(2.3, 9.0, 4.0), "that shows nothing learned yet", id="a jump"),
        pytest.param(trial(0.1, 2.0, 2.0), "that shows nothing learned yet", id="back to a constant predictor"),
        pytest.param(trial(2.3, 2.2, 40.0, 2.3e33), "from step 2 on the loss is above its start", id="grown"),
        pytest.param(trial(2.3, 8.0, math.nan, math.nan), "from step 2 on there are numbers", id="no number"),
        pytest.param(trial(math.nan, math.nan), "the loss is no finite number before any step", id="none at all"),
        pytest.param(trial(2.3, 2.1, failure=Failure(1, "w")), "from step 1 on there are numbers", id="a weight"),
        pytest.param(trial(-3.0, -3.1, constant=None), "that shows nothing learned yet", id="below zero"),
    ],
)
def test_a_trial_that_diverges_is_told_so_with_its_step(told: str, outcome: str) -> None:
    assert outcome in told
    assert ("diverges" in told or "training breaks" in told) == ("from step" in outcome)


def test_the_last_loss_of_a_trial_is_the_last_that_is_a_number() -> None:
    assert "the loss goes from 2.3 to 8, a constant" in trial(2.3, 8.0, math.nan)


def spectrum(smallest: float | None) -> Spectrum:
    return Spectrum(name="all", largest=10.0, smallest=smallest, mean_square=1.0, spread=1.0)


def jacobian(smallest: float | None, *, depth_scale: float = 3.0, length: float = 0.5) -> str:
    theory = MeanField(
        activation="tanh",
        weight_variance=1.0,
        bias_variance=0.0,
        length=length,
        slope=1.0,
        depth_scale=depth_scale,
        phase="critical",
        mean_square=1.0,
        hidden_mean_square=None,
        hidden_spread=None,
    )
    result = JacobianResult(
        whole=spectrum(smallest), hidden=None, layers=(), theory=theory, why_no_theory="", num_samples=1
    )
    return " ".join(words for _, words in jacobian_rows(result))


def test_a_singular_value_that_rounding_hides_is_no_measurement() -> None:
    assert "smallest below 1.19e-6," in jacobian(3e-8)
    assert "smallest 0.001," in jacobian(1e-3)
    assert "smallest not known," in jacobian(None)


def test_theory_says_what_settles_with_depth() -> None:
    assert "correlations between samples settle over 3 layers" in jacobian(1e-3)
    assert "correlations between samples settle more slowly than exponentially" in jacobian(1e-3, depth_scale=math.inf)
    for length in (0.0, math.inf):
        assert "change by a factor e in mean square over 3 layers" in jacobian(1e-3, length=length)


@pytest.mark.parametrize(
    ("measured", "allowed", "unit", "words"),
    [
        pytest.param(1.0, 256.0, "distinct units", "1 distinct unit of 256", id="of all there are"),
        pytest.param(1.0, 2.0, "different samples", "1 different sample, at least 2 needed", id="too few"),
        pytest.param(1.0, 0.9, "share of units", "100 % (share of units), allowed 90 %", id="a share"),
    ],
)
def test_a_bound_is_said_for_what_it_is(measured: float, allowed: float, unit: str, words: str) -> None:
    assert measured_against(replace(VANISHING, measured=measured, allowed=allowed, unit=unit)) == words
