from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import isometry as iso
from isometry._errors import BuilderError, DomainError, PlanError
from isometry.anatomy.task import make_task
from isometry.training.optim.groups import param_groups
from isometry.training.optim.lamb import LAMB
from tests.anatomy.architectures import ARCHITECTURES
from tests.findings.networks import LowRank


def sorted_names(model: nn.Module, **options: Any) -> dict[str, list[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["name"]: [names[id(each)] for each in group["params"]] for group in param_groups(model, **options)}


def small() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1))


@pytest.mark.parametrize("inputs", [None, torch.tensor([[1, 2, 3]])], ids=["by structure", "by a forward pass"])
def test_matrices_decay_and_gains_biases_and_tables_do_not(inputs: Tensor | None) -> None:
    assert sorted_names(small(), inputs=inputs) == {
        "tables": ["0.weight"],
        "weights": ["1.weight", "3.weight"],
        "gains and biases": ["1.bias", "2.weight", "2.bias", "3.bias"],
    }


def test_groups_carry_their_decay_and_whether_a_trust_ratio_makes_sense() -> None:
    groups = {group["name"]: group for group in param_groups(small(), 0.3)}

    assert {name: (group["weight_decay"], group["is_adapted"]) for name, group in groups.items()} == {
        "tables": (0.0, True),
        "weights": (0.3, True),
        "gains and biases": (0.0, False),
    }


def test_tables_decay_when_it_is_asked_for() -> None:
    groups = param_groups(small(), 0.3, decay_embeddings=True)

    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "tables": 0.3,
        "weights": 0.3,
        "gains and biases": 0.0,
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda groups: torch.optim.AdamW(groups, lr=1e-3),
        lambda groups: torch.optim.AdamW(groups, lr=1e-3, fused=True),
        lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, foreach=True),
        lambda groups: torch.optim.Adafactor(groups, lr=1e-2),
        lambda groups: torch.optim.RMSprop(groups, lr=1e-3),
        lambda groups: LAMB(groups, 0.01),
    ],
    ids=["adamw", "fused adamw", "sgd", "adafactor", "rmsprop", "lamb"],
)
def test_any_optimiser_takes_them_and_saves_its_state(
    make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
) -> None:
    model = small()
    optimizer = make(param_groups(model))
    model(torch.tensor([[1, 2]])).sum().backward()

    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())

    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.1, 0.0]


def test_a_training_leaves_gains_where_gradients_put_them_while_weights_shrink() -> None:
    model = small()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    optimizer = torch.optim.AdamW(param_groups(model, 0.5), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    optimizer.step()

    for name, parameter in model.named_parameters():
        shrunk = name in {"1.weight", "3.weight"}
        torch.testing.assert_close(parameter.detach(), before[name] * (0.95 if shrunk else 1.0))


def test_frozen_parameters_are_left_out_and_tied_ones_come_once() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
    model[2].weight = model[0].weight
    model[1].weight.requires_grad_(requires_grad=False)

    assert sorted_names(model) == {"tables": ["0.weight"], "gains and biases": ["1.bias"]}


def test_the_values_of_the_weights_play_no_part() -> None:
    model = nn.Sequential(LowRank(16, 12), nn.ReLU(), nn.Linear(12, 3))
    batch = torch.randn(4, 16)
    fresh, blind = sorted_names(model, inputs=batch), sorted_names(model)
    for parameter in model.parameters():
        nn.init.normal_(parameter)

    assert sorted_names(model, inputs=batch) == fresh
    assert sorted_names(model) == blind
    assert fresh["weights"] == ["0.down", "0.up", "2.weight"]


def test_groups_are_the_same_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = ARCHITECTURES["gpt2"].make().train()
    batch = {key: value.to("meta") for key, value in ARCHITECTURES["gpt2"].batch().items()}
    real = ARCHITECTURES["gpt2"].make().train()

    assert sorted_names(model, inputs=batch) == sorted_names(real, inputs=ARCHITECTURES["gpt2"].batch())


def test_a_model_with_a_batch_is_the_same_as_its_task() -> None:
    model = ARCHITECTURES["mamba"].make()
    batch = ARCHITECTURES["mamba"].batch()
    by_task = [[id(each) for each in group["params"]] for group in param_groups(make_task(model, batch))]

    assert [[id(each) for each in group["params"]] for group in param_groups(model, inputs=batch)] == by_task


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        pytest.param({"1.weight": 0.0}, {"weights, decay 0": ["1.weight"], "weights": ["3.weight"]}, id="a name"),
        pytest.param({"*.weight": 0.02, "2.weight": 0.0}, {"weights, decay 0.02": ["1.weight", "3.weight"]}, id="most"),
        pytest.param({"role:embedding": 0.01}, {"tables, decay 0.01": ["0.weight"]}, id="a role"),
    ],
)
def test_overrides_go_before_roles(overrides: Mapping[str, float], expected: dict[str, list[str]]) -> None:
    found = sorted_names(small(), overrides=overrides)

    assert {name: found[name] for name in expected} == expected


def test_an_override_that_matches_nothing_is_refused_with_a_near_name() -> None:
    with pytest.raises(PlanError, match=r"the parameter '1.wieght' matches none of the 7 parameters.*1\.weight"):
        param_groups(small(), overrides={"1.wieght": 0.0})


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": -0.1},
        {"weight_decay": None},
        {"weight_decay": "0.1"},
        {"weight_decay": float("inf")},
        {"overrides": {"1.weight": float("nan")}},
    ],
    ids=str,
)
def test_a_decay_that_is_no_number_from_zero_on_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=r"a weight decay of .* was given; give a number from 0 on"):
        param_groups(small(), **options)


def test_parameters_in_the_place_of_the_model_are_refused() -> None:
    with pytest.raises(
        BuilderError, match=r"class generator was given, and a module is needed.* Give the model itself"
    ):
        param_groups(small().parameters())


def test_it_is_public() -> None:
    assert iso.param_groups is param_groups
