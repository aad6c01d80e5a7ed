"""What counts as a comparison of outputs with targets, in torch's losses and by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.comparisons import MAX_ROWS, Comparison, ComparisonTable
from isometry.probes.evidence import gather, measure

INPUTS = torch.arange(24.0).reshape(8, 3) / 24
TARGETS = torch.arange(8.0)[:, None] / 8


def comparisons(task: Task) -> tuple[Comparison, ...]:
    torch.manual_seed(0)
    return measure(gather(task, [ComparisonTable]), ComparisonTable).comparisons


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        pytest.param(F.mse_loss, "mse_loss", id="torch"),
        pytest.param(lambda out, y: F.mse_loss(y, out), "mse_loss", id="turned round"),
        pytest.param(lambda out, y: ((out - y) ** 2).mean(), "squared difference", id="power"),
        pytest.param(lambda out, y: (y - out).square().sum(), "squared difference", id="square"),
        pytest.param(lambda out, y: ((out - y) * (out - y)).mean(), None, id="two differences are no square"),
        pytest.param(lambda out, y: (d := out - y, (d * d).mean())[1], "squared difference", id="times itself"),
        pytest.param(lambda out, y: (out - y).abs().mean(), "absolute difference", id="absolute"),
        pytest.param(lambda out, y: (2 * (out - y)).norm(), "absolute difference", id="norm, weighed"),
        pytest.param(lambda out, y: (out - y).mean(), None, id="no error"),
        pytest.param(lambda out, y: (out - out.detach()).square().mean() + 0 * y.sum(), None, id="its own copy"),
    ],
)
def test_a_loss_is_known_by_what_it_does(loss: Callable[[Tensor, Tensor], Tensor], name: str | None) -> None:
    found = comparisons(make_task(nn.Linear(3, 1), INPUTS, loss=lambda out, _: loss(out, TARGETS)))

    assert [each.name for each in found] == ([] if name is None else [name])
    assert all(torch.equal(each.targets, TARGETS) for each in found if each.targets is not None)


def test_a_difference_before_the_last_layer_is_no_loss() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last((self.first(x) - x).square())

    found = comparisons(make_task(Centred(), INPUTS, TARGETS, loss=F.l1_loss))

    assert [each.name for each in found] == ["l1_loss"]


def test_classes_come_last_and_keep_their_labels() -> None:
    labels = torch.arange(8 * 5).reshape(8, 5) % 4
    model = nn.Linear(3, 20)
    (found,) = comparisons(make_task(model, INPUTS, loss=lambda out, _: F.cross_entropy(out.reshape(8, 4, 5), labels)))
    logits = model(INPUTS).reshape(8, 4, 5)

    assert found.labels is not None
    assert torch.equal(found.outputs, logits.movedim(1, -1).reshape(-1, 4))
    assert torch.equal(found.labels, labels.reshape(-1))


def test_of_many_rows_some_are_kept_with_their_labels() -> None:
    inputs, labels = torch.randn(3 * MAX_ROWS, 3), torch.arange(3 * MAX_ROWS) % 4
    model = nn.Linear(3, 4)
    (found,) = comparisons(make_task(model, inputs, loss=lambda out, _: F.cross_entropy(out, labels)))
    rows = torch.linspace(0, 3 * MAX_ROWS - 1, MAX_ROWS).long()

    assert found.labels is not None
    assert torch.equal(found.outputs, model(inputs)[rows])
    assert torch.equal(found.labels, labels[rows])
