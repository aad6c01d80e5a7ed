import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isometry._errors import DomainError, SettingsError, UnknownNameError
from isometry.probes.running.readings import Evaluation
from isometry.report.language import say, speaking
from isometry.training.stopping.early import EarlyStopping
from tests.training.stopping.curves import curve, decisions, stop_of

NUMBERS = st.lists(st.integers(-100, 100).map(float), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("losses", "settings", "stops", "best"),
    [
        pytest.param((5, 4, 3, 2, 1), {"patience": 1}, None, 5, id="falls for ever"),
        pytest.param((5, 6, 6, 6, 6, 6), {}, 6, 1, id="five evaluations in vain if nothing is said"),
        pytest.param((math.nan,), {"patience": 1}, 1, None, id="one evaluation is enough if nothing is said"),
        pytest.param((5, 4, 4), {"patience": 1}, 3, 2, id="equal is no improvement"),
        pytest.param((5, 4, 6, 6, 6, 3), {"patience": 3}, 5, 2, id="three evaluations in vain"),
        pytest.param((5, 4, 6, 6, 3, 6, 6), {"patience": 3}, None, 5, id="patience begins anew"),
        pytest.param((5, 4.9, 4.8, 4.7), {"patience": 3, "min_delta": 0.5}, 4, 4, id="best, but by too little"),
        pytest.param((5, 4.8, 4.6, 4.4), {"patience": 3, "min_delta": 0.5}, None, 4, id="little by little is enough"),
        pytest.param(
            (100, 99.5, 99.2), {"patience": 2, "min_relative": 0.01}, 3, 3, id="half a per cent is too little"
        ),
        pytest.param((100, 98.5, 97), {"patience": 2, "min_relative": 0.01}, None, 3, id="one and a half is enough"),
        pytest.param(
            (-100, -100.5, -100.8), {"patience": 2, "min_relative": 0.01}, 3, 3, id="nor is it of a negative value"
        ),
        pytest.param(
            (100, 98.8, 97.6), {"patience": 2, "min_delta": 0.5, "min_relative": 0.01}, None, 3, id="the larger of both"
        ),
        pytest.param((5, 4, 3, 2), {"patience": 3, "baseline": 1.0}, 3, 3, id="the baseline is never reached"),
        pytest.param((5, 4, 0.9, 0.8), {"patience": 3, "baseline": 1.0}, None, 4, id="the baseline is reached in time"),
        pytest.param((5, 6, 7, 8, 9), {"patience": 2, "warm_up": 3}, 5, 1, id="patience runs after the warm-up"),
        pytest.param((5, 6, 7, 8, 9), {"patience": 1, "min_evals": 4}, 4, 1, id="not before the fourth"),
        pytest.param((5, 4, 3, 2), {"goal": 3.0}, 3, 3, id="the goal"),
        pytest.param((5, 4, 31, 2), {"divergence": 30.0}, 3, 2, id="diverged"),
        pytest.param((5, 4, 30, 2), {"divergence": 30.0}, None, 4, id="as bad as the bound is not worse"),
        pytest.param((5, math.nan, 3), {"divergence": 30.0}, 2, 1, id="NaN where divergence is watched"),
        pytest.param((5, -math.inf, 3), {"divergence": 30.0}, 2, 1, id="no loss is endlessly good"),
        pytest.param(
            (5, math.nan, math.inf, 4), {"patience": 3}, None, 4, id="two that are no number, then a better one"
        ),
        pytest.param((math.nan, math.nan), {"patience": 2}, 2, None, id="never a number"),
    ],
)
def test_it_stops_where_its_settings_say(
    losses: tuple[float, ...], settings: dict[str, float], stops: int | None, best: int | None
) -> None:
    rule = EarlyStopping("val_loss", **settings)  # pyright: ignore[reportArgumentType] - numbers of the table

    assert stop_of(rule, curve(val_loss=losses)) == stops
    assert (rule.best and rule.best.step) == best


@pytest.mark.parametrize(("unit", "stops"), [("evaluations", (30, 3.0)), ("epochs", (70, 7.0)), ("steps", (40, 4.0))])
def test_patience_is_counted_in_the_unit_that_is_named(unit: str, stops: tuple[int, float]) -> None:
    patience = {"evaluations": 2, "epochs": 6, "steps": 30}[unit]
    rule = EarlyStopping("val_loss", patience=patience, unit=unit)  # pyright: ignore[reportArgumentType] - of the table
    evaluations = [
        Evaluation(step=10 * number, epoch=float(number), metrics={"val_loss": float(number)}) for number in range(1, 9)
    ]

    stopped = next(each for each in evaluations if rule.update(each).should_stop)

    assert (stopped.step, stopped.epoch) == stops


def test_a_patience_in_epochs_needs_the_epoch() -> None:
    with pytest.raises(SettingsError, match=r"patience is in epochs.* Pass epoch=, or leave unit out\."):
        EarlyStopping("val_loss", unit="epochs").update(val_loss=1.0)


def test_a_patience_in_steps_needs_the_step() -> None:
    rule = EarlyStopping("val_loss", unit="steps")
    with pytest.raises(SettingsError, match=r"patience is in steps.* Pass step=, or leave unit out\."):
        rule.update(val_loss=1.0)

    assert rule.count == 0
    assert not rule.update(val_loss=1.0, step=0).should_stop


@pytest.mark.parametrize(
    ("settings", "values", "stops"),
    [
        ({"divergence": 0.3}, (0.8, 0.3, 0.5, 0.2), 4),
        ({"goal": 0.8}, (0.5, 0.79, 0.8), 3),
        ({"baseline": 0.6, "patience": 3}, (0.3, 0.4, 0.7, 0.5, 0.5, 0.5), 6),
        ({"min_relative": 0.1, "patience": 2}, (0.5, 0.54, 0.549), 3),
    ],
)
def test_bounds_of_an_accuracy_hold_from_below(
    settings: dict[str, float], values: tuple[float, ...], stops: int
) -> None:
    rule = EarlyStopping("val_accuracy", **settings)  # pyright: ignore[reportArgumentType] - numbers of the table

    assert stop_of(rule, curve(val_accuracy=values)) == stops


def test_four_evaluations_an_epoch_do_not_shorten_a_patience_in_epochs() -> None:
    rule = EarlyStopping("val_loss", patience=2, unit="epochs")
    told = [rule.update(val_loss=1.0 + number, epoch=number / 4).should_stop for number in range(12)]

    assert told.index(True) == 8  # two epochs after the first evaluation, the ninth


@given(losses=NUMBERS, patience=st.integers(1, 5))
def test_what_always_improves_never_stops(losses: list[float], patience: int) -> None:
    falling = sorted(set(losses), reverse=True)

    assert stop_of(EarlyStopping("loss", patience=patience), curve(loss=falling)) is None


@given(
    losses=NUMBERS, patience=st.integers(1, 5), shift=st.integers(-1000, 1000), scale=st.sampled_from((0.25, 2.0, 64.0))
)
def test_shift_and_scale_of_the_metric_change_nothing(
    losses: list[float], patience: int, shift: int, scale: float
) -> None:
    moved = [scale * loss + shift for loss in losses]
    plain, other = (
        decisions(EarlyStopping("loss", patience=patience), curve(loss=values)) for values in (losses, moved)
    )

    assert [(each.should_stop, each.is_best) for each in plain] == [(each.should_stop, each.is_best) for each in other]


@given(losses=NUMBERS, patience=st.integers(1, 5))
def test_an_accuracy_is_a_loss_turned_over(losses: list[float], patience: int) -> None:
    turned = [-loss for loss in losses]
    fall = stop_of(EarlyStopping("loss", patience=patience), curve(loss=losses))
    rise = stop_of(EarlyStopping("accuracy", patience=patience), curve(accuracy=turned))

    assert fall == rise


@given(losses=NUMBERS, patience=st.integers(1, 5))
def test_more_patience_never_stops_earlier(losses: list[float], patience: int) -> None:
    hasty, patient = (
        stop_of(EarlyStopping("loss", patience=each), curve(loss=losses)) for each in (patience, patience + 1)
    )

    assert patient is None or (hasty is not None and hasty < patient)


@pytest.mark.parametrize(
    ("name", "better"),
    [("val_loss", 0.1), ("test/mse", 0.1), ("val_accuracy", 0.9), ("valid-F1", 0.9), ("eval.err", 0.1)],
)
def test_the_name_tells_which_way_is_better(name: str, better: float) -> None:
    first, second = decisions(EarlyStopping(name), curve(**{name: (0.5, better)}))

    assert first.is_best
    assert second.is_best


@pytest.mark.parametrize("name", ["score", "classes", "loss_over_accuracy"])
def test_a_name_that_does_not_tell_is_asked_about(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"'{name}' does not tell .* Give mode='min' or 'max'\."):
        EarlyStopping(name)

    assert EarlyStopping(name, mode="max").monitor == name


def test_a_missing_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no metric 'val_loss'\. Did you mean 'valid_loss'\? It has: acc, valid_l"
    ):
        EarlyStopping("val_loss").update(valid_loss=1.0, acc=0.5)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"patience": 0}, DomainError, "must be positive"),
        ({"patience": math.nan}, DomainError, "must be positive"),
        ({"min_delta": -1.0}, DomainError, "min_delta=-1.0"),
        ({"warm_up": -1}, DomainError, "warm_up=-1"),
        ({"min_evals": -3}, DomainError, "min_evals=-3"),
        ({"baseline": math.nan}, DomainError, "baseline=nan"),
        ({"goal": math.nan}, DomainError, "goal=nan"),
        ({"divergence": math.nan}, DomainError, "divergence=nan"),
        ({"unit": "hours"}, SettingsError, "evaluations, epochs, steps"),
        ({"mode": "down"}, SettingsError, "mode='down'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        EarlyStopping("loss", **settings)  # pyright: ignore[reportArgumentType] - the point


def test_the_reason_is_in_words_and_in_vietnamese() -> None:
    told = decisions(EarlyStopping("val_loss", patience=2), curve(val_loss=(0.5, 0.25, 0.75, 0.75)))[-1]

    assert told.reason == "val_loss has not improved for 2 of 2 evaluations, the best being 0.25 at step 2"
    with speaking("vi"):
        assert say(told.reason) == "val_loss không tốt hơn đã 2 trên 2 lần đánh giá, tốt nhất là 0.25 ở bước 2"


@pytest.mark.parametrize(
    ("settings", "losses", "reason"),
    [
        (
            {"patience": 1, "min_evals": 5},
            (1, 2, 2, 2),
            "has not improved for 3 of 1 evaluations, and may not stop before evaluation 5, the best being 1 at step 1",
        ),
        (
            {"patience": 1, "min_evals": 5},
            (1, 2, 2, 2, 2),
            "has not improved for 4 of 1 evaluations, the best being 1 at step 1",
        ),
        (
            {"patience": 2, "min_delta": 0.5},
            (1, 0.9, 0.8),
            "has not improved by more than 0.5 for 2 of 2 evaluations, the best being 0.8 at step 3",
        ),
        (
            {"patience": 2, "min_relative": 0.25},
            (2, 1.8, 1.9),
            "has not improved by more than 0.5 for 2 of 2 evaluations, the best being 1.8 at step 2",
        ),
        (
            {"patience": 2, "min_delta": 0.5},
            (1, 1.2, 1.1),
            "has not improved for 2 of 2 evaluations, the best being 1 at step 1",
        ),
        (
            {"patience": 2, "baseline": 0.5},
            (1, 0.9),
            "has not been better than the baseline 0.5 for 2 of 2 evaluations, the best being 0.9 at step 2",
        ),
        (
            {"patience": 2, "baseline": 0.5},
            (math.nan, math.nan),
            "has not improved for 2 of 2 evaluations, and no value of it was a finite number",
        ),
    ],
)
def test_the_reason_names_the_bound_that_holds(
    settings: dict[str, float], losses: tuple[float, ...], reason: str
) -> None:
    rule = EarlyStopping("val_loss", **settings)  # pyright: ignore[reportArgumentType] - numbers of the table

    assert decisions(rule, curve(val_loss=losses))[-1].reason == f"val_loss {reason}"


def test_in_the_warm_up_nothing_has_been_waited() -> None:
    told = decisions(EarlyStopping("val_loss", patience=2, warm_up=5), curve(val_loss=(0.5, 0.75)))[-1]

    assert told.reason.startswith("val_loss has not improved for 0 of 2 evaluations")


def test_tensors_are_numbers_and_steps_are_counted_where_nobody_does() -> None:
    rule = EarlyStopping("val_loss")
    rule.update(val_loss=torch.tensor(2.0))
    rule.update(val_loss=torch.tensor(1.0, requires_grad=True))

    assert rule.best == Evaluation(step=2, epoch=None, metrics={"val_loss": 1.0})


def test_a_saved_state_of_another_unit_is_refused() -> None:
    saved = EarlyStopping("val_loss", unit="steps").state_dict()

    with pytest.raises(SettingsError, match=r"counts in steps, and this rule in evaluations\. Give unit='steps'\."):
        EarlyStopping("val_loss").load_state_dict(saved)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Lightning's import
@given(
    losses=st.lists(st.integers(0, 20).map(float), min_size=1, max_size=20),
    patience=st.integers(1, 4),
    min_delta=st.integers(0, 3),
)
def test_patience_and_min_delta_are_those_of_lightning(losses: list[float], patience: int, min_delta: int) -> None:
    callbacks = pytest.importorskip("lightning.pytorch.callbacks", reason="it is what this one is held against")
    other = callbacks.EarlyStopping("loss", patience=patience, min_delta=min_delta)
    rule = EarlyStopping("loss", patience=patience, min_delta=min_delta)
    stops = [other._evaluate_stopping_criteria(torch.tensor(loss))[0] for loss in losses]

    assert stop_of(rule, curve(loss=losses)) == (stops.index(True) + 1 if True in stops else None)
