import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import Batch, Task, make_task
from isometry.training.labels.examples import labelled_examples
from isometry.training.labels.learner import Learner, require_counts

INPUTS, TARGETS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2


def learner_of(task: Task) -> Learner:
    with preserved(task.model, seed=0) as guard:
        return Learner(task, guard, labelled_examples(task, most=None, seed=0), batch_size=10, seed=0)


def task(model: nn.Module | None = None, **settings: object) -> Task:
    torch.manual_seed(0)
    return make_task(model or nn.Linear(3, 2), INPUTS, TARGETS, **{"loss": F.cross_entropy, **settings})


def test_answers_are_those_of_eval_mode_and_training_goes_on_after_them() -> None:
    learner = learner_of(task(nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))))
    learner.learn()
    model = learner.training.task.model

    answers = learner.answers()

    assert all(module.training for module in model.modules())
    assert torch.allclose(answers, model.eval()(INPUTS).detach(), atol=1e-6)


def test_an_epoch_returns_the_mean_of_its_losses() -> None:
    learner = learner_of(task())

    losses = [learner.learn(), learner.learn()]

    assert losses == pytest.approx([sum(learner.training.losses[part : part + 4]) / 4 for part in (0, 4)])


class Ignores(nn.Module):
    """A model that takes labels and does not look at them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 2)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.body(features if labels is None else features + 0)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(task(loss=None), id="no loss"),
        pytest.param(task(loss=lambda outputs, _: outputs.square().mean()), id="a loss of the outputs alone"),
        pytest.param(make_task(Ignores(), {"features": INPUTS, "labels": TARGETS}), id="labels among the inputs"),
    ],
)
def test_a_loss_that_does_not_use_the_targets_is_refused(given: Task) -> None:
    with pytest.raises(BuilderError, match=r"does not use the targets, so .* Give a loss, such as F\.cross_entropy"):
        learner_of(given).learn()


def silent(model: nn.Module, batch: Batch) -> Tensor:
    """Use the targets where no operation of torch's is seen to take them."""
    with torch._C.DisableTorchFunction():
        return F.cross_entropy(model(batch.inputs), batch.targets)


@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_loss_that_uses_them_is_not_refused_even_of_constant_answers_or_out_of_sight(is_hidden: bool) -> None:
    given = task()
    if is_hidden:
        given = Task(model=given.model, batch=Batch(INPUTS, TARGETS % 2 * torch.ones(40).long()), step=silent)
    else:
        nn.init.zeros_(given.model.weight)
        nn.init.zeros_(given.model.bias)

    learner = learner_of(given)
    learner.learn()

    assert len(learner.training.losses) == 4


def test_counts_below_one_are_refused_by_name() -> None:
    require_counts(max_epochs=1, batch_size=2)
    with pytest.raises(DomainError, match=r"batch_size=-5 was given, and at least 1 is needed"):
        require_counts(max_epochs=1, batch_size=-5)
