"""When a change makes a course of training better or worse, and what is said of it."""

import math
from dataclasses import replace

import pytest

from isometry._phrases import Phrase
from isometry.checking.change import Change
from isometry.checking.experiments import Losses, Outcome
from isometry.report.finding import Finding
from isometry.report.outline import proof_sentence
from tests.report.cases import VANISHING

NAN = math.nan


@pytest.mark.parametrize(
    ("start", "end", "least", "same", "is_better", "is_worse"),
    [
        pytest.param((2.3, 2.3), (2.2, 1.5), (2.2, 1.5), True, True, False, id="clearly lower"),
        pytest.param((2.3, 2.3), (2.2, 2.19), (2.2, 2.19), True, False, False, id="as before"),
        pytest.param((2.3, 2.3), (2.2, 2.6), (2.2, 2.5), True, False, True, id="higher"),
        pytest.param((2.3, 2.3), (2.2, 2.6), (2.2, 2.1), True, False, False, id="higher at the end, lower on the way"),
        pytest.param((2.3, 2.3), (NAN, 2.2), (2.3, 2.2), True, True, False, id="finite now"),
        pytest.param((2.3, 2.3), (2.2, NAN), (2.2, 2.3), True, False, True, id="diverges now"),
        pytest.param((2.3, 2.3), (NAN, NAN), (2.3, 2.3), True, False, False, id="diverges as before"),
        pytest.param((72.0, 76.0), (71.8, 73.0), (71.8, 73.0), True, True, False, id="falls faster from further off"),
        pytest.param((9e9, 1.0), (8e9, 0.9), (8e9, 0.9), False, True, False, id="another quantity falls"),
        pytest.param((-1.0, 2.0), (-9.0, 1.99), (-9.0, 1.99), False, False, False, id="another quantity stands still"),
        pytest.param((-1.0, -2.0), (-1.1, -3.0), (-1.1, -3.0), True, True, False, id="below zero"),
    ],
)
def test_losses_are_compared_after_the_same_steps(
    *,
    start: tuple[float, float],
    end: tuple[float, float],
    least: tuple[float, float],
    same: bool,
    is_better: bool,
    is_worse: bool,
) -> None:
    losses = Losses(start, end, least)

    assert losses.is_better(same_quantity=same) is is_better
    assert losses.is_worse(0.02, same_quantity=same) is is_worse


CHANGE = Change(words=Phrase("something else"), make=lambda: None)  # pyright: ignore[reportArgumentType] - never made


def outcome(change: Change, losses: Losses | None, **parts: object) -> Outcome:
    found = frozenset({"FWD106"}) if parts.pop("is_gone", True) else frozenset[str]()
    fields: dict[str, object] = {"number": 0.2, "gone": found, "steps": 20, "confirmed": True}
    return Outcome(change=change, losses=losses, **{**fields, **parts})  # pyright: ignore[reportArgumentType] - by name


def finding(measured: float | None = 0.9) -> Finding:
    return replace(VANISHING, code="FWD106", measured=measured, unit="share")


def test_losses_that_are_not_one_quantity_are_each_shown_as_a_share_of_their_own_start() -> None:
    other = replace(CHANGE, keeps_loss=False)
    losses = Losses((1e10, 1.0), (9e9, 0.25), (9e9, 0.25))
    numbered, bare = outcome(other, losses).proof(finding()), outcome(other, losses).proof(finding(None))
    below_zero = outcome(other, replace(losses, start=(1e10, -1.0))).proof(finding())

    assert numbered is not None
    assert (numbered.before, numbered.after, numbered.is_share) == (0.9, 0.2, True)
    assert (numbered.loss_before, numbered.loss_after) == (0.9, 0.25)
    assert "0.25 of what it began with" in proof_sentence(numbered, "share")
    assert bare is not None
    assert (bare.before, bare.after, bare.unit) == (0.9, 0.25, "of the loss at the start, after 20 steps")
    assert below_zero is not None
    assert below_zero.loss_before is None


def test_a_change_without_any_effect_is_no_proof() -> None:
    same = Losses((2.3, 2.3), (2.1, 2.1), (2.1, 2.1))
    idle = outcome(CHANGE, same, number=0.9, is_gone=False, confirmed=False)

    assert idle.proof(finding()) is None
    assert replace(idle, number=0.8).proof(finding()) is not None
    assert replace(idle, losses=replace(same, end=(2.1, 1.9))).proof(finding()) is not None


def test_a_certainty_whose_harm_did_not_show_is_not_called_unconfirmed() -> None:
    losses = Losses((2.3, 2.3), (2.1, 2.1), (2.1, 2.1))
    certain = outcome(CHANGE, losses, confirmed=False, is_open=True)
    proof = certain.proof(finding())

    assert proof is not None
    assert proof.open_after == 20
    assert proof_sentence(proof, "share").startswith("not shown in 20 steps: ")
    assert replace(certain, losses=None).proof(finding()) is None
    assert "not confirmed" in proof_sentence(replace(proof, open_after=None), "share")


@pytest.mark.parametrize(
    ("start", "end", "further"),
    [
        pytest.param((1e11, 1.0), (9.4e10, 0.935), False, id="as far as before"),
        pytest.param((1e11, 1.0), (9.4e10, 0.5), True, id="further"),
        pytest.param((1e11, 1.0), (NAN, 0.97), True, id="finite now"),
        pytest.param((-1.0, 1.0), (-2.0, 0.5), True, id="no share of what is negative"),
    ],
)
def test_losses_of_two_kinds_are_compared_by_how_far_they_fall(
    start: tuple[float, float], end: tuple[float, float], *, further: bool
) -> None:
    assert Losses(start, end, end).falls_further is further
