"""Laziness against training by hand, where it is known, and on real modules."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError
from isometry.anatomy.task import Task
from isometry.lab.lazy import FewOutputs, laziness
from isometry.lab.showing.laziness import LazinessReport
from isometry.probes.tangent.kernel import mean_tangent_kernel
from isometry.probes.tangent.laziness import alignment, drift
from isometry.report.terminal import plain_text

GENERATOR = torch.Generator().manual_seed(0)
INPUTS, LABELS = torch.randn(40, 6, generator=GENERATOR), torch.randint(3, (40,), generator=GENERATOR)


def sgd(parameters: object, rate: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=rate)  # pyright: ignore[reportArgumentType] - what a factory is given


def network(width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3))


class NtkScaled(nn.Module):
    """The same in the NTK parametrisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Parameter(torch.randn(width, 6, generator=generator))
        self.last = nn.Parameter(torch.randn(3, width, generator=generator))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(F.linear(inputs / math.sqrt(6), self.first))
        return F.linear(hidden / math.sqrt(len(self.first)), self.last)


class TiedWords(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 4), nn.Linear(4, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(tokens)))


def test_drifts_are_those_of_a_training_by_hand() -> None:
    own, twin = network(), network()
    start = mean_tangent_kernel(twin, INPUTS)
    before = nn.utils.parameters_to_vector(twin.parameters()).detach().clone()
    optimizer = sgd(twin.parameters())
    for _ in range(8):
        optimizer.zero_grad()
        (twin(INPUTS) ** 2).mean().backward()
        optimizer.step()
    task = Task(model=own, batch=INPUTS, step=lambda model, batch: (model(batch) ** 2).mean(), optimizer_factory=sgd)
    found = laziness(task, INPUTS, LABELS, steps=8)
    end = mean_tangent_kernel(twin, INPUTS)

    assert [look.step for look in found.looks] == [0, 1, 2, 4, 8]
    assert found.looks[-1].kernel_drift == pytest.approx(drift(start, end), rel=1e-4)
    assert found.looks[-1].weight_drift == pytest.approx(
        drift(before, nn.utils.parameters_to_vector(twin.parameters())), rel=1e-4
    )
    assert found.looks[-1].alignment == pytest.approx(alignment(end, F.one_hot(LABELS).double()), rel=1e-4)


def test_a_model_that_is_linear_in_its_weights_is_entirely_lazy() -> None:
    found = laziness(nn.Linear(6, 3), INPUTS, LABELS, loss=F.cross_entropy, steps=10)

    assert all(look.kernel_drift < 1e-6 for look in found.looks)
    assert found.looks[-1].weight_drift > 1e-3


def test_a_wider_network_is_lazier() -> None:
    narrow, wide = (
        laziness(NtkScaled(width), INPUTS, LABELS, loss=F.cross_entropy, optimizer_factory=sgd, steps=30)
        for width in (8, 2048)
    )

    assert wide.looks[-1].kernel_drift < 0.2 * narrow.looks[-1].kernel_drift
    assert wide.looks[-1].weight_drift < 0.2 * narrow.looks[-1].weight_drift


def test_nothing_of_the_network_or_of_the_random_state_is_changed() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = laziness(model, torch.randn(40, 1, 6, 6, generator=GENERATOR), LABELS, loss=F.cross_entropy, steps=4)

    assert found.looks[-1].kernel_drift > 0
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_of_many_outputs_sums_with_random_signs_have_the_same_kernel_in_the_mean() -> None:
    torch.manual_seed(0)
    model = TiedWords()
    tokens = torch.randint(20, (3, 3), generator=GENERATOR)
    whole = mean_tangent_kernel(model, tokens)
    found = torch.stack([mean_tangent_kernel(FewOutputs(model, 16, seed=seed), tokens) for seed in range(20)]).mean(0)

    assert drift(whole, found) < 0.1
    assert mean_tangent_kernel(FewOutputs(model, 60, seed=0), tokens) == pytest.approx(whole)


@pytest.mark.slow
def test_a_transformer_of_transformers_is_looked_at() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 30, "n_positions": 8}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    tokens = torch.randint(30, (6, 5), generator=GENERATOR)
    found = laziness(model, {"input_ids": tokens, "labels": tokens}, steps=6, max_outputs=8)

    assert found.num_outputs == 8
    assert found.looks[-1].loss < found.looks[1].loss
    assert found.looks[-1].alignment is None
    assert found.looks[-1].kernel_drift > 0


def test_it_prints_a_table_with_a_row_a_look() -> None:
    found = laziness(network(), INPUTS, LABELS, loss=F.cross_entropy, steps=8, looks=3)
    lines = str(found).splitlines()

    assert " ".join(lines).startswith("In 8 steps of Adam(lr=0.001) on cross_entropy the tangent kernel moved by")
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0].isdigit()] == list("0248")
    assert lines[-1] == "kernel of 40 examples, mean over 3 outputs"


def test_it_speaks_vietnamese() -> None:
    found = laziness(network(), INPUTS, LABELS, loss=F.cross_entropy, steps=2, looks=1)
    told = plain_text(LazinessReport(found, "vi"), width=80, encoding="utf-8")

    assert "hạt nhân tiếp tuyến" in told
    assert "alignment" not in told


def test_targets_without_a_loss_are_said_to_be_unused() -> None:
    found = laziness(network(), INPUTS, LABELS, steps=2, looks=1)

    assert found.warnings == ("Targets were given without a loss, so they are not used.",)
    assert "Targets were given without a loss" in str(found)
    assert found.loss == "mean square of the output"
    assert not laziness(network(), INPUTS, LABELS, loss=F.cross_entropy, steps=2, looks=1).warnings


def test_what_has_no_size_at_the_start_has_no_drift() -> None:
    model = nn.Linear(6, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    found = laziness(model, INPUTS, torch.zeros(40, dtype=torch.long), loss=F.cross_entropy, steps=2, looks=1)

    assert [look.weight_drift for look in found.looks] == [0.0, None]
    assert [look.alignment for look in found.looks] == [None, None]  # one class
    assert "-" in str(found).splitlines()[-3].split()


def exploding(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).sum() * float("inf")


def test_what_cannot_be_looked_at_is_told() -> None:
    own = Task(model=network(), batch=INPUTS, step=exploding)
    with pytest.raises(BuilderError, match="Give it as inputs"):
        laziness(own)
    with pytest.raises(ModelError, match="isometry check"):
        laziness(own, INPUTS, steps=2)
    with pytest.raises(DomainError, match="steps=0"):
        laziness(network(), INPUTS, steps=0)
    with pytest.raises(BuilderError, match="from_numpy"):
        laziness(network(), INPUTS.numpy(), LABELS, loss=F.cross_entropy)
    with pytest.raises(ModelError, match="no parameter of the model requires a gradient"):
        laziness(network().requires_grad_(False), INPUTS, LABELS, loss=F.cross_entropy)
    with pytest.raises(DomainError, match="max_bytes is 10"):
        laziness(network(), INPUTS, LABELS, loss=F.cross_entropy, max_bytes=10)
