import contextlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import isometry as iso
from isometry._errors import NonFiniteError
from isometry.probes.running.readings import Fault
from tests.training.watching.trainings import Kept


class Logarithm(nn.Module):
    """The logarithm of what may be zero."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.relu().log()


class Distance(nn.Module):
    """A square root whose slope is infinite at zero; its value there is not."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - inputs.detach()).square().sum(1, keepdim=True).sqrt()


class Half(nn.Module):
    """What float16 cannot hold."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.exp()


def fault_of(
    model: nn.Module,
    inputs: Tensor,
    loss_of: Callable[[Tensor], Tensor] = lambda outputs: outputs.square().mean(),
    *,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    autocast: bool = False,
) -> Fault:
    """Watch one or more steps until the first fault."""
    made = optimizer(model.parameters(), lr=0.1)
    with contextlib.suppress(NonFiniteError), iso.watch(model, made, to=[Kept()]) as run:
        for _ in range(3):
            made.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                outputs = model(inputs)
            loss = loss_of(outputs)
            loss.backward()
            made.step()
            run.step(loss)
    return run.facts().faults[0]


def zero_weights(model: nn.Sequential) -> nn.Sequential:
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    return model


def test_an_operation_in_the_forward_pass_is_named_with_its_module() -> None:
    fault = fault_of(zero_weights(nn.Sequential(nn.Linear(3, 2), Logarithm(), nn.Linear(2, 1))), torch.ones(4, 3))

    assert (fault.during, fault.operation, fault.where) == ("forward", "log", "1")


def test_what_overflows_under_autocast_is_found_under_autocast() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), Half())
    nn.init.constant_(model[0].weight, 100.0)

    fault = fault_of(model, torch.ones(2, 1), torch.mean, autocast=True)

    assert (fault.during, fault.operation, fault.where) == ("forward", "exp", "1")


@pytest.mark.parametrize("weight", [1.0, -1.0])  # a ReLU makes 0 of what is infinite and negative
def test_data_that_are_not_finite_are_the_input(weight: float) -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU())
    nn.init.constant_(model[0].weight, weight)

    fault = fault_of(model, torch.tensor([[1.0, math.inf, 1.0]]))

    assert (fault.during, fault.operation, fault.where, fault.reason) == ("forward", "input", "", "")


def test_an_operation_whose_derivative_breaks_is_named() -> None:
    fault = fault_of(nn.Sequential(nn.Linear(3, 2), Distance()), torch.ones(4, 3), torch.sum)

    assert (fault.during, fault.operation, fault.where) == ("backward", "sqrt", "1")


def test_a_function_of_the_loss_is_named_if_the_model_is_well() -> None:
    model = zero_weights(nn.Sequential(nn.Linear(3, 2)))

    fault = fault_of(model, torch.ones(4, 3), lambda outputs: outputs.log().mean())

    assert (fault.during, fault.operation, fault.where) == ("loss", "log", "")


def test_targets_that_are_not_finite_show_in_the_loss() -> None:
    target = torch.full((4, 2), math.nan)

    fault = fault_of(nn.Linear(3, 2), torch.ones(4, 3), lambda outputs: nn.functional.mse_loss(outputs, target))

    assert (fault.during, fault.operation) == ("loss", "mse_loss")


def test_a_derivative_of_the_loss_alone_leaves_the_nearest_parameter_and_a_reason() -> None:
    fault = fault_of(
        zero_weights(nn.Sequential(nn.Linear(3, 2), nn.Identity())),
        torch.ones(4, 3),
        lambda outputs: outputs.square().sum(1).sqrt().mean(),
    )

    assert (fault.during, fault.operation, fault.where) == ("backward", "", "0.bias")
    assert fault.reason.startswith("run again, the model and its gradients are finite")


def test_numbers_that_the_optimiser_made_are_the_updates() -> None:
    def without_eps(parameters: object, lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr, eps=0.0)

    fault = fault_of(nn.Linear(3, 2), torch.zeros(4, 3), optimizer=without_eps)

    assert (fault.step, fault.during, fault.operation, fault.where) == (2, "update", "Adam", "weight")


def test_a_model_that_returns_its_loss_is_searched_to_the_loss() -> None:
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            logits = self.head(inputs) * 0
            return {"logits": logits, "loss": (logits / logits).mean()}

    model = WithLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        loss = model(inputs=torch.ones(2, 3))["loss"]
        loss.backward()
        optimizer.step()
        run.step(loss)

    assert [(each.during, each.operation) for each in run.facts().faults] == [("forward", "div")]


def test_the_bad_one_of_several_micro_batches_is_found() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        for number in range(4):
            inputs = torch.ones(2, 3)
            inputs[0, 0] = math.nan if number == 1 else 0.0
            loss = model(inputs).square().mean()
            loss.backward()
            if number == 3:
                optimizer.step()
            run.step(loss)

    assert [(each.step, each.operation) for each in run.facts().faults] == [(1, "input")]


def test_the_search_leaves_the_model_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    state = [each.tolist() for each in model.state_dict().values()]
    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        loss = model(torch.full((2, 3), math.nan)).mean()
        loss.backward()
        optimizer.step()
        random_state = torch.get_rng_state()
        run.step(loss)

    assert [each.tolist() for each in model.state_dict().values()] == state
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(each.grad is None for each in model.parameters())
    assert not optimizer.state


def test_a_model_that_is_called_by_its_parts_leaves_a_reason_and_blames_no_loss_function() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with iso.watch(model, optimizer, to=[Kept()], on_nan="skip") as run:
        outputs = model[1](model[0](torch.full((2, 3), math.nan)).relu())
        loss = nn.functional.cross_entropy(outputs, torch.zeros(2, dtype=torch.int64))
        loss.backward()
        optimizer.step()
        run.step(loss)
    fault = run.facts().faults[0]

    assert (fault.during, fault.operation) == ("loss", "")
    assert fault.reason.startswith("the forward pass was not seen")
