"""Which bounded functions are saturated, wherever they stand, and which attentions look at one key or at all."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.attention import AttentionTable
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.saturation import Saturation
from tests.anatomy.layers import mean_square
from tests.findings.broken_signal import set_gates
from tests.findings.networks import Function


def shares(model: nn.Module, x: Tensor) -> dict[str, float]:
    """From each function's kind to its largest saturated share; nothing where nothing is bounded at both ends."""
    try:
        places = measure(gather(Task(model=model, batch=x, step=mean_square), [Saturation]), Saturation).places
    except NotMeasuredError:
        return {}
    return {place.kind: max(each.share for each in places if each.kind == place.kind) for place in places}


class Gated(nn.Module):
    """A gated unit whose gates a bias may hold shut."""

    def __init__(self, *, scale: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.value, self.gate, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.gate.weight.data.mul_(scale)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.value(x) * self.gate(x).sigmoid())


@pytest.mark.parametrize(
    ("scale", "bias", "is_saturated"),
    [
        pytest.param(1.0, 0.0, False, id="half open"),
        pytest.param(1.0, -8.0, False, id="held shut by a bias"),
        pytest.param(100.0, 0.0, True, id="torn to both ends by its weights"),
    ],
)
def test_a_gate_is_saturated_only_at_both_ends(scale: float, bias: float, is_saturated: bool) -> None:
    torch.manual_seed(0)
    found = shares(Gated(scale=scale, bias=bias), torch.randn(64, 16))

    assert (found.get("gate", 0.0) > 0.8) is is_saturated


@pytest.mark.parametrize(
    ("bias", "is_saturated"),
    [pytest.param(0.0, True, id="at both ends"), pytest.param(-60.0, False, id="at the rare class's prior")],
)
def test_an_output_is_saturated_only_at_both_ends(bias: float, is_saturated: bool) -> None:
    torch.manual_seed(0)
    head = nn.Linear(32, 4)
    head.weight.data.mul_(1 if bias else 60)
    nn.init.constant_(head.bias, bias)
    found = shares(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), head, nn.Sigmoid()), torch.randn(64, 16))

    assert (found.get("gate", 0.0) > 0.5) is is_saturated


def cells(kind: Callable[..., nn.RNNBase], change: Callable[[nn.RNNBase], object]) -> nn.Module:
    made = kind(8, 32, batch_first=True)
    change(made)
    return nn.Sequential(made, Function(lambda out: out[0][:, -1]), nn.Linear(32, 3))  # pyright: ignore[reportArgumentType] - a recurrent module returns a pair


def leave(made: nn.RNNBase) -> None:
    """Change nothing."""
    assert made.all_weights


def open_gates(made: nn.RNNBase) -> None:
    assert isinstance(made, nn.LSTM)
    set_gates(made, forget=torch.tensor(9.0))


def enlarge(made: nn.RNNBase) -> None:
    made.all_weights[0][0].data.mul_(200)


def shut(made: nn.RNNBase) -> None:
    """Keep the old state for ever: the update gate of a GRU open, the input gate of an LSTM shut."""
    made.all_weights[0][2].data[32 : 64 if isinstance(made, nn.GRU) else 32] = 12.0
    if isinstance(made, nn.LSTM):
        set_gates(made, forget=torch.tensor(9.0), into=torch.tensor(-12.0))


def remember(made: nn.RNNBase) -> None:
    """Keep the state for a thousand steps, as chrono initialisation does."""
    assert isinstance(made, nn.GRU)
    made.all_weights[0][2].data[32:64] = torch.linspace(1, 999, 32).log()


@pytest.mark.parametrize(
    ("kind", "change", "is_saturated"),
    [
        pytest.param(nn.LSTM, leave, False, id="LSTM as torch draws it"),
        pytest.param(nn.LSTM, enlarge, True, id="LSTM with huge weights"),
        pytest.param(nn.LSTM, open_gates, False, id="forget gates open"),
        pytest.param(nn.GRU, leave, False, id="GRU as torch draws it"),
        pytest.param(nn.GRU, enlarge, True, id="GRU with huge weights"),
        pytest.param(nn.RNN, leave, False, id="RNN as torch draws it"),
        pytest.param(nn.RNN, enlarge, True, id="RNN with huge weights"),
    ],
)
def test_gates_inside_of_recurrences_are_seen(
    kind: Callable[..., nn.RNNBase], change: Callable[[nn.RNNBase], object], is_saturated: bool
) -> None:
    torch.manual_seed(0)
    found = shares(cells(kind, change), torch.randn(16, 12, 8))

    assert (found.get("recurrence", 0.0) > 0.8) is is_saturated


@pytest.mark.parametrize(
    ("kind", "change", "is_shut"),
    [
        pytest.param(nn.LSTM, leave, False, id="LSTM as torch draws it"),
        pytest.param(nn.LSTM, open_gates, False, id="forget gates open"),
        pytest.param(nn.LSTM, shut, True, id="LSTM that lets nothing in"),
        pytest.param(nn.GRU, leave, False, id="GRU as torch draws it"),
        pytest.param(nn.GRU, remember, False, id="GRU that remembers for long"),
        pytest.param(nn.GRU, shut, True, id="GRU that lets nothing in"),
    ],
)
def test_gates_that_let_nothing_in_are_seen(
    kind: Callable[..., nn.RNNBase], change: Callable[[nn.RNNBase], object], is_shut: bool
) -> None:
    torch.manual_seed(0)
    found = shares(cells(kind, change), torch.randn(16, 12, 8))

    assert (found.get("shut", 0.0) > 0.8) is is_shut


class Attention(nn.Module):
    """One of several ways to attend, with scores at a scale."""

    def __init__(self, way: str, scale: float) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.way, self.scale = way, scale

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            each(x).unflatten(-1, (4, 8)).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        if self.way == "opaque":
            return F.scaled_dot_product_attention(query * self.scale, key, value).sum(1)
        if self.way == "causal":
            return F.scaled_dot_product_attention(query * self.scale, key, value, is_causal=True).sum(1)
        if self.way == "masked":
            mask = torch.ones(12, 12).tril().bool()
            return F.scaled_dot_product_attention(query * self.scale, key, value, attn_mask=mask).sum(1)
        if self.way == "mask of numbers":
            mask = -1e4 * torch.ones(12, 12).triu(1)
            return F.scaled_dot_product_attention(query * self.scale, key, value, attn_mask=mask).sum(1)
        scores = query @ key.transpose(-1, -2) * self.scale / 8**0.5
        return (scores.softmax(-1) @ value).sum(1)


def attention(way: str, scale: float) -> tuple[float, float]:
    torch.manual_seed(0)
    model = Attention(way, scale)
    task = make_task(model, torch.randn(8, 12, 32), torch.randn(8, 12, 8), loss=F.mse_loss)
    (numbers,) = measure(gather(task, [AttentionTable]), AttentionTable).attentions
    return numbers.one_hot_share, numbers.deviation


@pytest.mark.parametrize("way", ["by hand", "opaque", "causal", "masked"])
def test_attention_is_one_hot_at_large_scores_and_even_at_small_ones(way: str) -> None:
    one_hot, usual, even = attention(way, 1000.0), attention(way, 1.0), attention(way, 1e-6)

    assert one_hot[0] > 0.9
    assert usual[0] == even[0] == 0.0
    assert even[1] < 1e-4 < usual[1] < 1.0 < one_hot[1]


def test_opaque_attention_is_measured_as_that_by_hand() -> None:
    # Of opaque attention two samples are measured, and of the other all eight.
    assert attention("opaque", 3.0) == pytest.approx(attention("by hand", 3.0), rel=0.1)
    assert attention("causal", 3.0) == pytest.approx(attention("masked", 3.0), rel=1e-4)
    assert attention("causal", 3.0) == pytest.approx(attention("mask of numbers", 3.0), rel=1e-4)


class OneQuery(nn.Module):
    """One query a sample, whose weights have no axis of queries; or weights that a router makes of the sample."""

    def __init__(self, scale: float, *, compares: bool = True) -> None:
        super().__init__()
        self.query, self.key, self.router = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 11)
        self.scale, self.compares = scale, compares

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.einsum("bd,bjd->bj", self.query(x[:, -1]), self.key(x[:, :-1]))
        weights = ((scores if self.compares else self.router(x[:, 0])) * self.scale).softmax(-1)
        return torch.einsum("bj,bjd->bd", weights, x[:, :-1])


@pytest.mark.parametrize(
    ("scale", "is_one_hot"), [pytest.param(500.0, True, id="large"), pytest.param(0.2, False, id="usual")]
)
def test_one_query_a_sample_is_an_attention_too(scale: float, is_one_hot: bool) -> None:
    torch.manual_seed(0)
    task = Task(model=OneQuery(scale), batch=torch.randn(16, 12, 32), step=mean_square)
    (numbers,) = measure(gather(task, [AttentionTable]), AttentionTable).attentions

    assert (numbers.one_hot_share > 0.8) is is_one_hot


def test_a_router_is_no_attention() -> None:
    task = Task(model=OneQuery(500.0, compares=False), batch=torch.randn(16, 12, 32), step=mean_square)
    with pytest.raises(NotMeasuredError, match="no attention"):
        measure(gather(task, [AttentionTable]), AttentionTable)


def test_a_softmax_that_weighs_no_data_is_no_attention() -> None:
    model = nn.Sequential(nn.Linear(16, 8), Function(lambda x: x.softmax(-1)), nn.Linear(8, 2))
    with pytest.raises(NotMeasuredError, match="no attention"):
        measure(
            gather(Task(model=model, batch=torch.randn(4, 5, 16), step=mean_square), [AttentionTable]), AttentionTable
        )


def test_attention_names_the_layers_that_make_its_scores() -> None:
    model = Attention("by hand", 1.0)
    task = make_task(model, torch.randn(8, 12, 32), torch.randn(8, 12, 8), loss=F.mse_loss)
    (numbers,) = measure(gather(task, [AttentionTable]), AttentionTable).attentions

    assert set(numbers.layers) == {"query", "key"}
