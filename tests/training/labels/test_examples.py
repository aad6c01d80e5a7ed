import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isometry._errors import BuilderError
from isometry.anatomy.task import Batch, Task, make_task
from isometry.training.labels.examples import labelled_examples

INPUTS, TARGETS = torch.arange(20.0).reshape(10, 2), torch.arange(10)


def task(**parts: object) -> Task:
    return Task(model=nn.Linear(2, 10), batch=Batch(**parts), step=lambda model, batch: model(batch.inputs).sum())


@pytest.mark.parametrize("is_loader", [False, True])
def test_all_examples_of_a_data_set_come_in_their_order(is_loader: bool) -> None:
    inputs = DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=4) if is_loader else INPUTS
    given = make_task(nn.Linear(2, 10), inputs, None if is_loader else TARGETS, loss=F.cross_entropy, batch_size=4)

    found = labelled_examples(given, most=None, seed=0)

    assert torch.equal(found.inputs, INPUTS)
    assert torch.equal(found.targets, TARGETS)
    assert found.rows == tuple(range(10))


def test_a_part_is_drawn_without_repetition_and_knows_its_rows() -> None:
    found = labelled_examples(task(inputs=INPUTS, targets=TARGETS), most=6, seed=1)

    assert len(set(found.rows)) == found.count == 6
    assert found.targets.tolist() == list(found.rows)
    assert torch.equal(found.inputs, INPUTS[list(found.rows)])


def test_labels_among_the_inputs_are_exchanged_there() -> None:
    found = labelled_examples(task(inputs={"x": INPUTS, "labels": TARGETS}), most=None, seed=0)
    other = found.relabelled(TARGETS.flip(0)).take(torch.tensor([2, 0]))

    assert list(found.inputs) == ["x"]
    assert other.targets is None
    assert isinstance(other.inputs, dict)
    assert other.inputs["labels"].tolist() == [7, 9]
    assert torch.equal(other.inputs["x"], INPUTS[[2, 0]])


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(task(inputs=INPUTS), id="no targets"),
        pytest.param(task(inputs=INPUTS, targets=TARGETS[:4]), id="fewer targets"),
        pytest.param(task(inputs=INPUTS, targets=torch.tensor(1.0)), id="one number"),
        pytest.param(
            Task(model=nn.Linear(2, 1), batch=INPUTS, step=lambda model, batch: model(batch).sum()), id="own batch"
        ),
    ],
)
def test_a_task_whose_targets_cannot_be_exchanged_is_refused(given: Task) -> None:
    with pytest.raises(BuilderError, match=r"of Linear has no tensor of targets with one row for each row"):
        labelled_examples(given, most=None, seed=0)


def test_what_was_given_instead_of_tensors_is_named() -> None:
    given = make_task(nn.Linear(2, 10), TensorDataset(INPUTS, TARGETS), loss=F.cross_entropy)

    with pytest.raises(BuilderError, match=r"found: inputs TensorDataset, targets NoneType\).*Give both as tensors"):
        labelled_examples(given, most=None, seed=0)
