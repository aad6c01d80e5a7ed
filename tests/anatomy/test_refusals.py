"""What a failed step is told, beyond what torch says."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.anatomy.record import record
from isometry.anatomy.task import make_task

LABELS = torch.tensor([0, 1, 2, 3])
SHARES = torch.full((4, 5), 0.5)
Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize(
    ("loss", "targets", "advice"),
    [
        pytest.param(F.binary_cross_entropy, SHARES, "with_logits", id="raw numbers as probabilities"),
        pytest.param(
            lambda out, y: F.binary_cross_entropy(out.sigmoid(), y), 3 * SHARES, "in [0, 1]", id="labels above 1"
        ),
        pytest.param(
            lambda out, y: F.binary_cross_entropy(out.sigmoid(), y), SHARES.long(), ".float()", id="whole numbers"
        ),
        pytest.param(F.binary_cross_entropy_with_logits, SHARES[:, 0], "one shape", id="another shape"),
        pytest.param(F.cross_entropy, LABELS + 4, "as many outputs as there are classes", id="fewer outputs"),
        pytest.param(F.cross_entropy, LABELS.float(), ".long()", id="labels as floats"),
        pytest.param(F.nll_loss, LABELS[:, None], "(N,)", id="labels in a column"),
        pytest.param(F.cross_entropy, LABELS[:3], "another number of rows", id="fewer labels"),
        pytest.param(lambda out, y: out[y.sum() + 100].mean(), LABELS, "Check the loss", id="anything else"),
    ],
)
def test_a_loss_that_refuses_its_targets_is_explained(loss: Loss, targets: Tensor, advice: str) -> None:
    torch.manual_seed(0)
    inputs = 3 * torch.randn(4, 3)
    task = make_task(nn.Linear(3, 5), {"input": inputs}, targets, loss=loss)

    with pytest.raises(ModelError) as caught:
        record(task)

    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("norm", "shape", "advice"),
    [
        pytest.param(nn.BatchNorm1d(3), (1, 3), "drop_last", id="batch of one"),
        pytest.param(nn.InstanceNorm1d(3), (4, 3, 1), "one place only", id="one place"),
    ],
)
def test_a_norm_over_one_number_is_explained(norm: nn.Module, shape: tuple[int, ...], advice: str) -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 1) if len(shape) > 2 else nn.Linear(3, 3), norm)

    with pytest.raises(ModelError) as caught:
        record(make_task(model, torch.ones(shape)))

    assert advice in str(caught.value)
