import math

import pytest
import torch
from torch import nn

from isometry.lab.apparatus.own_starts import changes, course_of, evidence_of, started, worst
from tests.lab.on_task.tasks import mlp


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [each.detach() for each in model.parameters() if each.ndim > 1]


def test_the_own_start_is_a_copy_of_equal_weights() -> None:
    task = mlp()
    copy = started(task, "own", seed=3)

    assert all(torch.equal(one, two) for one, two in zip(weights(task.model), weights(copy.model), strict=True))
    assert copy.model is not task.model


@pytest.mark.parametrize(("start", "variance"), [("he-normal", 2.0), ("lecun-normal", 1.0), ("torch-default", 1 / 3)])
def test_a_scheme_draws_with_its_own_variance(start: str, variance: float) -> None:
    copy = started(mlp(3, width=128), start, seed=0)

    for weight in weights(copy.model)[1:3]:
        assert float(weight.square().mean()) * weight.shape[1] == pytest.approx(variance, rel=0.05)


def test_seeds_draw_weights_of_their_own() -> None:
    one, again, other = (weights(started(mlp(), "he-normal", seed=seed).model)[0] for seed in (0, 0, 1))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_sound_network_is_left_alone_by_the_repair() -> None:
    task = mlp(2)
    repaired = started(task, "isometry", seed=0)

    assert all(torch.equal(one, two) for one, two in zip(weights(task.model), weights(repaired.model), strict=True))


def test_a_course_has_the_share_that_differs_at_every_layer() -> None:
    course = course_of(evidence_of(mlp(4, nn.Sigmoid), seed=0))

    assert len(course.gradient) == len(course.signal) == len(course.apart) == 4
    assert max(course.apart) <= 0
    assert course.apart[0] > course.apart[-1]


def test_a_network_without_layers_in_a_row_has_a_reason() -> None:
    assert "two hidden layers" in course_of(evidence_of(mlp(1), seed=0)).why_not


def test_a_change_is_from_the_first_layer_to_the_last() -> None:
    found = [{"own": {"gradient": [-3.0, 1.0, 0.0]}}, {"own": {"gradient": []}}]

    assert changes(found[:1], "own", "gradient") == [3.0]
    assert math.isnan(worst(changes(found, "own", "gradient")))
    assert worst([1.0, -2.0]) == -2.0
