"""A defect of what only looks on does not end the training that it looks at."""

import pytest
import torch
from torch import nn

import isometry as iso
from isometry.probes.running import sight
from isometry.probes.running.layers import LayerNumbers
from isometry.probes.running.meter import Meter
from isometry.probes.running.opening import Opening
from isometry.probes.running.readings import Reading
from isometry.training.watching import origin
from isometry.training.watching.snapshot import RandomState
from tests.training.watching.trainings import Kept, network, train, weights

DEFECTS = {
    "opening": (Meter, "open"),
    "before the update": (Meter, "before_update"),
    "after the update": (Meter, "after_update"),
    "closing": (Meter, "close"),
    "the layers": (LayerNumbers, "send"),
    "a hook before the forward pass": (Opening, "_enter"),
    "a hook after it": (Opening, "_leave"),
}


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def broken(*_: object, **__: object) -> None:
    raise ValueError("a defect")


def expected_weights(steps: int) -> list[list[float]]:
    torch.manual_seed(3)
    model = network()
    train(None, model, adam(model), steps=steps)
    return weights(model)


@pytest.mark.parametrize("place", DEFECTS)
def test_a_defect_of_the_meter_is_told_once_and_losses_and_faults_are_watched(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = expected_weights(12)
    torch.manual_seed(3)
    model, sink = network(), Kept()
    optimizer = adam(model)
    seen: dict[int, list[list[float]]] = {}
    monkeypatch.setattr(*DEFECTS[place], broken)

    with (
        pytest.warns(UserWarning, match="measuring is given up: ValueError: a defect") as told,
        iso.watch(model, optimizer, every=5, to=[sink], on_nan="skip") as run,
    ):
        train(run, model, optimizer, steps=13, bad=(13,), after=lambda step: seen.update({step: weights(model)}))
    readings = [each for each in sink.entries if isinstance(each, Reading)]

    assert seen[12] == expected
    assert len(told) == 1
    assert [len(each.losses) for each in readings] == [1, 4, 5, 3]
    assert [(each.step, each.operation) for each in run.facts().faults] == [(13, "input")]
    assert not model._forward_hooks
    assert not any(torch.overrides._get_current_function_mode_stack())


def test_a_defect_of_a_look_inside_of_the_forward_pass_is_kept_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sink = network(), Kept()
    optimizer = adam(model)
    monkeypatch.setitem(sight._LOOKS, "linear", broken)

    with (
        pytest.warns(UserWarning, match="measuring is given up: ValueError: a defect"),
        iso.watch(model, optimizer, every=5, to=[sink]) as run,
    ):
        train(run, model, optimizer, steps=6)

    assert run.facts().state == "finished"
    assert [each.step for each in sink.entries if isinstance(each, Reading)] == [1, 5, 6]


def test_an_error_of_the_model_itself_goes_through() -> None:
    class Breaks(nn.Linear):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise KeyError("mine")

    model = nn.Sequential(Breaks(2, 2))

    with pytest.raises(KeyError, match="mine"), iso.watch(model, adam(model), to=[Kept()]):
        model(torch.ones(1, 2))


def test_a_search_for_the_cause_that_fails_is_the_reason_of_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = adam(model)
    monkeypatch.setattr(origin, "origin_in", broken)

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        train(run, model, optimizer, steps=4, bad=(3,))

    assert [(each.step, each.during, each.where) for each in run.facts().faults] == [(3, "backward", "4.bias")]
    assert run.facts().faults[0].reason.startswith("the search for it failed: ValueError: a defect")


def test_a_snapshot_without_room_leaves_the_one_before_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = adam(model)
    seen: dict[int, object] = {}

    def note(step: int) -> None:
        seen[step] = (weights(model), str(optimizer.state_dict()))
        if step == 4:
            monkeypatch.setattr(RandomState, "now", no_room)

    def no_room(_: nn.Module) -> RandomState:
        raise torch.OutOfMemoryError("no room")

    with (
        pytest.warns(UserWarning, match=r"after step 6 could not be kept .*: no room .* goes to step 3 ") as told,
        iso.watch(model, optimizer, to=[Kept()], on_nan="rollback", snapshot_every=3) as run,
    ):
        train(run, model, optimizer, steps=11, bad=(11,), after=note)

    assert len(told) == 1
    assert seen[11] == seen[3]
    assert [(each.step, each.restored) for each in run.facts().faults] == [(11, 3)]


def test_a_first_snapshot_without_room_is_said_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = adam(model)
    monkeypatch.setattr(RandomState, "now", broken)

    with pytest.raises(ValueError, match="a defect"):
        iso.watch(model, optimizer, to=[Kept()], on_nan="rollback").__enter__()
    assert not optimizer._optimizer_step_pre_hooks
