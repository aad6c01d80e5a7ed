"""What is standardised is what the printed line standardises, whatever the batch looks like."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.checking.change import Change
from isometry.checking.changes_of_data import cleaned
from isometry.checking.changes_of_scale import standardised
from isometry.checking.check import diagnose
from isometry.findings.data import unnormalised_input
from isometry.findings.run import run_rules
from isometry.probes.comparisons import ComparisonTable
from isometry.probes.data import InputScale
from isometry.probes.evidence import Evidence, gather
from tests.findings.networks import stack

LABELS = torch.arange(64) % 3


def pixels(seed: int = 1) -> Tensor:
    """Rows whose first and last numbers never vary, as at the border of pictures."""
    numbers = 100 * torch.rand(64, 8, generator=torch.Generator().manual_seed(seed)) + 20 * LABELS[:, None]
    numbers[:, 0], numbers[:, -1] = 3000.1, 0.0
    return numbers


class Floats(nn.Module):
    """A network that turns the pixels it gets into floats itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = stack(8, 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.float())


class Named(nn.Module):
    """A network that takes a mapping of two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(5, 4), stack(12, 32, 3)

    def forward(self, image: Tensor, kind: Tensor) -> Tensor:
        return self.body(torch.cat([image, self.table(kind)], 1))


def evidence_of(task: Task) -> Evidence:
    return gather(task, [InputScale, ComparisonTable])


def first_change(task: Task) -> Change:
    evidence = evidence_of(task)
    (finding,), _ = run_rules([unnormalised_input], evidence)
    return next(standardised(finding, evidence))


def run_line(line: str, **names: object) -> dict[str, object]:
    exec(line, {"torch": torch}, names)  # noqa: S102 - the very line that is printed
    return names


CASES = {
    "floats": (lambda: stack(8, 32, 3), pixels),
    "integers": (Floats, lambda: pixels().clamp(max=255).byte()),
    "long integers": (Floats, lambda: pixels().long()),
    "doubles": (lambda: stack(8, 32, 3).double(), lambda: pixels().double()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_experiment_does_what_the_printed_line_does_and_makes_no_nan_of_a_constant_column(name: str) -> None:
    build, inputs = CASES[name]
    torch.manual_seed(0)
    given = inputs()
    change = first_change(make_task(build(), given, LABELS, loss=F.cross_entropy))
    made = change.make().batch.inputs
    printed = run_line(change.suggestion, inputs=given.clone())["inputs"]

    assert isinstance(printed, Tensor)
    assert made.dtype == printed.dtype
    # The batch of a data set is that set in another order.
    assert torch.allclose(made.sort(0).values, printed.sort(0).values, atol=1e-5)
    assert made.abs().max() < 20
    assert torch.allclose(made[:, 0], torch.zeros(64, dtype=made.dtype), atol=1e-3)


def test_a_part_of_a_mapping_is_named_by_its_key_and_indices_are_left_alone() -> None:
    torch.manual_seed(0)
    batch = {"image": pixels(), "kind": torch.arange(64) % 5}
    task = make_task(Named(), batch, LABELS, loss=F.cross_entropy)
    change = first_change(task)
    made = change.make().batch.inputs

    assert "inputs['image'] = " in change.suggestion
    assert "kind" not in change.suggestion
    assert torch.equal(made["kind"], task.batch.inputs["kind"])
    assert made["image"].abs().max() < 20


def test_sequences_are_standardised_by_feature_and_signals_by_channel() -> None:
    torch.manual_seed(0)
    wild = 300 * torch.randn(64, 5, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 1000
    by_feature = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3))
    by_channel = nn.Sequential(nn.Conv1d(5, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))

    for model, axes in ((by_feature, (0, 1)), (by_channel, (0, 2))):
        made = first_change(make_task(model, wild, LABELS, loss=F.cross_entropy)).make().batch.inputs
        deviations = made.std(axes)

        assert torch.allclose(deviations, torch.ones_like(deviations), atol=1e-4)


def test_infinities_are_removed_by_the_printed_line_and_named_by_their_key() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 8)
    images[3, 2], images[5, 1], images[7, 0] = torch.inf, -torch.inf, torch.nan
    batch = {"image": images, "kind": torch.arange(64) % 5}
    task = make_task(Named(), batch, LABELS, loss=F.cross_entropy)
    (change,) = cleaned(None, gather(task, []))  # pyright: ignore[reportArgumentType] - the finding is not read
    printed = run_line(change.suggestion, inputs=dict(batch))["inputs"]

    assert isinstance(printed, dict)
    assert printed["image"].abs().max() == images[images.isfinite()].abs().max()
    assert change.make().batch.inputs["image"].isfinite().all()


def test_raw_pixels_that_the_model_turns_into_floats_are_proved_to_be_the_cause() -> None:
    torch.manual_seed(0)
    (cause, *_) = diagnose(make_task(Floats(), pixels().clamp(max=255).byte(), LABELS, loss=F.cross_entropy)).findings

    assert cause.name == "unnormalised-input"
    assert cause.proof is not None
    assert cause.proof.after < 2 < cause.proof.before


def test_raw_prices_are_standardised_together_with_the_raw_features_they_hang_on() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 6) * torch.tensor([1.0, 10.0, 1000.0, 1e5, 1.0, 0.01])
    prices = 2e5 + 1e5 * (inputs[:, :1] + inputs[:, 3:4] / 1e5)
    (cause, *others) = diagnose(make_task(stack(6, 64, 64, 1), inputs, prices, loss=F.mse_loss)).findings

    assert cause.name == "unnormalised-input"
    assert cause.proof is not None
    assert cause.proof.change == "the inputs and the targets standardised"
    assert cause.proof.is_share
    assert "targets = " in cause.remedy.suggestion
    assert not [each for each in others if each.severity == "error" and each.because is None]
