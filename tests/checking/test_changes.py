"""Each change makes the task it says, held against the loss written out by hand, and leaves the old task alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from isometry.checking.change import Change
from isometry.checking.changes_of_data import averaged, cleaned, in_full_precision, larger_steps
from isometry.checking.changes_of_losses import output_exchanged, targets_in_domain, targets_reshaped
from isometry.checking.changes_of_operations import gradient_let_through, nonlinearity_inserted, operand_guarded
from isometry.checking.changes_of_scale import standardised
from isometry.checking.treatment import redrawn
from isometry.probes.comparisons import ComparisonTable
from isometry.probes.evidence import Evidence, gather
from isometry.probes.nonfinite import NonFiniteOrigin
from isometry.probes.start import LossStart
from isometry.report.finding import Finding, Remedy
from tests.findings.networks import Function, stack
from tests.report.cases import VANISHING

Maker = Callable[[Finding, Evidence], Iterator[Change]]
INPUTS = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
LABELS = INPUTS[:, :3].argmax(1)
NUMBERS = 3 + 2 * INPUTS.sum(1, keepdim=True)
SIGNS = (INPUTS[:, 0] > 0).float()


def network(outputs: int, *last: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs), *last)


def scores(task: Task, outputs: int) -> Tensor:
    """What the last layer of a network gives, in front of what stands behind it."""
    body = network(outputs)
    body.load_state_dict({key: value for key, value in task.model.state_dict().items() if key[0] in "02"})
    return body(INPUTS)


def changed(make: Maker, task: Task, *, where: tuple[str, ...] = (), cause: str = "") -> Change:
    finding = replace(VANISHING, where=where, cause=cause, measured=None, remedy=Remedy("init", ""))
    evidence = gather(task, [ComparisonTable, NonFiniteOrigin, LossStart])
    return next(make(finding, evidence))


def classified(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> Task:
    return make_task(model, INPUTS, LABELS, loss=loss)


def regressed(loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor, *last: nn.Module) -> Task:
    return make_task(network(1, *last), INPUTS, targets, loss=loss)


LOSSES: dict[str, tuple[Maker, Task, Callable[[Task], Tensor], str]] = {
    "softmax left out": (
        output_exchanged,
        classified(network(3, nn.Softmax(dim=1)), F.cross_entropy),
        lambda task: F.cross_entropy(scores(task, 3), LABELS),
        "the softmax at the output left out",
    ),
    "functional softmax left out, behind a reshape": (
        output_exchanged,
        classified(network(3, Function(lambda x: F.softmax(x, 1).reshape(-1, 3))), F.cross_entropy),
        lambda task: F.cross_entropy(scores(task, 3), LABELS),
        "the softmax at the output left out",
    ),
    "log_softmax for softmax": (
        output_exchanged,
        classified(network(3, nn.Softmax(dim=1)), F.nll_loss),
        lambda task: F.cross_entropy(scores(task, 3), LABELS),
        "log_softmax in the place of softmax",
    ),
    "log_softmax over the classes": (
        output_exchanged,
        classified(network(3, nn.LogSoftmax(dim=0)), F.nll_loss),
        lambda task: F.cross_entropy(scores(task, 3), LABELS),
        "log_softmax over the classes",
    ),
    "log_softmax put before the loss": (
        output_exchanged,
        classified(network(3), F.nll_loss),
        lambda task: F.cross_entropy(scores(task, 3), LABELS),
        "log_softmax put before the loss",
    ),
    "sigmoid for softmax of one unit": (
        output_exchanged,
        make_task(network(1, nn.Softmax(dim=1)), INPUTS, SIGNS[:, None], loss=F.binary_cross_entropy),
        lambda task: F.binary_cross_entropy_with_logits(scores(task, 1), SIGNS[:, None]),
        "sigmoid in the place of softmax",
    ),
    "relu behind a regression left out": (
        output_exchanged,
        regressed(F.mse_loss, NUMBERS, nn.ReLU()),
        lambda task: F.mse_loss(scores(task, 1), NUMBERS),
        "the relu at the output left out",
    ),
    "targets in the shape of the outputs": (
        targets_reshaped,
        regressed(lambda out, y: (out - y).square().mean(), NUMBERS.flatten()),
        lambda task: F.mse_loss(scores(task, 1), NUMBERS),
        "the targets in the shape of the outputs",
    ),
    "targets in the shape of the outputs, the other way round": (
        targets_reshaped,
        regressed(lambda out, y: (y - out).abs().mean(), NUMBERS, nn.Flatten(0)),
        lambda task: F.l1_loss(scores(task, 1), NUMBERS),
        "the targets in the shape of the outputs",
    ),
    "targets moved into [0, 1]": (
        targets_in_domain,
        regressed(F.binary_cross_entropy_with_logits, 1 + SIGNS[:, None]),
        lambda task: F.binary_cross_entropy_with_logits(scores(task, 1), SIGNS[:, None]),
        "the targets moved into [0, 1]",
    ),
    "targets at -1 and 1": (
        targets_in_domain,
        regressed(F.soft_margin_loss, SIGNS[:, None]),
        lambda task: F.soft_margin_loss(scores(task, 1), 2 * SIGNS[:, None] - 1),
        "the targets at -1 and 1",
    ),
    "the loss by the number of samples": (
        averaged,
        regressed(F.mse_loss, NUMBERS),
        lambda task: F.mse_loss(scores(task, 1), NUMBERS),
        "the loss divided by 1",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_compares_is_exchanged(name: str) -> None:
    make, task, expected, words = LOSSES[name]
    before = task.compute_loss()
    change = changed(make, task)

    assert change.words == words
    assert torch.allclose(change.make().compute_loss(), expected(task), atol=1e-6)
    assert torch.equal(task.compute_loss(), before)


def test_targets_are_standardised_where_they_are_named_and_inputs_otherwise() -> None:
    task = regressed(F.mse_loss, NUMBERS)
    targets = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0)
    wild = replace(task, batch=Batch(1000 * INPUTS + 5, NUMBERS))

    assert torch.allclose(
        changed(standardised, task, where=("targets", "2")).make().compute_loss(),
        F.mse_loss(scores(task, 1), targets),
        atol=1e-6,
    )
    inputs = changed(standardised, wild, where=("inputs", "0")).make().batch.inputs
    assert torch.allclose(inputs.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(inputs.std(0), torch.ones(6), atol=1e-5)
    assert torch.equal(wild.batch.inputs, 1000 * INPUTS + 5)


def test_images_are_standardised_by_channel_and_labels_stay() -> None:
    images = torch.rand(8, 3, 4, 4) * torch.tensor([1.0, 10.0, 255.0])[:, None, None]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    task = make_task(model, images, LABELS[:8], loss=F.cross_entropy)
    batch = changed(standardised, task, where=("inputs",)).make().batch

    assert torch.allclose(batch.inputs.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    assert torch.equal(batch.targets, task.batch.targets)


def test_a_nonlinearity_is_put_behind_the_layer_that_lacks_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    change = changed(nonlinearity_inserted, classified(model, F.cross_entropy), where=("0", "1"))

    assert change.words == "a ReLU behind '0'"
    assert torch.allclose(change.make().compute_loss(), F.cross_entropy(model[1](model[0](INPUTS).relu()), LABELS))


def test_operands_are_kept_off_the_edge_where_a_number_was_lost() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), Function(torch.log))
    task = classified(model, F.cross_entropy)
    change = changed(operand_guarded, task)

    assert not task.compute_loss().isfinite()
    assert change.words == "what log reads kept off the edge"
    assert change.make().compute_loss().isfinite()


def test_a_gradient_is_let_through_what_is_named_in_the_cause() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), Function(torch.sign), nn.Linear(8, 3))
    task = classified(model, F.cross_entropy)
    other = changed(gradient_let_through, task, cause="no gradient passes sign in '1'").make()
    other.compute_loss().backward()

    assert torch.equal(other.compute_loss(), task.compute_loss())
    assert model[0].weight.grad is not None
    assert model[0].weight.grad.any()
    with pytest.raises(StopIteration):
        changed(gradient_let_through, task, cause="something else")


def test_numbers_that_are_not_finite_become_zeros_in_the_batch() -> None:
    inputs = INPUTS.clone()
    inputs[1, 2] = torch.nan
    task = replace(classified(network(3), F.cross_entropy), batch=Batch(inputs, LABELS))

    change = changed(cleaned, task)

    assert change.suggestion == "inputs = torch.nan_to_num(inputs, nan=0, posinf=0, neginf=0)"
    assert change.make().batch.inputs[1, 2] == 0
    assert inputs[1, 2].isnan()


def test_a_half_precision_task_is_tried_in_single_precision_on_a_copy() -> None:
    task = make_task(network(3).half(), INPUTS.half(), LABELS, loss=lambda out, y: F.cross_entropy(out.float(), y))
    other = changed(in_full_precision, task).make()

    assert {parameter.dtype for parameter in other.model.parameters()} == {torch.float32}
    assert other.batch.inputs.dtype == torch.float32
    assert other.batch.targets.dtype == torch.int64
    assert {parameter.dtype for parameter in task.model.parameters()} == {torch.float16}


def test_the_last_of_the_larger_steps_is_another_optimiser() -> None:
    task = replace(classified(network(3), F.cross_entropy), optimizer_factory=lambda each: torch.optim.SGD(each, lr=0))
    finding = replace(VANISHING, code="TRN102")
    evidence = gather(task, [])
    changes = list(larger_steps(replace(finding, measured=0.0, allowed=None), evidence))
    advised = next(larger_steps(replace(finding, measured=1e-6, allowed=0.1), evidence))

    assert (advised.words, round(advised.rate_factor)) == ("a learning rate of 0.1", 100_000)
    assert [change.rate_factor for change in changes] == [1e3, 1e5, 10.0, 1.0]
    assert changes[-1].make().optimizer_factory is None


def test_only_the_layers_that_are_named_are_drawn_anew_and_only_on_a_copy() -> None:
    torch.manual_seed(0)
    model = stack(6, 8, 8, 3)
    nn.init.constant_(model[2].weight, 0.1)
    task = classified(model, F.cross_entropy)
    finding = replace(VANISHING, code="INI101", where=("2.weight",), remedy=Remedy("init", "Draw it."))
    evidence = gather(task, [LossStart])
    change = next(redrawn(finding, evidence))
    other = change.make().model

    assert change.redrawn == {"2.weight", "2.bias"}
    assert change.words == "'2' drawn anew"
    assert torch.equal(other.get_parameter("0.weight"), model[0].weight)
    assert other.get_parameter("2.weight").unique().numel() > 1
    assert model[2].weight.unique().numel() == 1
    assert not list(redrawn(replace(finding, remedy=Remedy("model", "")), evidence))
