import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.record import record
from isometry.anatomy.task import Task
from isometry.probes.separation import Separations


class Answers(nn.Module):
    """A model whose outputs are its weights."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = nn.Parameter(outputs)


def gain(outputs: Tensor, targets: Tensor, loss: str, **settings: object) -> float:
    observer = Separations()
    function = getattr(F, loss)
    task = Task(
        model=Answers(outputs), batch=targets, step=lambda model, batch: function(model.outputs, batch, **settings)
    )
    record(task, [observer])

    assert len(observer.gains) == 1
    return next(iter(observer.gains.values()))


def test_squares_gain_what_the_mean_output_explains_less() -> None:
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [4.0]])

    assert gain(outputs, targets, "mse_loss") == pytest.approx(4.0 - 1.0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gain_is_a_mean_whatever_the_loss_is_reduced_to(reduction: str) -> None:
    outputs, targets = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
    settings = {"reduction": reduction} if reduction != "none" else {}

    assert gain(outputs, targets, "cross_entropy", **settings) == pytest.approx(math.log(2) - math.log1p(math.exp(-2)))


def test_classes_on_axis_one_are_not_averaged() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(4, 3, 5), torch.randint(3, (4, 5))
    mean = outputs.double().mean((0, 2), keepdim=True).expand(4, 3, 5)
    expected = F.cross_entropy(mean, targets) - F.cross_entropy(outputs.double(), targets)

    assert gain(outputs, targets, "cross_entropy") == pytest.approx(float(expected))


def test_ignored_labels_do_not_count() -> None:
    outputs, targets = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 0.0]]), torch.tensor([0, 1, 7])
    mean = outputs.double().mean(0, keepdim=True).expand(3, 2)
    expected = F.cross_entropy(mean[:2], targets[:2]) - F.cross_entropy(outputs[:2].double(), targets[:2])

    assert gain(outputs, targets, "cross_entropy", ignore_index=7) == pytest.approx(float(expected))


def test_outputs_that_are_alike_gain_nothing() -> None:
    assert gain(torch.full((6, 3), 0.7), torch.tensor([0, 1, 2, 0, 1, 2]), "cross_entropy") == 0


def test_a_gain_far_below_single_precision_is_seen() -> None:
    outputs = torch.tensor([[1.0, 1.0], [1.0, 1.0 + 2**-23]])

    assert 1e-9 < gain(outputs, torch.tensor([0, 1]), "cross_entropy") < 1e-6
