import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from isometry._errors import BuilderError
from isometry.report.language import speaking
from isometry.training.optim.decay_audit import DecayRow, audit_decay
from isometry.training.optim.groups import param_groups
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4), nn.LayerNorm(4))


def problems(model: nn.Module, groups: Any) -> dict[str, str]:
    return {row.choice.name: str(row.problem) for row in audit_decay(groups, model).problems}


def test_the_groups_of_param_groups_are_clean() -> None:
    model = small()

    assert audit_decay(torch.optim.AdamW(param_groups(model)), model).is_clean
    assert audit_decay(param_groups(model, decay_embeddings=True), model).is_clean


def test_all_parameters_in_one_group_decay_what_should_not() -> None:
    model = small()

    assert problems(model, torch.optim.AdamW(model.parameters(), weight_decay=0.1)) == dict.fromkeys(
        ("1.bias", "2.weight", "2.bias"), "decays, and should not"
    )


def test_a_training_without_decay_has_no_problem() -> None:
    model = small()

    assert problems(model, torch.optim.AdamW(model.parameters(), weight_decay=0.0)) == {}
    assert problems(model, [{"params": model.parameters()}]) == {}


def test_a_weight_that_is_left_out_beside_others_that_decay_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    groups = [{"params": model[0].weight, "weight_decay": 0.1}, {"params": [model[1].weight], "weight_decay": 0.0}]

    assert problems(model, groups) == {"1.weight": "does not decay, and could"}


def test_parameters_in_no_group_in_two_and_of_another_model_are_told() -> None:
    model, other = small(), small()
    groups = [
        {"params": [("weight", model[1].weight), ("gone", other[1].weight)], "weight_decay": 0.1},
        {"params": [model[1].weight, model[1].bias, model[2].weight, model[2].bias], "weight_decay": 0.0},
    ]
    found = audit_decay(groups, model)

    assert {row.choice.name: str(row.problem) for row in found.problems} == {
        "0.weight": "is in no group: it does not train",
        "1.weight": "is in several groups: it is updated by each",
    }
    assert found.strangers == ((4, 4),)
    assert not found.is_clean
    assert "the groups hold tensors that the model lacks, of the shapes (4, 4)" in str(found)


def test_frozen_parameters_are_not_spoken_of() -> None:
    model = small()
    model[0].weight.requires_grad_(requires_grad=False)

    assert problems(model, param_groups(model)) == {}
    assert problems(model, torch.optim.SGD(model.parameters(), weight_decay=0.0)) == {}


def _half(name: str, optimizer: Any, model: nn.Module) -> DecayRow:
    return next(row for row in audit_decay(optimizer, model).rows if row.choice.name == name)


@pytest.mark.parametrize(
    ("make", "share", "words"),
    [
        (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1), 0.001, "a step takes lr × decay of the weight"),
        (lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.1), 0.001, "a step takes lr × decay of the weight"),
        (lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1), 0.001, "decay is added to the gradient"),
        (
            lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1, momentum=0.9),
            0.01,
            "decay is added to the gradient, which momentum gathers",
        ),
        (
            lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1, momentum=0.9, dampening=0.5),
            0.005,
            "decay is added to the gradient",
        ),
    ],
    ids=["adamw", "adafactor", "sgd", "momentum", "dampening"],
)
def test_the_half_life_is_the_one_that_weights_have_without_gradients(
    make: Callable[[Any], Optimizer], share: float, words: str
) -> None:
    model = small()
    optimizer = make(param_groups(model, 0.1))
    row = _half("1.weight", optimizer, model)
    before = float(model[1].weight.detach().norm())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    for _ in range(round(row.half_life)):
        optimizer.step()

    assert row.share == pytest.approx(share)
    assert row.how.startswith(words)
    after = float(model[1].weight.detach().norm())
    assert after / before == pytest.approx(0.5, rel=0.1)  # momentum gathers for a while first


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: torch.optim.Adam(p, weight_decay=0.1), "divided by its size"),
        (lambda p: torch.optim.RMSprop(p, weight_decay=0.1), "divided by its size"),
        (lambda p: torch.optim.Adamax(p, weight_decay=0.1), "divided by its size"),
        (lambda p: torch.optim.Adadelta(p, weight_decay=0.1), "divided by its size"),
        (lambda p: torch.optim.ASGD(p, weight_decay=0.1), "decay is added to the gradient"),
        (lambda p: LAMB(p, 0.01, weight_decay=0.1), "added to the update, which the trust ratio scales"),
        (lambda p: LARS(p, 0.01, weight_decay=0.1), "added to the update, which the trust ratio scales"),
        (lambda p: Own(p, {"lr": 0.1, "weight_decay": 0.1}), "by a rule of its own"),
    ],
    ids=["adam", "rmsprop", "adamax", "adadelta", "asgd", "lamb", "lars", "another"],
)
def test_decay_that_depends_on_the_gradient_has_no_half_life(make: Callable[[Any], Optimizer], words: str) -> None:
    model = small()
    row = _half("1.weight", make(param_groups(model, 0.1)), model)

    assert words in row.how
    assert row.share is None
    assert math.isnan(row.half_life)


class Own(Optimizer):
    """An optimiser that nobody knows."""


@pytest.mark.parametrize(
    ("make", "share"),
    [
        (lambda p: torch.optim.Muon(p, lr=0.02, weight_decay=0.1), 0.002),
        (lambda p: LAMB([{"params": list(p), "is_adapted": False}], 0.02, weight_decay=0.1), 0.002),
        (lambda p: LARS([{"params": list(p), "is_adapted": False}], 0.02, weight_decay=0.1, momentum=0.9), 0.02),
    ],
    ids=["muon", "lamb without a ratio", "lars without a ratio"],
)
def test_the_share_of_others_that_take_it_from_the_weight(make: Callable[[Any], Optimizer], share: float) -> None:
    model = nn.Linear(4, 4, bias=False)
    row = _half("weight", make(model.parameters()), model)
    before = float(model.weight.detach().norm())
    optimizer = make(model.parameters())
    model.weight.grad = torch.zeros(4, 4)

    for _ in range(round(row.half_life)):
        optimizer.step()

    assert row.share == pytest.approx(share)
    assert float(model.weight.detach().norm()) / before == pytest.approx(0.5, rel=0.2)  # momentum gathers first


def test_a_strong_decay_halves_in_the_steps_it_takes() -> None:
    model = nn.Linear(4, 4, bias=False)
    row = _half("weight", torch.optim.AdamW(model.parameters(), lr=0.5, weight_decay=1.0), model)

    assert row.half_life == pytest.approx(1)
    assert not row.problem


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_a_decay_that_takes_the_whole_weight_is_told(make: Callable[..., Optimizer]) -> None:
    model = nn.Linear(4, 4, bias=False)
    row = _half("weight", make(model.parameters(), lr=0.1, weight_decay=30.0), model)

    assert row.problem.startswith("lr × decay is 1 or more")
    assert math.isnan(row.half_life)
    assert "mixes units" not in str(audit_decay(make(model.parameters(), lr=0.1, weight_decay=30.0), model))


def test_groups_that_say_nothing_leave_it_to_the_optimiser() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, bias=False))
    groups = [{"params": model[0].parameters()}, {"params": [model[1].weight], "weight_decay": 0.1}]
    groups[0]["params"] = list(groups[0]["params"])
    row = _half("0.weight", groups, model)

    assert problems(model, groups) == {}
    assert "the optimiser's default" in row.how
    assert math.isnan(row.half_life)
    assert problems(model, torch.optim.AdamW(groups)) == {"0.bias": "decays, and should not"}


def test_optimiser_and_model_in_each_others_place_are_told_apart() -> None:
    model = small()

    with pytest.raises(BuilderError, match=r"the optimiser is the model Sequential.*audit_decay\(optimizer, model\)"):
        audit_decay(model, torch.optim.AdamW(model.parameters()))


def test_it_prints_a_table() -> None:
    model = small()
    printed = str(audit_decay(torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1), model))

    assert "5 tensors, 3 problems" in printed
    assert "1.weight" in printed
    assert "0.001 × 0.1" in printed
    assert "6931" in printed
    assert "decays, and should not: it scales unit by unit" in " ".join(printed.split())


def test_it_prints_in_vietnamese() -> None:
    model = small()

    with speaking("vi"):
        printed = " ".join(str(audit_decay(torch.optim.AdamW(model.parameters()), model)).split())

    assert "bị suy giảm, mà không nên" in printed
    assert "should" not in printed
    assert "<pre" in audit_decay(param_groups(model), model)._repr_html_()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_nobody_is_blamed_for_what_only_a_shape_tells(decay: float) -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rates, self.layer = nn.Parameter(torch.randn(4, 8)), nn.Linear(8, 8)
            self.stack, self.shift = nn.Parameter(torch.randn(3, 8, 5)), nn.Parameter(torch.zeros(3, 5))

    model = Raw()
    unclear = {"params": [model.rates, model.stack, model.shift], "weight_decay": decay}
    rest = [{"params": [model.layer.weight], "weight_decay": 0.2}, {"params": [model.layer.bias], "weight_decay": 0.0}]

    assert problems(model, [unclear, *rest]) == {}
