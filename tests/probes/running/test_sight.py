import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.probes.running.steps import layers_of, measured, rms


def test_a_convolution_counts_channels_and_its_activation_is_found_behind_its_norm_and_its_sum() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            out = self.norm(self.convolution(x))
            out += x
            return F.relu_(out)

    model, x = nn.Sequential(Block(), nn.Flatten(), nn.Linear(48, 2)), torch.randn(16, 3, 4, 4)
    with torch.no_grad():
        model[0].norm.bias[0] = -100.0

    layers = {each.name: each for each in measured(model, lambda: model(x).mean(), steps=16).layers}

    assert [(each.name, each.kind) for each in layers.values()] == [
        ("0.convolution", "conv2d"),
        ("0.norm", "batch_norm"),
        ("2", "linear"),
    ]
    assert layers["0.convolution"].dead_share == pytest.approx(1 / 3)
    assert layers["0.convolution"].zero_share > 0.5
    assert layers["0.norm"].zero_share is None


@pytest.mark.parametrize(
    ("activation", "zeros"),
    [
        pytest.param(F.relu, True, id="relu"),
        pytest.param(nn.ReLU(inplace=True), True, id="in place"),
        pytest.param(lambda x: x.clamp(min=0), True, id="clamp"),
        pytest.param(lambda x: torch.where(x > 0, x, torch.zeros_like(x)), True, id="where"),
        pytest.param(lambda x: torch.maximum(x, torch.zeros(())), True, id="maximum"),
        pytest.param(lambda x: F.leaky_relu(x, 0.0), True, id="leaky without a leak"),
        pytest.param(F.leaky_relu, False, id="leaky"),
        pytest.param(F.gelu, False, id="gelu"),
        pytest.param(F.silu, False, id="silu"),
    ],
)
def test_zeros_are_known_by_what_comes_out(activation: Callable[[Tensor], Tensor], zeros: bool) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(5, 20), nn.Linear(20, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(activation(self.first(x)))

    torch.manual_seed(0)
    share = layers_of(Network(), torch.randn(50, 5))["first"].zero_share

    assert (share > 0.3) if zeros else (share == 0)


@pytest.mark.parametrize("activation", [torch.sigmoid, torch.tanh, F.softsign, F.hardsigmoid, F.hardtanh])
def test_saturation_is_that_of_hidden_layers_and_not_of_gates_or_outputs(
    activation: Callable[[Tensor], Tensor],
) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.gate, self.value, self.head = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            x = activation(1000 * self.hidden(x))
            x = self.value(x) * activation(1000 * self.gate(x)).unsqueeze(0).expand(1, 30, 8)
            return activation(1000 * self.head(x))

    torch.manual_seed(0)
    layers = layers_of(Network(), torch.randn(30, 8))

    assert layers["hidden"].saturated_share > 0.9
    assert layers["gate"].saturated_share is None
    assert layers["head"].saturated_share is None


def test_products_with_parameters_are_layers_under_the_names_of_the_table_of_check() -> None:
    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Parameter(torch.randn(4, 4)) for _ in range(2))
            self.inner = nn.Module()
            self.inner.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            x = x @ self.one
            x = torch.addmm(torch.zeros(4), x, self.two.t())
            return torch.einsum("bi,ij->bj", x, self.inner.weight) @ (self.one @ self.two)

    layers = layers_of(Products(), torch.randn(3, 4))

    assert [(each.name, each.kind) for each in layers.values()] == [
        ("one", "matmul"),
        ("two", "addmm"),
        ("inner", "einsum"),
    ]


def test_a_recurrent_layer_is_one_and_an_embedding_may_share_its_weight_with_the_head() -> None:
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.core, self.head = nn.Embedding(9, 6), nn.LSTM(6, 6), nn.Linear(6, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.core(self.table(x))[0])

    layers = layers_of(Language(), torch.randint(9, (5, 3)))

    assert [(each.name, each.kind) for each in layers.values()] == [
        ("table", "embedding"),
        ("core", "lstm"),
        ("head", "linear"),
    ]


def attention_by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    mask = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
    return logits.masked_fill(mask, -1e4).softmax(-1) @ value


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_the_largest_logit_of_an_attention_is_that_of_the_dense_product(is_by_hand: bool) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(8, 24)

        def forward(self, x: Tensor) -> Tensor:
            query, key, value = self.project(x).view(2, 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
            if is_by_hand:
                return attention_by_hand(query, key, value)
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    torch.manual_seed(0)
    model, x = nn.ModuleDict({"block": Attention()}), torch.randn(2, 6, 8)
    query, key, _ = model["block"].project(x).view(2, 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
    expected = (query @ key.transpose(-1, -2) / 2).tril().abs().max().item()

    layers = layers_of(nn.Sequential(model["block"]), x)

    assert [(each.name, each.kind) for each in layers.values()] == [
        ("0.project", "linear"),
        ("0", "attention"),
    ]
    assert layers["0"].logit_max == pytest.approx(expected, rel=1e-5)


def test_multi_head_attention_is_seen_inside_and_a_head_with_softmax_is_no_attention() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(x, x, x)[0]).softmax(-1)

    layers = layers_of(Network(), torch.randn(2, 5, 8))

    assert [(each.name, each.kind) for each in layers.values()] == [
        ("attention", "linear"),
        ("attention (attention)", "attention"),
        ("attention.out_proj", "linear"),
        ("head", "linear"),
    ]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_segments_are_seen_once(use_reentrant: bool) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inner = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, self.first(x), use_reentrant=use_reentrant)

    layers = layers_of(Network(), torch.randn(30, 4))

    assert list(layers) == ["first", "inner.0", "inner.2"]
    assert layers["inner.0"].zero_share > 0


def test_under_autocast_and_in_half_precision_sizes_are_right() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)), torch.randn(64, 16)

    with torch.autocast("cpu", torch.bfloat16):
        layers = layers_of(model, x)

    assert layers["0"].activation_rms == pytest.approx(rms(F.linear(x, model[0].weight, model[0].bias)), rel=0.05)


def test_empty_batches_have_no_numbers() -> None:
    layers = layers_of(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.zeros(0, 3))

    assert layers["0"].activation_rms is None
    assert layers["0"].zero_share is None
