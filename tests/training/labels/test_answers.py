from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry._errors import BuilderError, ModelError
from isometry.training.labels.answers import Kind, answers_in, class_of, error_of, error_of_constant, kind_of

HOT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("answers", "targets", "kind"),
    [
        pytest.param(torch.ones(4, 3), torch.tensor([0, 1, 2, 0]), "classes", id="classes"),
        pytest.param(torch.ones(4, 3, 5), torch.zeros(4, 5, dtype=torch.long), "classes", id="places, classes second"),
        pytest.param(torch.ones(4, 5, 3), torch.zeros(4, 5, dtype=torch.long), "classes", id="places, classes last"),
        pytest.param(torch.ones(20, 3), torch.zeros(4, 5, dtype=torch.long), "classes", id="places in a row"),
        pytest.param(torch.ones(3, 2), HOT, "classes", id="shares of classes"),
        pytest.param(torch.ones(4, 3), torch.tensor([[1.0, 1.0, 0.0]] * 4), "labels", id="on and off"),
        pytest.param(torch.ones(4, 1), torch.tensor([0.0, 1.0, 1.0, 0.0]), "labels", id="one label"),
        pytest.param(torch.ones(4), torch.tensor([0, 1, 1, 0]), "labels", id="one label, integers"),
        pytest.param(torch.ones(4), torch.tensor([-1.0, 1.0, 1.0, -1.0]), "labels", id="signs"),
        pytest.param(torch.ones(4), torch.tensor([0.5, 1.0, 2.0, 0.0]), "numbers", id="numbers"),
        pytest.param(torch.ones(4), torch.tensor([3, 1, 7, 0]), "numbers", id="counts"),
    ],
)
def test_the_kind_follows_from_shapes_and_values(answers: Tensor, targets: Tensor, kind: Kind) -> None:
    assert kind_of(answers, targets) == kind


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BuilderError, match=r"shape \(4, 3\) do not answer targets of shape \(5,\)"):
        kind_of(torch.ones(4, 3), torch.zeros(5))


@pytest.mark.parametrize(
    ("answers", "targets", "kind", "error", "constant"),
    [
        pytest.param([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]], [0, 1, 1], "classes", 1 / 3, 1 / 3, id="classes"),
        pytest.param([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0]], [0, -100, 1], "classes", 1 / 2, 1 / 2, id="left out"),
        pytest.param([[3.0, -1.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], "labels", 1 / 4, 1 / 2, id="logits"),
        pytest.param([0.6, 0.4, 0.1, 0.2], [1.0, 0.0, 0.0, 1.0], "labels", 1 / 4, 1 / 2, id="probabilities"),
        pytest.param([1.0, 2.0, 5.0], [1.0, 3.0, 2.0], "numbers", 10 / 3, 2 / 3, id="numbers"),
    ],
)
def test_errors_are_those_counted_by_hand(
    answers: list[Any], targets: list[Any], kind: Kind, error: float, constant: float
) -> None:
    given = torch.tensor(answers), torch.tensor(targets)

    assert error_of(*given, kind) == pytest.approx(error)
    assert error_of_constant(*given, kind) == pytest.approx(constant)


def test_shares_of_classes_are_the_class_with_the_most() -> None:
    logits, given = class_of(torch.ones(3, 2), HOT)

    assert given.tolist() == [0, 1, 0]
    assert logits.shape == (3, 2)


@pytest.mark.parametrize(
    "outputs",
    [torch.ones(2), SimpleNamespace(logits=torch.ones(2)), {"logits": torch.ones(2)}, (torch.ones(2), torch.zeros(3))],
)
def test_answers_are_found_in_what_models_return(outputs: Any) -> None:
    assert torch.equal(answers_in(outputs), torch.ones(2))


def test_an_output_without_numbers_is_refused() -> None:
    with pytest.raises(ModelError, match="returned str without a floating tensor"):
        answers_in("nothing")
