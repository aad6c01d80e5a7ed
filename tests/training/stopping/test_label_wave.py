import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError, ShapeError
from isometry.training.stopping.label_wave import LabelWave, PredictionChanges
from tests.training.stopping.curves import curve, stop_of

NAN = math.nan


@pytest.mark.parametrize(
    ("shares", "window", "stops", "best"),
    [
        pytest.param((NAN, 9, 5, 3, 4, 6), 1, 6, 4, id="a minimum, held twice"),
        pytest.param((NAN, 9, 5, 3, 4, 2, 5, 6), 1, 8, 6, id="undercut in time"),
        pytest.param((NAN, 9, 5, 3, 4, 6, 1, 1), 1, 6, 4, id="the first minimum, not the lowest"),
        pytest.param((NAN, 9, 5, 3, 5, 9, 9), 3, 7, 5, id="averages 5.67, 4.33, 5.67, 7.67"),
        pytest.param((NAN, 9, 3, 3, 4), 1, 5, 3, id="equal is no lower"),
        pytest.param((NAN, 9, 8), 3, None, None, id="too few for an average"),
    ],
)
def test_it_stops_behind_the_first_minimum(
    shares: tuple[float, ...], window: int, stops: int | None, best: int | None
) -> None:
    rule = LabelWave(window=window, hold=2)

    assert stop_of(rule, curve(changed_predictions=shares)) == stops
    assert (rule.best and rule.best.step) == best


def test_after_the_minimum_no_evaluation_is_the_best() -> None:
    rule = LabelWave(window=1, hold=1)
    told = [rule.update(each) for each in curve(changed_predictions=(3, 2, 4, 1, 0))]

    assert [each.should_stop for each in told] == [False, False, True, True, True]
    assert [each.is_best for each in told] == [True, True, False, False, False]


@given(shares=st.lists(st.integers(1, 100), min_size=1, max_size=30, unique=True))
def test_predictions_that_settle_more_and_more_never_stop_it(shares: list[int]) -> None:
    falling = sorted(map(float, shares), reverse=True)

    assert stop_of(LabelWave(), curve(changed_predictions=falling)) is None


@given(shares=st.lists(st.integers(0, 100).map(float), max_size=30), scale=st.sampled_from((0.25, 4.0)))
def test_shares_and_counts_are_the_same_to_it(shares: list[float], scale: float) -> None:
    scaled = [scale * share for share in shares]
    plain, other = (stop_of(LabelWave(), curve(changed_predictions=values)) for values in (shares, scaled))

    assert plain == other


def test_the_reason_says_where_the_minimum_was() -> None:
    rule = LabelWave(window=2, hold=2)
    told = [rule.update(each).reason for each in curve(changed_predictions=(NAN, 0.5, 0.25, 0.75))]

    assert told[1] == "too few evaluations for an average over 2"
    assert told[3] == (
        "changed predictions had a minimum of 0.375 on average over 2 evaluations, and stayed above it for 1 of 2"
    )


def test_settings_below_one_are_refused() -> None:
    with pytest.raises(DomainError, match="window=0 and hold=3"):
        LabelWave(window=0)


def test_changes_are_counted_over_batches_in_any_order() -> None:
    changes, generator = PredictionChanges(100), torch.Generator().manual_seed(0)
    first = torch.randint(5, (100,), generator=generator)
    second = torch.where(torch.arange(100) < 13, (first + 1) % 5, first)
    shares: list[float] = []
    for predictions in (first, second):
        for rows in torch.randperm(100, generator=generator).split(7):
            changes.see(rows, torch.nn.functional.one_hot(predictions[rows], 5).float())
        shares.append(changes.share())

    assert math.isnan(shares[0])
    assert shares[1] == pytest.approx(0.13)


def test_examples_that_an_epoch_left_out_are_not_counted() -> None:
    changes = PredictionChanges(4)
    changes.see(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]))
    changes.share()
    changes.see(torch.tensor([1, 2, 3]), torch.tensor([1, 0, 1]))

    assert changes.share() == pytest.approx(0.5)


def test_outputs_that_fit_no_rows_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(3,\) outputs came for \(2,\) rows"):
        PredictionChanges(4).see(torch.tensor([0, 1]), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("outputs", [torch.randn(4, 1), torch.randn(4), torch.zeros(4, 1, dtype=torch.long)])
def test_one_logit_for_each_example_is_refused_with_what_to_give(outputs: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"one number for each example .* give the class, \(outputs > 0\)\.long"):
        PredictionChanges(4).see(torch.arange(4), outputs)


def test_changes_of_one_logit_are_counted_by_its_sign() -> None:
    changes, shares = PredictionChanges(4), list[float]()
    for logits in ([0.2, -0.3, 0.9, -0.8], [0.2, 0.3, -0.9, -0.8]):
        changes.see(torch.arange(4), (torch.tensor(logits)[:, None] > 0).long().flatten())
        shares.append(changes.share())

    assert shares[1] == 0.5
