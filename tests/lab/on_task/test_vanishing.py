import math
from typing import Any

import pytest
import torch
from torch import nn

from isometry._errors import NotApplicableError, UnknownNameError
from isometry.anatomy.task import Task
from isometry.report.language import say, speaking
from tests.lab.on_task.tasks import claims, measure, mlp, refuted, regression, vit


def decades_by_hand(task: Task) -> list[float]:
    """Return the gradient's root mean square behind each hidden layer over the last one's, from hooks."""
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        kept.append(output)

    layers = [module for module in task.model.modules() if isinstance(module, nn.Linear)][:-1]
    handles = [each.register_forward_hook(keep) for each in layers]
    loss = task.compute_loss()
    sizes = [float(each.square().mean().sqrt()) for each in torch.autograd.grad(loss, kept)]
    for handle in handles:
        handle.remove()
    return [math.log10(size / sizes[-1]) for size in sizes]


def course(*gradient: float) -> dict[str, Any]:
    return {"gradient": list(gradient), "signal": [0.0] * len(gradient), "apart": [], "why_not": ""}


def test_the_gradient_by_layer_is_that_of_hooks() -> None:
    task = mlp(5)
    expected = decades_by_hand(task)

    (found,) = measure("vanishing", task, starts=("own",))

    assert found["own"]["gradient"] == pytest.approx(expected, abs=1e-5)


def test_a_deep_net_of_sigmoids_loses_its_gradient_and_the_repair_keeps_it() -> None:
    found = measure("vanishing", mlp(12, nn.Sigmoid))

    (told,) = refuted("vanishing", found)
    assert "its own start" in told
    assert len(claims("vanishing", found)) == 2


def test_a_sound_transformer_and_a_regression_hold() -> None:
    for task in (vit(), regression()):
        assert refuted("vanishing", measure("vanishing", task, starts=("own", "isometry"))) == []


def test_a_gradient_that_explodes_is_refuted_as_one_that_vanishes() -> None:
    for fall in (5.0, -5.0):
        found = [{"own": course(-fall, 0.0), "isometry": course(0.0, 0.0)}]

        assert len(refuted("vanishing", found)) == 1


def test_a_start_without_numbers_holds_up_nothing() -> None:
    found = [{"own": course(0.0, 0.0), "isometry": course()}]

    assert len(refuted("vanishing", found)) == 1


def test_a_net_without_two_hidden_layers_is_refused_with_what_is_needed() -> None:
    with pytest.raises(NotApplicableError, match="no two hidden layers in a row") as caught:
        measure("vanishing", mlp(1))
    with speaking("vi"):
        assert say(caught.value.reason).startswith("trong Sequential không có hai tầng ẩn nối tiếp nhau")


def test_a_start_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="he-normal"):
        measure("vanishing", mlp(), starts=("own", "he-norml"))
