"""A promise kept: whatever a model does in its forward pass, it is as before when the recording is over."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from isometry._errors import ModelError
from isometry.anatomy.preserve import seeded
from isometry.anatomy.record import record, record_step
from isometry.anatomy.task import Task
from tests.anatomy.layers import mean_square, task_of


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything that must not change, as values."""
    drawn = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the state itself
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "ids": {name: id(tensor) for name, tensor in [*model.named_parameters(), *model.named_buffers()]},
        "gradients": {name: parameter.grad for name, parameter in model.named_parameters()},
        "gradient values": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "flags": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: set(vars(module)) for name, module in model.named_modules()},
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        "global hooks": (len(module_hooks._global_forward_hooks), len(module_hooks._global_forward_pre_hooks)),
        "random": (drawn[0].tolist(), drawn[1][1].tolist(), drawn[1][2:], drawn[2]),
        "default": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


def is_same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_same(first[key], second[key]) for key in first)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return bool(first == second)


class Norms(nn.Module):
    """Batch norms, dropout, random numbers from three sources, and counters."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(requires_grad=False)
        self.dropout = nn.Dropout(0.5).eval()
        self.calls = 0
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.cache = x = self.norm(self.linear(x)) + np.random.rand() + random.random()  # noqa: NPY002, S311 - a user's
        self.seen.append(x)
        return F.dropout(self.frozen(x), 0.3) * torch.rand(4)


class Writes(nn.Module):
    """A weight that its own forward pass overwrites."""

    def __init__(self, write: Callable[[nn.Parameter], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.register_buffer("total", torch.zeros(4))
        self._write = write

    def forward(self, x: Tensor) -> Tensor:
        self._write(self.weight)
        self.total.data.add_(1)
        return x @ self.weight


def without_gradients(write: Callable[[nn.Parameter], Any]) -> Callable[[nn.Parameter], Any]:
    def run(weight: nn.Parameter) -> None:
        with torch.no_grad():
            write(weight)

    return run


def swap_memory(weight: nn.Parameter) -> None:
    weight.data = torch.zeros(4, 4)


WRITES: dict[str, Callable[[nn.Parameter], Any]] = {
    "data.mul_": lambda weight: weight.data.mul_(2),
    "a view of data": lambda weight: weight.data.view(-1)[3:].fill_(7),
    "under no_grad": without_gradients(lambda weight: weight.clamp_(-0.1, 0.1)),
    "operator": without_gradients(lambda weight: weight.__imul__(3)),
    "setitem": without_gradients(lambda weight: weight.__setitem__((slice(None), 0), 5.0)),
    "out": without_gradients(lambda weight: torch.mul(weight, 2, out=weight)),
    "foreach": without_gradients(lambda weight: torch._foreach_mul_([weight], 2)),
    "init": nn.init.zeros_,
    "copy_": without_gradients(lambda weight: weight.copy_(torch.ones(4, 4))),
    "other memory": swap_memory,
    "frozen": lambda weight: weight.detach_().requires_grad_(requires_grad=True),
}


@pytest.mark.parametrize("run", [record, record_step])
def test_a_model_and_all_random_states_are_as_before(run: Callable[[Task], Any]) -> None:
    model = Norms()
    model.linear.weight.grad = torch.ones(4, 4)
    before, calls = state_of(model), model.calls
    run(task_of(model, torch.randn(8, 4).detach()))
    before_again = state_of(model)
    before["random"] = before_again["random"] = None

    assert is_same(before, before_again)
    assert (model.calls, model.seen, calls) == (0, [], 0)


@pytest.mark.parametrize("run", [record, record_step])
def test_random_states_are_as_before(run: Callable[[Task], Any]) -> None:
    model, x = Norms(), torch.randn(8, 4)
    before = state_of(model)["random"]
    run(task_of(model, x))

    assert state_of(model)["random"] == before


@pytest.mark.parametrize("run", [record, record_step])
def test_a_model_that_fails_is_as_before(run: Callable[[Task], Any]) -> None:
    model, x = nn.Sequential(Norms(), nn.Linear(5, 1)), torch.randn(8, 4)
    before = state_of(model)
    with pytest.raises(ModelError, match=r"1.*Linear\(in_features=5"):
        run(task_of(model, x))

    assert is_same(state_of(model), before)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_what_the_forward_pass_writes_into_a_weight_is_undone(write: Callable[[nn.Parameter], Any]) -> None:
    model, x = Writes(write), torch.randn(8, 4)
    before = state_of(model)
    record(task_of(model, x))

    assert is_same(state_of(model), before)


def test_rows_that_an_embedding_shortens_are_long_again() -> None:
    model = nn.Embedding(5, 3, max_norm=0.1)
    before = state_of(model)
    record_step(task_of(model, torch.arange(5)))

    assert is_same(state_of(model), before)


@pytest.mark.parametrize(
    "overwrite",
    [
        pytest.param(lambda x: F.relu(x, inplace=True), id="relu"),
        pytest.param(lambda x: x.add_(1), id="add_"),
        pytest.param(lambda x: x[:, 0].zero_(), id="a part"),
    ],
)
def test_a_batch_that_the_model_overwrites_is_as_before(overwrite: Callable[[Tensor], Any]) -> None:
    class Overwrites(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            overwrite(input)
            return super().forward(input)

    x = torch.randn(3, 4)
    before = x.clone()
    record_step(task_of(Overwrites(4, 2), x))

    assert torch.equal(x, before)


def test_parts_that_the_forward_pass_replaces_are_back() -> None:
    class Replaces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("state", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.state = self.layer(x).mean(0).detach()
            out = self.layer(x)
            self.layer = nn.Linear(3, 3)
            self.train(mode=False)
            return out

    model = Replaces()
    before = state_of(model)
    record_step(task_of(model, torch.ones(2, 3)))

    assert is_same(state_of(model), before)


def stepping(model: nn.Module, batch: Tensor) -> Tensor:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loss = mean_square(model, batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def in_parts(model: nn.Module, batch: Tensor) -> Tensor:
    total = torch.zeros(())
    for part in batch.chunk(4):
        loss = mean_square(model, part) / 4
        loss.backward()
        total += loss.detach()
    return total


@pytest.mark.parametrize("step", [stepping, in_parts])
def test_a_step_that_runs_its_own_backward_pass_is_measured_and_moves_nothing(step: Any) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(4, 4), torch.randn(8, 4)
    before = state_of(model)
    measured = record_step(Task(model=model, batch=x, step=step))
    expected = torch.autograd.grad(mean_square(model, x), list(model.parameters()))

    assert is_same(state_of(model), before)
    assert torch.allclose(measured.loss, mean_square(model, x))
    assert all(
        torch.allclose(group[0], each) for group, each in zip(measured.gradients.values(), expected, strict=True)
    )


def test_optimisers_that_run_in_the_backward_pass_do_not_run() -> None:
    model, x = nn.Linear(4, 4), torch.randn(8, 4)
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, each=optimizer: each.step())
    before = state_of(model)
    record_step(Task(model=model, batch=x, step=mean_square))
    record_step(Task(model=model, batch=x, step=in_parts))

    assert is_same(state_of(model), before)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Dropout(0.5)), id="dropout"),
        pytest.param(lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), id="transformer"),
        pytest.param(lambda: nn.LSTM(8, 5, 2, dropout=0.2, batch_first=True), id="lstm"),
        pytest.param(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), id="spectral norm"),
        pytest.param(lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Conv1d(4, 3, 3)), id="convolution"),
    ],
)
def test_outputs_are_equal_in_every_bit_with_and_without_recording(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(3)
    model, x = make(), torch.randn(2, 4, 8)
    seen: list[Tensor] = []

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        outputs = model(batch)
        seen.append((outputs[0] if isinstance(outputs, tuple) else outputs).detach().clone())
        return seen[-1].sum() + (outputs[0] if isinstance(outputs, tuple) else outputs).sum()

    recorded = record_step(Task(model=model, batch=x, step=step), seed=5)
    torch.manual_seed(5)
    loss = step(model, x)
    expected = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    found = [gradient for group in recorded.gradients.values() for gradient in group]

    assert torch.equal(seen[0], seen[1])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True) if one is not None)


def test_gpus_whose_state_was_not_kept_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)

    with seeded(nn.Linear(2, 2), 5):
        first = torch.rand(3)

    assert seeds == []
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(5)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_holds_the_model_is_seeded_and_put_back() -> None:
    before = torch.cuda.get_rng_state()
    drawn: list[Tensor] = []

    for _ in range(2):
        with seeded(nn.Linear(2, 2, device="cuda"), 5):
            drawn.append(torch.rand(3, device="cuda"))

    assert torch.equal(*drawn)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_torch_does_not_warn_of_broadcast_targets_which_a_rule_names() -> None:
    model, inputs = nn.Linear(4, 1), torch.ones(8, 4)
    task = Task(model=model, batch=inputs, step=lambda model, batch: F.mse_loss(model(batch), batch[:, 0]))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        record_step(task)

    assert not [each for each in seen if "target size" in str(each.message)]
