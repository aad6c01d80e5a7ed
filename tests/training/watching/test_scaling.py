"""Steps that a gradient scaler leaves out."""

import math

import pytest
import torch
from torch import Tensor, nn

import isometry as iso
from isometry.probes.running.readings import Reading
from isometry.training.watching.scaling import ScalerEar
from tests.training.watching.trainings import Kept, batches

MAKES = {
    "plain": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "unscales itself": lambda model: torch.optim.Adam(model.parameters(), lr=0.01, fused=True),
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
@pytest.mark.parametrize("is_early", [False, True])  # run.step stands before scaler.update
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_bad_batch_that_the_scaler_left_out_leaves_no_trace(make, is_early: bool, micro_batches: int) -> None:  # noqa: ANN001
    model = nn.Linear(8, 4)
    optimizer, scaler, sink = make(model), torch.amp.GradScaler("cpu", init_scale=1024.0), Kept()
    kept: list[list[float]] = [[]]

    with iso.watch(model, optimizer, every=1, to=[sink], scaler=scaler, on_nan="rollback") as run:
        for number, (inputs, targets) in enumerate(batches(6 * micro_batches)):
            group, place = divmod(number, micro_batches)
            if (group, place) == (3, 0):
                inputs[0, 0] = math.nan
            loss = nn.functional.cross_entropy(model(inputs), targets)
            scaler.scale(loss / micro_batches).backward()
            kept[-1].append(loss.item())
            is_last = place == micro_batches - 1
            if is_last:
                scaler.step(optimizer)
                optimizer.zero_grad()
                kept.append([])
            if is_last and not is_early:
                scaler.update()
            run.step(loss)
            if is_last and is_early:
                scaler.update()
    readings = [each for each in sink.entries if isinstance(each, Reading)]
    means = [sum(each) / len(each) for each in kept[:3] + kept[4:6]]

    assert run.facts().faults == ()
    assert run.steps == 5
    assert [each.losses[0] for each in readings] == pytest.approx(means, rel=1e-6)
    assert all(each.gradient_norm is not None and math.isfinite(each.gradient_norm) for each in readings)
    assert all(math.isfinite(each.layers[0].activation_rms or math.nan) for each in readings)


def test_a_fault_after_a_step_that_was_left_out_is_found_in_its_own_batch() -> None:
    model = nn.Linear(8, 4)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step(inputs: Tensor, targets: Tensor, *, factor: float) -> None:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        run.step(loss + math.log(factor) if factor else loss * math.inf)

    with iso.watch(model, optimizer, to=[Kept()], scaler=scaler, on_nan="skip") as run:
        for number, (inputs, targets) in enumerate(batches(3)):
            if number == 1:
                inputs[0, 0] = math.nan
            step(inputs, targets, factor=float(number < 2))

    assert [(each.step, each.during) for each in run.facts().faults] == [(2, "loss")]


def test_a_scaler_that_keeps_no_marks_or_none_at_all_is_never_heard() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    heard: list[bool] = []
    for scaler in (None, object(), torch.amp.GradScaler("cpu", enabled=False)):
        ear = ScalerEar(scaler, optimizer)
        ear.begin()
        heard.append(ear.has_left_out())

    assert not any(heard)
