"""What holds of every rule: states that travel, weights that come back, and arguments that are checked."""

import contextlib
import copy
import io
import json
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from isometry._errors import SettingsError, UnknownNameError
from isometry.training.stopping.descent import DoubleDescent
from isometry.training.stopping.early import EarlyStopping
from isometry.training.stopping.label_wave import LabelWave
from isometry.training.stopping.prechelt import GL, PQ, UP
from isometry.training.stopping.probe import RandomLabelProbe
from isometry.training.stopping.replay import STOPPING_RULES
from isometry.training.stopping.rule import StoppingRule
from tests.training.stopping.curves import curve, decisions

METRICS = (
    "val_loss",
    "val_error",
    "train_loss",
    "train_error",
    "train_accuracy",
    "probe_accuracy",
    "changed_predictions",
)
RULES: dict[str, Callable[[], StoppingRule]] = {
    "patience": lambda: EarlyStopping(patience=2, min_delta=0.1),
    "epochs": lambda: EarlyStopping(patience=2, unit="epochs", warm_up=3, baseline=0.5),
    "GL": lambda: GL(30),
    "PQ": lambda: PQ(0.1, strip=3),
    "UP": lambda: UP(2, strip=2),
    "Label Wave": lambda: LabelWave(window=2, hold=2),
    "probe": lambda: RandomLabelProbe(patience=3),
    "double descent": lambda: DoubleDescent(patience=2, fitted=0.25),
}
NUMBERS = st.sampled_from((0.0, 0.125, 0.25, 0.5, 0.75, 1.0, float("nan"), float("inf")))
CURVES = st.lists(st.tuples(*[NUMBERS] * len(METRICS)), min_size=1, max_size=20)


@pytest.mark.parametrize("name", RULES)
@given(rows=CURVES, cut=st.integers(0, 20))
def test_a_resume_at_any_point_equals_no_interruption(name: str, rows: list[tuple[float, ...]], cut: int) -> None:
    evaluations = curve(**dict(zip(METRICS, zip(*rows, strict=True), strict=True)))
    whole, first, second = RULES[name](), RULES[name](), RULES[name]()
    expected = decisions(whole, evaluations)

    told = decisions(first, evaluations[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    told += decisions(second, evaluations[cut:])

    assert told == expected
    assert second.count == whole.count
    assert json.dumps(second.state_dict()) == json.dumps(whole.state_dict())
    assert repr(second.best) == repr(whole.best)  # a NaN of another metric is not equal to itself


@pytest.mark.parametrize("name", RULES)
@given(rows=CURVES)
def test_the_best_evaluation_is_the_last_that_was_called_so(name: str, rows: list[tuple[float, ...]]) -> None:
    evaluations = curve(**dict(zip(METRICS, zip(*rows, strict=True), strict=True)))
    rule = RULES[name]()
    told = decisions(rule, evaluations)

    best = [each for each, decision in zip(evaluations, told, strict=True) if decision.is_best]
    assert rule.best is (best[-1] if best else None)
    assert all(decision.reason for decision in told)


@pytest.mark.parametrize("name", RULES)
def test_a_state_goes_through_torch_save_without_pickled_code(name: str) -> None:
    rule, file = RULES[name](), io.BytesIO()
    decisions(rule, curve(**dict.fromkeys(METRICS, (0.5, 0.25, 1.0))))
    torch.save(rule.state_dict(), file)
    file.seek(0)
    resumed = RULES[name]()
    resumed.load_state_dict(torch.load(file, weights_only=True))

    assert resumed.state_dict() == rule.state_dict()


@pytest.mark.parametrize("name", STOPPING_RULES)
def test_a_rule_names_what_it_reads_and_asks_for_what_is_missing(name: str) -> None:
    rule = STOPPING_RULES[name]()

    with pytest.raises(UnknownNameError, match=rf"no metric '{rule.monitors[0]}'\. It has: other\. Pass it with each"):
        rule.update(other=1.0)
    assert rule.count == 0
    assert all(metric in METRICS for metric in rule.monitors)


def test_the_state_of_another_rule_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"state is of GL over \['val_loss'\], and this rule is UP over"):
        UP().load_state_dict(GL().state_dict())
    with pytest.raises(SettingsError, match=r"over \['val_loss'\], and this rule is GL over \['other_loss'\]"):
        GL(monitor="other_loss").load_state_dict(GL().state_dict())


def spoil(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)


def train(model: nn.Linear, stopper: StoppingRule, losses: list[float], *, then: Callable[[], None]) -> None:
    """A plain loop: each epoch adds 1 to the weights; what comes after the last may raise."""
    with stopper.keeping(model):
        for epoch, loss in enumerate(losses):
            spoil(model)
            if stopper.update(val_loss=loss, epoch=epoch).should_stop:
                break
        spoil(model)  # the epoch that nobody evaluates
        then()


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise RuntimeError("out of memory")


def leave() -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("how", [interrupt, fail, leave, lambda: None])
@pytest.mark.parametrize("losses", [[3.0, 1.0, 2.0], [3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]], ids=["limit", "stop"])
def test_the_best_weights_come_back_whatever_ends_the_training(how: Callable[[], None], losses: list[float]) -> None:
    model, stopper = nn.Linear(2, 2), EarlyStopping(patience=4)
    start = copy.deepcopy(model)

    with contextlib.suppress(KeyboardInterrupt, RuntimeError, SystemExit):
        train(model, stopper, losses, then=how)

    assert stopper.best is not None
    assert stopper.best.step == 2
    assert torch.equal(model.weight, start.weight + 1 + 1)


def test_without_an_evaluation_the_weights_are_those_of_the_end() -> None:
    model, stopper = nn.Linear(2, 2), EarlyStopping()
    start = model.weight.detach().clone()
    with stopper.keeping(model):
        spoil(model)

    assert torch.equal(model.weight, start + 1)


def test_several_models_are_kept_and_none_after_the_block() -> None:
    one, other, stopper = nn.Linear(2, 2), nn.Linear(3, 3), EarlyStopping()
    with stopper.keeping(one), stopper.keeping(other):
        stopper.update(val_loss=1.0)
        best = [copy.deepcopy(model.state_dict()) for model in (one, other)]
        spoil(one)
        spoil(other)
    kept = [torch.equal(model.weight, state["weight"]) for model, state in zip((one, other), best, strict=True)]
    spoil(one)
    stopper.update(val_loss=0.5)

    assert kept == [True, True]
    assert not torch.equal(one.weight, best[0]["weight"])


def test_a_resumed_training_restores_the_best_weights_of_before() -> None:
    model, stopper = nn.Linear(2, 2), EarlyStopping()
    best = model.weight.detach().clone()
    with stopper.keeping(model) as kept:
        stopper.update(val_loss=1.0)
        saved = (stopper.state_dict(), kept.state_dict())

    resumed = EarlyStopping()
    resumed.load_state_dict(saved[0])
    with resumed.keeping(model) as kept:
        kept.load_state_dict(saved[1])
        spoil(model)
        resumed.update(val_loss=2.0)

    assert torch.equal(model.weight, best)


def test_best_weights_that_were_lost_are_told_of() -> None:
    model, stopper = nn.Linear(2, 2), EarlyStopping()
    stopper.update(val_loss=1.0)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with stopper.keeping(model):
            stopper.update(val_loss=2.0)

    assert [str(each.message)[:58] for each in told] == ["the weights of the best evaluation (step 1) were not kept "]


def test_a_rule_that_has_decided_on_one_training_is_not_taken_for_the_next() -> None:
    model, stopper = nn.Linear(2, 2), EarlyStopping()
    with stopper.keeping(model):
        stopper.update(val_loss=1.0)

    with pytest.raises(SettingsError, match="has decided on a training of 1 evaluations"), stopper.keeping(model):
        pass
    stopper.load_state_dict(stopper.state_dict())
    with stopper.keeping(model):
        stopper.update(val_loss=0.5)

    assert stopper.count == 2


def test_the_defaults_are_those_that_the_benchmark_measures() -> None:
    assert [repr(make()) for make in STOPPING_RULES.values()] == [
        "EarlyStopping('val_loss', patience=5, unit='evaluations')",
        "GL(5, monitor='val_loss')",
        "PQ(0.5, strip=5, monitor='val_loss', train='train_loss')",
        "UP(2, strip=5, monitor='val_loss')",
        "LabelWave(window=3, hold=3, monitor='changed_predictions')",
        "RandomLabelProbe(train='train_accuracy', probe='probe_accuracy', patience=5)",
        "DoubleDescent('val_error', train='train_error', patience=10)",
    ]
