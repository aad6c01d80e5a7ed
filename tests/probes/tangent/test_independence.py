"""Each example's gradients are those that it has alone, or the module is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import ModelError
from isometry.probes.tangent.kernel import mean_tangent_kernel, tangent_kernel

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(8, 5, generator=GENERATOR, dtype=torch.float64)


class Sorted(nn.Module):
    """Takes its examples in another order inside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        order = inputs[:, 0].argsort()
        return self.head(torch.tanh(self.layer(inputs[order]))[order.argsort()])


class Flipped(Sorted):
    """Takes them backwards."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(inputs.flip(0)).flip(0)))


class LateSorted(Sorted):
    """Swaps only examples beyond the first two, so that no pair shows it."""

    def forward(self, inputs: Tensor) -> Tensor:
        order = torch.arange(len(inputs))
        order[2:] = order[2:].flip(0)
        return self.head(torch.tanh(self.layer(inputs[order]))[order])


class Adaptive(nn.Module):
    """Uses a layer a second time for some of the examples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, is_hard = self.layer(inputs).tanh(), inputs[:, :1] > 0
        return self.head(torch.where(is_hard, self.layer(hidden).tanh(), hidden) if is_hard.any() else hidden)


class Experts(nn.Module):
    """Sends each example to one of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(5, 2), nn.Linear(4, 2)
        self.experts = nn.ModuleList([nn.Linear(5, 4) for _ in range(2)])

    def forward(self, inputs: Tensor) -> Tensor:
        shares = self.gate(inputs).softmax(-1)
        mixed = inputs.new_zeros(len(inputs), 4)
        for number, expert in enumerate(self.experts):
            rows = (shares.argmax(-1) == number).nonzero()[:, 0]
            mixed = mixed.index_add(0, rows, expert(inputs[rows]) * shares[rows, number : number + 1])
        return self.head(torch.tanh(mixed))


class Trimmed(nn.Module):
    """Cuts its examples to the longest beside them, and takes means."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(1, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        longest = int((inputs != 0).sum(1).max())
        return self.head(torch.tanh(self.layer(inputs[:, :longest, None])).mean(1))


class Chosen(Sorted):
    """Passes a layer more or not by all examples together."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.layer(inputs)
        return self.head(hidden.tanh() if inputs[:, 0].sum() > 0 else hidden)


LENGTHS = torch.tensor([2, 2, 2, 5, 1, 3, 4, 2])[:, None] > torch.arange(5)


@pytest.mark.parametrize("max_bytes", [2**30, 16_000, 11_000], ids=["one block", "small blocks", "smaller blocks"])
@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        pytest.param(Trimmed, INPUTS * LENGTHS, id="cut to the longest"),
        pytest.param(Chosen, INPUTS[INPUTS[:, 0].argsort()], id="chosen by a sum"),
    ],
)
def test_what_more_than_two_examples_show_is_taken_by_one_example_at_a_time(
    build: Callable[[], nn.Module], inputs: Tensor, max_bytes: int
) -> None:
    torch.manual_seed(0)
    model = build().double()

    torch.testing.assert_close(tangent_kernel(model, inputs, max_bytes=max_bytes), dense(model, inputs))


def dense(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the kernel by autograd, an example at a time."""
    trained = list(model.parameters())
    rows = [
        torch.stack(
            [
                torch.cat(
                    [
                        part.flatten()
                        for part in torch.autograd.grad(each, trained, retain_graph=True, materialize_grads=True)
                    ]
                )
                for each in model(inputs[row : row + 1]).flatten()
            ]
        )
        for row in range(len(inputs))
    ]
    return torch.einsum("icp,jdp->icjd", torch.stack(rows), torch.stack(rows))


@pytest.mark.parametrize("max_bytes", [2**30, 14_000], ids=["one block", "small blocks"])
@pytest.mark.parametrize("build", [Sorted, Flipped, LateSorted, Adaptive, Experts])
@pytest.mark.parametrize("order", [range(8), INPUTS[:, 0].argsort().tolist()], ids=["as drawn", "sorted"])
def test_a_layer_that_mixes_the_rows_of_a_block_is_taken_by_one_example_at_a_time(
    build: Callable[[], nn.Module], order: list[int], max_bytes: int
) -> None:
    torch.manual_seed(0)
    model, inputs = build().double(), INPUTS[list(order)]
    expected = dense(model, inputs)

    torch.testing.assert_close(tangent_kernel(model, inputs, max_bytes=max_bytes), expected)
    torch.testing.assert_close(
        mean_tangent_kernel(model, inputs, inputs[:3], max_bytes=max_bytes),
        expected[:, :, :3].diagonal(dim1=1, dim2=3).mean(-1),
    )


class Small(nn.Module):
    """Gives small outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return 1e-4 * self.model(inputs)


class BatchAsTime(nn.Module):
    """Forgot `batch_first`: later examples see earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.memory, self.head = nn.Linear(5, 5), nn.LSTM(5, 4), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.memory(self.first(inputs)[:, None])[0][:, 0])


def normed() -> nn.Module:
    images = nn.Unflatten(1, (1, 5))
    return nn.Sequential(images, nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))


def dropped() -> nn.Module:
    head = nn.Linear(8, 2)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), head)


@pytest.mark.parametrize(
    ("build", "rows"),
    [
        pytest.param(lambda: Small(normed()), range(8), id="small outputs"),
        pytest.param(normed, [0, 0, 1, 2], id="first two alike"),
        pytest.param(dropped, range(8), id="a head of zeros"),
        pytest.param(BatchAsTime, range(8), id="batch as time"),
    ],
)
def test_examples_that_touch_one_another_or_chance_are_refused(build: Callable[[], nn.Module], rows: list[int]) -> None:
    torch.manual_seed(0)
    with pytest.raises(ModelError, match=r"Call model\.eval\(\) first"):
        tangent_kernel(build().double(), INPUTS[list(rows)])


def test_in_eval_mode_a_head_of_zeros_has_its_kernel() -> None:
    torch.manual_seed(0)
    model = dropped().double().eval()

    torch.testing.assert_close(tangent_kernel(model, INPUTS), dense(model, INPUTS))


class Frozen(nn.Module):
    """Trains only what its outputs do not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(5, 2).requires_grad_(False), nn.Linear(5, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.used(inputs)


class Blind(nn.Linear):
    """Runs with gradients off."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        with torch.no_grad():
            return super().forward(input)


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        pytest.param(Frozen(), INPUTS, "no trained parameter of Frozen reaches its outputs", id="frozen"),
        pytest.param(Blind(5, 2), INPUTS, "no trained parameter of Blind reaches its outputs", id="no gradients"),
        pytest.param(nn.Linear(5, 2), INPUTS * torch.nan, "outputs are not finite", id="not finite"),
        pytest.param(nn.Linear(5, 2), INPUTS.numpy(), r"torch\.from_numpy", id="arrays"),
        pytest.param(nn.Bilinear(5, 5, 2), (INPUTS, INPUTS[:4]), "a module around the model", id="lengths"),
        pytest.param(nn.Linear(5, 2), INPUTS[:0], "one an example", id="empty"),
    ],
)
def test_what_has_no_kernel_is_told(model: nn.Module, inputs: object, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tangent_kernel(model.double(), inputs)


class HalfInside(nn.Module):
    """Computes in bfloat16, and gives float32."""

    def __init__(self, *, autocast: bool) -> None:
        super().__init__()
        self.layer, self.head, self.autocast = nn.Linear(5, 4), nn.Linear(4, 2), autocast
        if not autocast:
            self.layer.bfloat16()

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            hidden = self.layer(inputs if self.autocast else inputs.bfloat16())
            return self.head(torch.tanh(hidden if self.autocast else hidden.float()))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 5)], ids=["one row", "several rows"])
def test_layers_of_half_precision_have_a_kernel_in_float32(shape: tuple[int, ...], autocast: bool) -> None:
    torch.manual_seed(0)
    model, inputs = HalfInside(autocast=autocast), torch.randn(shape, generator=GENERATOR)
    found, expected = tangent_kernel(model, inputs), dense(model, inputs)

    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.02
    assert tangent_kernel(nn.Linear(5, 2).bfloat16(), INPUTS.bfloat16()).dtype == torch.float32


def test_halves_that_cancel_leave_rounding_and_that_is_no_dependence() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 64), nn.Linear(64, 3)
            with torch.no_grad():
                self.first.weight[32:], self.first.bias[32:] = self.first.weight[:32], self.first.bias[:32]
                self.last.weight[:, 32:] = -self.last.weight[:, :32]
                self.last.bias.zero_()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(self.first(inputs).relu())

    model, inputs = Halves(), INPUTS.float()

    assert model(inputs).abs().max() < 1e-6
    assert torch.allclose(tangent_kernel(model, inputs).double(), dense(model, inputs).double(), rtol=1e-4, atol=1e-5)
