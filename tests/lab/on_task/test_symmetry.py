from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from isometry._errors import NotApplicableError
from isometry.anatomy.task import Task, make_task
from tests.lab.on_task.tasks import claims, cnn, digits, measure, mlp, refuted, single_batch, vit


def constant() -> Task:
    task = mlp()
    for parameter in task.model.parameters():
        nn.init.constant_(parameter, 0.02)
    return task


def measured(*, own: int = 8, constant: int = 1, dropout: int | None = None) -> list[dict[str, Any]]:
    """Return so many distinct units of eight."""
    counts = {"own": own, "constant": constant} | ({} if dropout is None else {"dropout": dropout})
    return [{name: {"0": {"num_units": 8, "distinct": [count] * 6}} for name, count in counts.items()}]


def test_units_drawn_at_random_differ_and_those_of_one_constant_stay_one() -> None:
    for task in (mlp(), single_batch()):
        (found,) = measure("symmetry", task, num_steps=4)

        assert {tuple(layer["distinct"]) for layer in found["own"].values()} == {(32, 32, 32, 32)}
        assert {tuple(layer["distinct"]) for layer in found["constant"].values()} == {(1, 1, 1, 1)}
        assert "dropout" not in found


def test_dropout_parts_the_channels_before_it_and_no_others() -> None:
    found = measure("symmetry", cnn(), num_steps=4)

    assert [layer["distinct"][0] for layer in found[0]["dropout"].values()] == [1, 1]
    assert [layer["distinct"][-1] for layer in found[0]["dropout"].values()] == [1, 16]
    assert refuted("symmetry", found) == []


def test_a_transformer_holds() -> None:
    assert refuted("symmetry", measure("symmetry", vit(), num_steps=2)) == []


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.body, self.head = kind(8, 6, 2, batch_first=True), nn.Linear(6, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_gates_are_no_units(kind: type[nn.LSTM | nn.GRU]) -> None:
    images, labels = digits()
    task = make_task(Recurrent(kind), images[:64].view(-1, 8, 8), labels[:64], loss=functional.cross_entropy)
    (found,) = measure("symmetry", task, num_steps=4)

    assert {layer["num_units"] for layer in found["own"].values()} == {6}
    assert refuted("symmetry", [found]) == []


def noisy(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the loss of a step that draws noise for its inputs."""
    return functional.cross_entropy(model(batch.inputs + torch.randn_like(batch.inputs)), batch.targets)


def test_noise_that_a_step_draws_is_no_dropout() -> None:
    (found,) = measure("symmetry", replace(mlp(), step=noisy), num_steps=4)

    assert "dropout" not in found


def test_a_network_that_was_built_from_one_constant_is_told() -> None:
    (told,) = refuted("symmetry", measure("symmetry", constant(), num_steps=4))

    assert "its own start" in told


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(measured(own=7), "its own start", id="two are one"),
        pytest.param(measured(constant=2), "one constant", id="gradient descent parts them"),
        pytest.param(measured(dropout=1), "dropout", id="dropout does not"),
    ],
)
def test_a_claim_that_the_numbers_refute_is_not_held(found: list[dict[str, Any]], word: str) -> None:
    (told,) = refuted("symmetry", found)

    assert word in told


def test_without_dropout_there_is_no_claim_on_it() -> None:
    assert len(claims("symmetry", measured())) == 2


def test_a_network_without_hidden_layers_is_refused() -> None:
    task = make_task(nn.Linear(4, 2), torch.ones(8, 4))

    with pytest.raises(NotApplicableError, match="no hidden layer"):
        measure("symmetry", task)
