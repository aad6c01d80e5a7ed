"""Watched runs of compiled models; on the backend that compiles nothing, since breaks and guards are what counts."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

import isometry as iso
from isometry.probes.running.readings import Reading
from isometry.training.watching.checkpoint import load_checkpoint
from tests.training.watching.trainings import Kept, batches, network, weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Using `torch.compile"),  # torch's advice on global hooks
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),  # by torch's own compiler
]


def compiled(kind: str, model: nn.Module) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    """What is given to `watch`, and the function from a batch to its loss."""
    torch._dynamo.reset()
    counters.clear()
    called = torch.compile(model, backend="aot_eager", fullgraph=True) if kind == "model" else model

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(called(inputs), targets)

    if kind == "loss":
        return model, torch.compile(loss_of, backend="aot_eager", fullgraph=True)
    return called, loss_of


@pytest.mark.parametrize("kind", ["model", "loss"])
def test_steps_that_are_not_measured_run_compiled_without_a_break_and_none_is_compiled_again(kind: str) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    watched, loss_of = compiled(kind, model)
    sink = Kept()

    with iso.watch(watched, optimizer, every=5, to=[sink], on_nan="skip") as run:
        for step, (inputs, targets) in enumerate(batches(12), 1):
            inputs[0, 0] += math.nan if step == 8 else 0.0
            optimizer.zero_grad()
            loss = loss_of(inputs, targets)
            loss.backward()
            optimizer.step()
            run.step(loss)
    readings = [each for each in sink.entries if isinstance(each, Reading) and each.is_measured]

    assert [each.step for each in readings] == [1, 5, 10]
    assert [layer.name for layer in readings[0].layers] == ["0", "1", "4"]
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert [each.step for each in run.facts().faults] == [8]
    assert all(each.isfinite().all() for each in model.state_dict().values())


def test_a_compiled_model_is_rolled_back_and_its_checkpoint_is_of_the_plain_one(tmp_path: object) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    watched, loss_of = compiled("model", model)
    seen: list[list[list[float]]] = []

    with iso.watch(watched, optimizer, to=[str(tmp_path), Kept()], on_nan="rollback", snapshot_every=3) as run:
        for step, (inputs, targets) in enumerate(batches(6), 1):
            inputs[0, 0] += math.nan if step == 5 else 0.0
            optimizer.zero_grad()
            loss = loss_of(inputs, targets)
            loss.backward()
            optimizer.step()
            run.step(loss)
            seen.append(weights(model))
    twin = network(seed=4)
    step = load_checkpoint(str(tmp_path), model=twin)

    assert seen[4] == seen[2]
    assert step == 3
    assert weights(twin) == seen[2]


def test_a_compiled_step_of_the_optimiser_is_still_tested() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    compiled("none", model)
    step_compiled = torch.compile(optimizer.step, backend="aot_eager")

    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        for step, (inputs, targets) in enumerate(batches(4), 1):
            inputs[0, 0] += math.nan if step == 3 else 0.0
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            step_compiled()
            run.step(loss)

    assert run.steps == 4
    assert [(each.step, each.operation) for each in run.facts().faults] == [(3, "input")]
    assert all(each.isfinite().all() for each in model.state_dict().values())
