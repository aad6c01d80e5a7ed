"""Runs whose optimiser makes no step, or seldom one."""

import pytest
import torch
from torch import nn

import isometry as iso
from isometry.probes.running.readings import Reading
from isometry.training.watching.current import MAX_PARTS
from tests.training.watching.trainings import Kept, network


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def test_a_scaler_that_skips_every_step_is_told_of_and_costs_no_memory() -> None:
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    sink = Kept()

    run = iso.watch(model, optimizer, to=[sink], scaler=scaler)

    def train() -> None:
        for _ in range(200):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 8)).sum() * float("inf")
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            run.step(loss)
            assert len(run._open.parts) <= MAX_PARTS

    with pytest.warns(UserWarning, match=r"called 200 times, but the optimiser made no step"), run:
        train()
    facts = run.facts()

    assert scaler.get_scale() == 0
    assert [(each.finding.code, each.finding.severity) for each in facts.events] == [("NUM103", "error")]
    assert facts.readings == ()
    assert [each for each in sink.entries if isinstance(each, Reading)] == []


def test_an_optimiser_that_is_never_asked_is_told_of() -> None:
    model = network()
    run = iso.watch(model, adam(model), to=[Kept()])

    def hear() -> None:
        for _ in range(100):
            run.step(model(torch.ones(2, 8)).sum())
            assert len(run._open.parts) <= MAX_PARTS

    with pytest.warns(UserWarning, match=r"called 100 times, but the optimiser made no step"), run:
        hear()

    assert run.facts().events == ()


def test_the_loss_of_very_many_micro_batches_is_their_mean() -> None:
    model = network()
    optimizer = adam(model)

    with iso.watch(model, optimizer, every=1, to=[Kept()]) as run:
        for number in range(1, 200):
            run.step(float(number))
        model(torch.ones(2, 8)).sum().backward()
        optimizer.step()
        run.step(200.0)

    assert run.history.losses == [(1, pytest.approx(100.5))]
