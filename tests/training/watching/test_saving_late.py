"""Numbers that are not finite and are seen late: at the next recorded step, at a snapshot, at the end."""

import math

import pytest
import torch
from torch import nn

import isometry as iso
from isometry._errors import RunError
from isometry.training.watching.run import Run
from tests.training.watching.trainings import Kept, batches, network, train, weights


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def as_on_an_accelerator(run: Run) -> Run:
    """Losses are looked at in recorded steps alone, as where looking means waiting for the device."""
    run._device = torch.device("meta")
    return run


def losses_with(model: nn.Module, optimizer: torch.optim.Optimizer, run: Run, *, bad: dict[int, float]) -> None:
    """Train; a constant that is added to the loss leaves the gradients alone."""
    for step, (inputs, targets) in enumerate(batches(30), 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets) + bad.get(step, 0.0)
        loss.backward()
        optimizer.step()
        run.step(loss)


def test_a_bad_loss_is_told_at_its_own_step_and_no_snapshot_after_it_is_gone_back_to() -> None:
    model = network()
    optimizer = adam(model)

    run = as_on_an_accelerator(iso.watch(model, optimizer, to=[Kept()], on_nan="rollback", snapshot_every=3))
    with run:
        losses_with(model, optimizer, run, bad={11: math.inf})

    assert [(each.step, each.during, each.where, each.restored) for each in run.facts().faults] == [(11, "loss", "", 9)]
    assert run.facts().faults[0].reason.startswith("it was seen at the next recorded step")


def test_a_bad_loss_is_told_once_and_the_next_one_too() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip", max_faults=1) as run:
        losses_with(model, optimizer, run, bad={3: math.inf, 12: math.inf})

    assert [each.step for each in run.facts().faults] == [3, 12]


def test_a_bad_loss_early_in_a_reading_is_seen_though_one_was_settled_in_the_reading_before() -> None:
    model = network()
    optimizer = adam(model)

    run = as_on_an_accelerator(iso.watch(model, optimizer, to=[Kept()], on_nan="skip"))
    with run:
        losses_with(model, optimizer, run, bad={10: math.inf, 13: math.inf})

    assert [each.step for each in run.facts().faults] == [10, 13]


def test_weights_that_an_update_broke_are_no_snapshot() -> None:
    model = network()
    optimizer = adam(model)

    def spike(step: int) -> None:
        optimizer.param_groups[0]["lr"] = math.inf if step == 3 else 0.01

    with iso.watch(model, optimizer, to=[Kept()], on_nan="rollback", snapshot_every=4) as run:
        train(run, model, optimizer, steps=6, after=spike)

    assert [(each.step, each.during, each.restored) for each in run.facts().faults] == [(5, "update", 0)]


def test_buffers_that_begin_to_move_later_go_back_too() -> None:
    model = network()
    optimizer = adam(model)
    model[1].eval()
    seen: dict[int, list[list[float]]] = {}

    def note(step: int) -> None:
        seen[step] = weights(model[1])
        model[1].train()

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip", snapshot_every=2) as run:
        train(run, model, optimizer, steps=6, bad=(6,), after=note)

    assert len(run.facts().faults) == 1
    assert seen[6] == seen[5]
    assert seen[5] != seen[1]


@pytest.mark.parametrize(("on_nan", "state"), [("stop", "failed"), ("skip", "failed"), ("rollback", "finished")])
def test_weights_that_the_last_update_broke_are_told_at_the_end(on_nan: str, state: str) -> None:
    model = network()
    optimizer = adam(model)

    def spike(step: int) -> None:
        optimizer.param_groups[0]["lr"] = math.inf if step == 5 else 0.01

    with iso.watch(model, optimizer, to=[Kept()], on_nan=on_nan, snapshot_every=4) as run:
        train(run, model, optimizer, steps=6, after=spike)
    facts = run.facts()

    assert [(each.step, each.during, each.operation) for each in facts.faults] == [(6, "update", "Adam")]
    assert facts.state == state
    assert ("made the first number that is not finite" in facts.reason) == (state == "failed")
    assert all(each.isfinite().all() for each in model.parameters()) == (on_nan == "rollback")


@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("is_before_backward", [False, True])
def test_a_call_before_the_optimisers_step_is_refused_at_the_first_one(
    micro_batches: int, is_before_backward: bool
) -> None:
    model = network()
    optimizer = adam(model)
    before = weights(nn.ModuleList([model[0], model[4]]))

    def loop() -> None:
        for number, (inputs, targets) in enumerate(batches(6), 1):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            if is_before_backward:
                run.step(loss)
            loss.backward()
            if not is_before_backward:
                run.step(loss)
            if number % micro_batches == 0:
                optimizer.step()

    run = iso.watch(model, optimizer)
    with pytest.raises(RunError, match="called before the optimiser's step"), run:
        loop()

    assert weights(nn.ModuleList([model[0], model[4]])) == before


def test_a_fault_is_judged_at_once() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        train(run, model, optimizer, steps=8, bad=(7,))

    assert [(each.step, each.finding.code) for each in run.facts().events] == [(7, "NUM101")]
