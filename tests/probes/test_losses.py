"""What a loss is held against: the constant predictor, for every form in which targets come."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.record import record_step
from isometry.anatomy.task import make_task
from isometry.probes.losses import LossInputs, LossReading

NUM_CLASSES = 5


def readings_of(
    targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], width: int = NUM_CLASSES
) -> list[LossReading]:
    torch.manual_seed(0)
    watch = LossInputs()
    model = nn.Linear(3, width)
    record_step(make_task(model, torch.randn(len(targets), 3), targets, loss=loss), [watch])
    return watch.readings


LABELS = torch.tensor([0, 1, 1, 3, 4, 1, 0, 2])
MASKED = torch.tensor([0, 1, -100, 3, -100, 1, 0, 2])
CLASSES: dict[str, tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
    "cross-entropy": (LABELS, F.cross_entropy),
    "module": (LABELS, nn.CrossEntropyLoss()),
    "sum": (LABELS, lambda out, y: F.cross_entropy(out, y, reduction="sum")),
    "each": (LABELS, lambda out, y: F.cross_entropy(out, y, reduction="none").mean()),
    "nll": (LABELS, lambda out, y: F.nll_loss(out.log_softmax(1), y)),
    "masked": (MASKED, F.cross_entropy),
    "tokens": (LABELS[:, None].expand(8, 6), lambda out, y: F.cross_entropy(out[:, :, None].expand(8, 5, 6), y)),
}


@pytest.mark.parametrize(("targets", "loss"), CLASSES.values(), ids=CLASSES.keys())
def test_a_classification_is_held_against_the_uniform_guess(
    targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    (reading,) = readings_of(targets, loss)
    kept = targets[:, 0] if targets.ndim > 1 else targets
    kept = kept[kept >= 0]
    prior = torch.bincount(kept, minlength=NUM_CLASSES) / len(kept)

    assert (reading.constant, reading.num_classes) == (pytest.approx(math.log(NUM_CLASSES)), NUM_CLASSES)
    assert reading.prior == pytest.approx(tuple(prior.tolist()))
    assert 0.3 < reading.value < 4


def test_the_value_is_a_mean_over_examples_whatever_the_reduction() -> None:
    (mean,), (total,) = (readings_of(*CLASSES[name]) for name in ("cross-entropy", "sum"))

    assert mean.value == pytest.approx(total.value)


def test_labels_that_the_loss_ignores_do_not_count() -> None:
    (reading,) = readings_of(LABELS, lambda out, y: F.cross_entropy(out, y, ignore_index=1))

    assert reading.prior == pytest.approx((2 / 5, 0, 1 / 5, 1 / 5, 1 / 5))


@pytest.mark.parametrize(
    ("targets", "loss"),
    [
        pytest.param(torch.full((8, NUM_CLASSES), 0.2), F.cross_entropy, id="probabilities"),
        pytest.param(LABELS, lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1), id="label smoothing"),
        pytest.param(LABELS, lambda out, y: out.square().mean() + 0 * y.sum(), id="another loss"),
        pytest.param(torch.full((8,), -100), lambda out, y: F.cross_entropy(out, y).nan_to_num(), id="all masked"),
        pytest.param(torch.ones(8, NUM_CLASSES), F.mse_loss, id="targets without variance"),
    ],
)
def test_where_no_constant_predictor_is_known_there_is_no_reading(
    targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    assert readings_of(targets, loss) == []


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(F.binary_cross_entropy_with_logits, id="logits"),
        pytest.param(lambda out, y: F.binary_cross_entropy(out.sigmoid(), y), id="probabilities"),
        pytest.param(nn.BCEWithLogitsLoss(reduction="sum"), id="sum"),
    ],
)
def test_a_binary_loss_is_held_against_the_toss_of_a_coin(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    targets = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    (reading,) = readings_of(targets, loss, width=2)

    assert reading.constant == pytest.approx(math.log(2))
    assert reading.prior == pytest.approx((0.25, 1.0))
    assert 0.3 < reading.value < 2


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_regression_is_held_against_the_mean_of_its_targets(reduction: str) -> None:
    targets = torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]])
    (reading,) = readings_of(targets, lambda out, y: F.mse_loss(out, y, reduction=reduction), width=2)

    assert reading.constant == pytest.approx((8 / 3 + 200) / 2)
    assert reading.target_mean == pytest.approx(float(targets.mean()))
    assert reading.num_classes is None
