"""Steps with the results of some operations exchanged."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.record import record, record_step
from isometry.anatomy.recorder import Call
from isometry.anatomy.substitution import with_substitution
from isometry.anatomy.tape import Operation
from isometry.anatomy.task import Task, make_task


def twice_softmax() -> Task:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    return make_task(model, torch.randn(8, 4), torch.randint(3, (8,)), loss=F.cross_entropy)


def without_softmax(operation: Operation, call: Call) -> Tensor | None:
    return call.inputs[0] if operation.name == "softmax" else None


def test_a_step_computes_with_what_was_put_in_place() -> None:
    task = twice_softmax()
    logits = task.model.get_submodule("0")(task.batch.inputs)

    assert torch.equal(
        with_substitution(task, without_softmax).compute_loss(), F.cross_entropy(logits, task.batch.targets)
    )
    assert not torch.equal(task.compute_loss(), F.cross_entropy(logits, task.batch.targets))


def test_a_recorded_step_sees_the_model_and_what_was_put_in_place() -> None:
    task = with_substitution(
        twice_softmax(), lambda operation, call: call.inputs[0].tanh() if operation.name == "softmax" else None
    )
    tape = record_step(task).tape

    assert [operation.name for operation in tape.operations] == [
        "linear",
        "softmax",
        "tanh",
        "cross_entropy",
        "reshape",
    ]
    assert [tape.values[operation.inputs[0]].producer for operation in tape.operations[1:4]] == [0, 0, 2]


def test_indices_are_those_of_the_tape_also_inside_attention() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    task = make_task(nn.Sequential(layer, nn.Linear(8, 2)), torch.randn(2, 3, 8))
    seen: list[tuple[int, str]] = []
    with_substitution(task, lambda operation, _: seen.append((operation.index, operation.name))).compute_loss()
    tape = record(task)

    assert seen == [(operation.index, operation.name) for operation in tape.operations[:-1]]
    assert tape.operations[-1].name == "reshape"  # of the loss, outside of the step
    assert {"linear", "scaled_dot_product_attention"} <= {name for _, name in seen}


def test_nothing_of_the_task_changes() -> None:
    task = twice_softmax()
    before = task.compute_loss()
    with_substitution(task, without_softmax).compute_loss()

    assert torch.equal(task.compute_loss(), before)
