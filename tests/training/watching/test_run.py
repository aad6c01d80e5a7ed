import copy
import json
import math
import pickle
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

import isometry as iso
from isometry._errors import NonFiniteError, RunError
from isometry.probes.running.readings import Evaluation, Reading
from isometry.report.run.course import losses_of
from isometry.training.optim.groups import param_groups
from isometry.training.optim.lars import LARS
from isometry.training.stopping.early import EarlyStopping
from isometry.training.watching.reader import read_run
from isometry.training.watching.sinks.scalars import scalars_of
from tests.training.watching.trainings import Kept, batches, network, train, weights


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def test_the_first_step_and_every_so_many_th_are_read_with_the_losses_between() -> None:
    model = network()
    optimizer = adam(model)
    sink = Kept()

    with iso.watch(model, optimizer, every=5, to=[sink]) as run:
        train(run, model, optimizer, steps=12)
    readings = [each for each in sink.entries if isinstance(each, Reading)]

    assert [each.step for each in readings] == [1, 5, 10, 12]
    assert [len(each.losses) for each in readings] == [1, 4, 5, 2]
    assert [each.is_measured for each in readings] == [True, True, True, False]
    assert sink.started[0].state == "running"
    assert sink.closed[0].state == "finished"
    assert sink.closed[0].steps == run.steps == 12
    assert [layer.name for layer in readings[0].layers] == ["0", "1", "4"]


@pytest.mark.parametrize("every", [1, 7])
def test_a_watched_training_is_bit_for_bit_the_one_that_is_not(every: int) -> None:
    results: list[list[list[float]]] = []
    for is_watched in (False, True):
        torch.manual_seed(3)
        model = network()
        optimizer = adam(model)
        if is_watched:
            with iso.watch(model, optimizer, every=every, to=[Kept()], on_nan="rollback", snapshot_every=4) as run:
                train(run, model, optimizer, steps=20)
        else:
            train(None, model, optimizer, steps=20)
        results.append(weights(model))

    assert results[0] == results[1]


def test_model_and_optimiser_keep_no_hook_of_a_run_also_after_an_error() -> None:
    model = network()
    optimizer = adam(model)

    with pytest.raises(ZeroDivisionError), iso.watch(model, optimizer, to=[Kept()]) as run:
        train(run, model, optimizer, steps=3, after=lambda step: 1 // (2 - step))
    held = [model._forward_pre_hooks, model._forward_hooks, optimizer._optimizer_step_pre_hooks]

    assert not any(held)
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_the_losses_before_a_fault_are_recorded_once(on_nan: Literal["stop", "skip"], tmp_path: Path) -> None:
    model = network()
    optimizer = adam(model)

    with (
        suppress(NonFiniteError),
        iso.watch(model, optimizer, every=10, on_nan=on_nan, max_faults=3, to=[Kept(), tmp_path]) as run,
    ):
        train(run, model, optimizer, steps=14, bad=(14,))
    losses = losses_of(read_run(tmp_path).readings)

    assert [step for step, _ in losses] == [*range(1, 15)]
    assert all(math.isfinite(loss) for _, loss in losses[:13])
    assert math.isnan(losses[13][1])
    assert [step for step, _ in run.history.losses] == [*range(1, 15)]


def test_an_end_between_two_recorded_steps_leaves_the_last_measured_one_as_such(tmp_path: Path) -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, every=10, to=[tmp_path]) as run:
        train(run, model, optimizer, steps=14)
    document = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))

    assert document["last"]["step"] == 10
    assert document["num_readings"] == 2
    assert document["loss"]["last"] == run.facts().readings[-1].losses[-1]


def test_the_trust_ratios_of_the_optimiser_are_recorded(tmp_path: Path) -> None:
    model = network()
    optimizer = LARS(param_groups(model, weight_decay=1e-4), lr=0.1)

    with iso.watch(model, optimizer, every=2, to=[tmp_path]) as run:
        train(run, model, optimizer, steps=4)
    given = optimizer.trust_ratios()
    wanted = {name: given.get(parameter) for name, parameter in model.named_parameters()}
    found = {each.name: each.trust_ratio for each in read_run(tmp_path).readings[-1].parameters}

    assert found == wanted
    assert "trust ratio" in (tmp_path / "summary.html").read_text(encoding="utf-8")
    assert scalars_of(run.history.readings[-1])["0/weight/trust_ratio"] == wanted["0.weight"]


def test_micro_batches_are_one_step_whose_loss_is_their_mean() -> None:
    model = network()
    optimizer = adam(model)
    sink = Kept()
    losses: list[float] = []

    with iso.watch(model, optimizer, every=1, to=[sink]) as run:
        for number, (inputs, targets) in enumerate(batches(6), 1):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            (loss / 3).backward()
            if number % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()
            run.step(loss)
            losses.append(loss.item())
    readings = [each for each in sink.entries if isinstance(each, Reading)]

    assert [each.step for each in readings] == [1, 2]
    assert [each.losses[0] for each in readings] == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-6)


def test_a_loss_may_be_a_plain_number() -> None:
    model = network()
    optimizer = adam(model)
    sink = Kept()

    with iso.watch(model, optimizer, every=1, to=[sink]) as run:
        inputs, targets = batches(1)[0]
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        run.step(loss.item())

    assert isinstance(sink.entries[0], Reading)
    assert sink.entries[0].losses == (pytest.approx(loss.item()),)


def test_an_evaluation_is_recorded_and_numbers_may_be_tensors() -> None:
    model = network()
    optimizer = adam(model)
    sink = Kept()

    with iso.watch(model, optimizer, to=[sink]) as run:
        train(run, model, optimizer, steps=2)
        decision = run.evaluate(val_loss=torch.tensor(0.5), accuracy=1, epoch=1)

    assert decision is None
    assert sink.entries[1] == Evaluation(step=2, metrics={"val_loss": 0.5, "accuracy": 1.0}, epoch=1)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_the_best_weights_are_put_back_whatever_ended_the_run(error: type[BaseException] | None) -> None:
    model = network()
    optimizer = adam(model)
    best: list[list[float]] = []

    def run_it() -> None:
        with iso.watch(model, optimizer, to=[sink], stopping=EarlyStopping("val_loss", patience=2)) as run:
            for epoch, value in enumerate([3.0, 2.0, 2.5, 2.4, 2.3], 1):
                train(run, model, optimizer, steps=3)
                run.evaluate(val_loss=value, epoch=epoch)
                if epoch == 2:
                    best.extend(weights(model))
                if epoch == 3 and error is not None:
                    raise error
                if run.should_stop:
                    break

    sink = Kept()
    if error is None:
        run_it()
    else:
        with pytest.raises(error):
            run_it()
    facts = sink.closed[0]

    assert weights(model) == best
    assert facts.state == {None: "stopped", KeyboardInterrupt: "interrupted", ValueError: "failed"}[error]
    assert facts.reason


def test_an_interrupt_and_an_exit_are_no_failures(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt, SystemExit):
        model = network()
        with pytest.raises(error), iso.watch(model, adam(model), to=[tmp_path]):
            raise error

        assert read_run(tmp_path).state == "interrupted"


def test_a_run_without_a_word_of_its_steps_says_so_at_its_end() -> None:
    model = network()
    optimizer = adam(model)

    with (
        pytest.warns(UserWarning, match=r"made 3 steps, but run\.step\(loss\) was never called"),
        iso.watch(model, optimizer, to=[Kept()]),
    ):
        train(None, model, optimizer, steps=3)


def test_a_rule_that_was_never_asked_is_told_of() -> None:
    model = network()
    optimizer = adam(model)

    with (
        pytest.warns(UserWarning, match=r"run\.evaluate\(\.\.\.\) was never called"),
        iso.watch(model, optimizer, to=[Kept()], stopping=EarlyStopping("val_loss")) as run,
    ):
        train(run, model, optimizer, steps=2)


def test_calls_outside_of_the_run_are_refused() -> None:
    model = network()
    optimizer = adam(model)
    run = iso.watch(model, optimizer, to=[Kept()])

    with pytest.raises(RunError, match="inside of the run alone"):
        run.step(1.0)
    with run, pytest.raises(RunError, match="given a tensor of shape"):
        run.step(torch.ones(3))
    with pytest.raises(RunError, match="inside of the run alone"):
        run.evaluate(val_loss=1.0)
    with pytest.raises(RunError, match="entered before"), run:
        pass


def test_an_evaluation_in_between_leaves_the_readings_alone() -> None:
    model = network()
    optimizer = adam(model)
    sink = Kept()

    with iso.watch(model, optimizer, every=1, to=[sink]) as run:
        for _ in range(2):
            train(run, model, optimizer, steps=1)
            model.eval()
            with torch.no_grad():
                model(torch.zeros(1, 8))
            model.train()
    readings = [each for each in sink.entries if isinstance(each, Reading)]

    assert all(each.layers[0].activation_rms and each.layers[0].activation_rms > 0.1 for each in readings)


def test_memory_of_a_long_run_is_bounded() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    with warnings.catch_warnings(), iso.watch(model, optimizer, every=1, to=[Kept()]) as run:
        for _ in range(1300):
            loss = model(torch.ones(1, 1)).sum()
            loss.backward()
            optimizer.step()
            run.step(loss)

    assert len(run.history.readings) <= 512
    assert len(run.facts().readings) <= 1025
    assert run.facts().readings[-1].step == 1300


def test_a_copy_of_the_model_in_the_middle_of_a_step_is_a_plain_model() -> None:
    model = network()
    optimizer = adam(model)
    copies: list[nn.Module] = []

    with iso.watch(model, optimizer, every=1, to=[Kept()]) as run:
        for inputs, targets in batches(2):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            copies.append(copy.deepcopy(model))
            copies.append(pickle.loads(pickle.dumps(model)))  # noqa: S301 - our own
            loss.backward()
            optimizer.step()
            run.step(loss)
    for each in copies:
        each(batches(1)[0][0]).sum().backward()

    assert len(run.history.readings) == 2
    assert len({str(each.state_dict()) for each in copies[:2]}) == 1
