"""What a watched run does where numbers are not finite."""

import contextlib
import math
import re

import pytest
import torch
from torch import Tensor, nn

import isometry as iso
from isometry._errors import NonFiniteError
from isometry.probes.running.readings import Fault, Reading
from tests.training.watching.trainings import Kept, batches, network, train, weights


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def test_stop_leaves_the_weights_before_the_bad_step_and_says_where_it_came_from() -> None:
    model = network()
    optimizer = adam(model)
    seen: dict[int, list[list[float]]] = {}

    with (
        pytest.raises(NonFiniteError, match=r"step 7: the data given to the model hold .* after step 6\.") as caught,
        iso.watch(model, optimizer, to=[Kept()]) as run,
    ):
        train(run, model, optimizer, steps=9, bad=(7,), after=lambda step: seen.update({step: weights(model)}))

    assert weights(model) == seen[6]
    assert (caught.value.step, caught.value.operation) == (7, "input")
    assert isinstance(caught.value, ArithmeticError)
    assert run.facts().state == "failed"
    assert run.facts().reason.startswith("NonFiniteError: step 7: ")


def test_skip_makes_the_training_without_the_bad_batches() -> None:
    results: list[list[list[float]]] = []
    for bad in ((), (3, 6)):
        torch.manual_seed(0)
        model = network()
        model[3] = nn.Identity()  # dropout draws once more for a batch that is left out
        optimizer = adam(model)
        sink = Kept()
        with iso.watch(model, optimizer, every=2, to=[sink], on_nan="skip") as run:
            for step, (inputs, targets) in enumerate(batches(8), 1):
                if step in {3, 6}:
                    if not bad:
                        continue
                    inputs[0, 0] = math.nan
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
                run.step(loss)
        results.append(weights(model))
    faults = [each for each in sink.entries if isinstance(each, Fault)]

    assert results[0] == results[1]
    assert [(each.step, each.action, each.operation) for each in faults] == [(3, "skip", "input"), (6, "skip", "input")]


def test_rollback_takes_weights_buffers_moments_and_random_numbers_back_to_the_snapshot() -> None:
    model = network()
    optimizer = adam(model)
    seen: dict[int, object] = {}

    def note(step: int) -> None:
        moments = {key: float(held["exp_avg"].sum()) for key, held in enumerate(optimizer.state.values())}
        seen[step] = (weights(model), moments, torch.get_rng_state().tolist())

    with iso.watch(model, optimizer, to=[Kept()], on_nan="rollback", snapshot_every=4) as run:
        train(run, model, optimizer, steps=12, bad=(7,), after=note)
    fault = run.facts().faults[0]

    assert (fault.step, fault.action, fault.restored) == (7, "rollback", 4)
    assert seen[7] == seen[4]
    assert run.facts().snapshots == (0, 4, 11)
    assert run.facts().state == "finished"


def test_rollback_before_the_first_snapshot_goes_back_to_the_start() -> None:
    model = network()
    optimizer = adam(model)
    start = weights(model)
    seen: dict[int, object] = {}

    with iso.watch(model, optimizer, to=[Kept()], on_nan="rollback") as run:
        train(run, model, optimizer, steps=3, bad=(1,), after=lambda step: seen.update({step: weights(model)}))

    assert seen[1] == start
    assert run.facts().faults[0].restored == 0


@pytest.mark.parametrize(
    ("on_nan", "words"),
    [("skip", "number 3 in a row, and more than max_faults=2"), ("rollback", "same snapshot max_faults=2 times")],
)
def test_a_training_that_is_beyond_saving_stops(on_nan: str, words: str) -> None:
    model = network()
    optimizer = adam(model)

    with (
        pytest.raises(NonFiniteError, match=words),
        iso.watch(model, optimizer, to=[Kept()], on_nan=on_nan, max_faults=2) as run,
    ):
        train(run, model, optimizer, steps=9, bad=(4, 5, 6, 7))

    assert [each.action for each in run.facts().faults] == [on_nan, on_nan, "stop"]


def test_single_bad_steps_however_many_are_skipped() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip", max_faults=1) as run:
        train(run, model, optimizer, steps=12, bad=(2, 4, 6, 8, 10))

    assert len(run.facts().faults) == 5


def test_a_loss_that_is_infinite_with_finite_gradients_is_a_fault_too() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with contextlib.suppress(NonFiniteError), iso.watch(model, optimizer, to=[Kept()]) as run:
        loss = (model(torch.ones(1, 3)).sum() + torch.tensor(0.0).log()).mean()
        loss.backward()
        optimizer.step()
        run.step(loss)

    assert re.search(r"step 1: .*The gradients were finite, and the update was made", run.facts().reason)

    assert run.facts().faults[0].during == "loss"


def test_a_user_who_skips_the_step_himself_is_told_at_the_next_reading() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, every=1, to=[Kept()], on_nan="skip") as run:
        for step, (inputs, targets) in enumerate(batches(4), 1):
            if step == 2:
                inputs[0, 0] = math.nan
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            if loss.isfinite():
                loss.backward()
                optimizer.step()
            run.step(loss)

    assert [(each.step, each.operation) for each in run.facts().faults] == [(2, "input")]
    assert run.steps == 3


@pytest.mark.parametrize("every", [1, 10])
def test_lbfgs_steps_by_its_closure_and_a_bad_one_leaves_no_trace(every: int) -> None:
    model = nn.Linear(8, 4)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    calls = [0]

    with iso.watch(model, optimizer, every=every, to=[Kept()], on_nan="skip") as run:
        for step, (inputs, targets) in enumerate(batches(4), 1):
            calls[0] = 0
            before = weights(model), str(optimizer.state_dict())

            def closure(inputs: Tensor = inputs, targets: Tensor = targets, step: int = step) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                calls[0] += 1
                if step == 3 and calls[0] == 3:
                    loss *= math.nan
                loss.backward()
                return loss

            loss = optimizer.step(closure)
            run.step(loss)
            has_changed = (weights(model), str(optimizer.state_dict())) != before

            assert has_changed == (step != 3)
    assert [each.step for each in run.facts().faults] == [3]


def test_a_closure_that_is_called_once_is_as_good_as_a_plain_step() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        for step, (inputs, targets) in enumerate(batches(5), 1):
            if step == 4:
                inputs[0, 0] = math.nan

            def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                return loss

            loss = optimizer.step(closure)
            assert loss is not None
            run.step(loss)

    assert [(each.step, each.operation) for each in run.facts().faults] == [(4, "input")]
    assert all(each.isfinite().all() for each in model.state_dict().values())


def test_a_scaler_that_leaves_a_step_out_is_no_fault() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-10)
    sink = Kept()

    with iso.watch(model, optimizer, every=1, to=[sink], scaler=scaler) as run:
        for _ in range(30):
            optimizer.zero_grad()
            loss = model(torch.full((2, 4), 100.0)).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            run.step(loss)
    scales = [each.loss_scale for each in sink.entries if isinstance(each, Reading)]

    assert run.facts().faults == ()
    assert 0 < run.steps < 30
    assert scales[0] == scaler.get_scale()


def test_bad_steps_that_nobody_asks_for_raise_at_the_next_one() -> None:
    model = network()
    optimizer = adam(model)

    with pytest.raises(NonFiniteError, match="step 2"), iso.watch(model, optimizer, to=[Kept()]):
        train(None, model, optimizer, steps=4, bad=(2,))


def test_parameters_that_are_added_later_are_watched_too() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    model[1].requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        train(run, model, optimizer, steps=1)
        model[1].requires_grad_(requires_grad=True)
        optimizer.add_param_group({"params": list(model[1].parameters())})
        model[1].weight.register_hook(lambda gradient: gradient * math.nan)
        train(run, model, optimizer, steps=1)

    assert [(each.step, each.where) for each in run.facts().faults] == [(2, "1.weight")]
    assert model[1].weight.isfinite().all()
