import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.evidence import NotMeasuredError, gather
from isometry.probes.jacobian import measure_jacobian
from isometry.probes.jacobian_result import JacobianResult
from tests.findings.networks import Residual, classify, stack


def jacobian_of(task: Task) -> JacobianResult:
    return measure_jacobian(gather(task, []), num_vectors=2)


def gaussian(model: nn.Module, gain: float, *, orthogonal: bool = False) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if orthogonal:
                nn.init.orthogonal_(module.weight, gain)
            else:
                nn.init.normal_(module.weight, std=gain / math.sqrt(module.in_features))
            nn.init.zeros_(module.bias)
    return model


def test_the_jacobian_of_a_linear_network_is_the_product_of_its_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 7), nn.Linear(7, 4))
    values = torch.linalg.svdvals(model[2].weight @ model[1].weight @ model[0].weight).detach()
    found = jacobian_of(classify(model, width=6, classes=4))

    assert found.num_samples == 4
    assert found.whole.values == pytest.approx(values.repeat_interleave(4).tolist(), rel=1e-4)
    assert found.whole.mean_square == pytest.approx(float(values.square().sum()) / 4, rel=1e-4)
    assert [layer.name for layer in found.layers] == ["0 to 1", "1 to 2"]


def test_the_jacobian_is_that_of_torch_func_on_the_first_samples() -> None:
    torch.manual_seed(0)
    model = stack(5, 8, 8, 3, activation=nn.Tanh).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    task = make_task(model, x, torch.randint(3, (4,)), loss=F.cross_entropy)
    x = task.batch.inputs  # in the order in which the task took them
    dense = torch.stack([torch.func.jacrev(model)(each) for each in x])
    exact = torch.linalg.svdvals(dense).flatten().sort(descending=True).values

    assert jacobian_of(task).whole.values == pytest.approx(exact.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("activation", "gain", "orthogonal"),
    [
        pytest.param(nn.ReLU, math.sqrt(2), False, id="ReLU at He"),
        pytest.param(nn.ReLU, 1.0, False, id="ReLU that shrinks"),
        pytest.param(nn.Tanh, 1.2, False, id="tanh"),
        pytest.param(nn.Tanh, 1.0, True, id="orthogonal tanh"),
        pytest.param(nn.GELU, 1.3, False, id="GELU"),
    ],
)
def test_theory_predicts_what_is_measured(activation: type[nn.Module], gain: float, orthogonal: bool) -> None:
    torch.manual_seed(0)
    model = gaussian(stack(128, *[128] * 8, 128, activation=activation), gain, orthogonal=orthogonal)
    found = jacobian_of(classify(model, width=128, classes=128))
    assert found.theory is not None
    assert found.hidden is not None

    # width 128, four samples: fluctuations of the logarithm of some depth / width
    assert found.whole.mean_square == pytest.approx(found.theory.mean_square, rel=0.25)
    assert found.hidden.mean_square == pytest.approx(found.theory.hidden_mean_square, rel=0.25)


@pytest.mark.parametrize(
    ("activation", "gain", "orthogonal"),
    [
        pytest.param(nn.ReLU, math.sqrt(2), False, id="ReLU at He"),
        pytest.param(nn.Tanh, 1.2, False, id="tanh"),
        pytest.param(nn.Tanh, 1.0, True, id="orthogonal tanh"),
    ],
)
def test_theory_predicts_the_spread_too(activation: type[nn.Module], gain: float, orthogonal: bool) -> None:
    torch.manual_seed(0)
    model = gaussian(stack(128, *[128] * 8, 128, activation=activation), gain, orthogonal=orthogonal)
    found = jacobian_of(classify(model, width=128, classes=128))
    assert found.theory is not None
    assert found.hidden is not None
    assert found.theory.hidden_spread is not None

    # the fourth moment fluctuates more than the second; GELU, whose lengths differ between samples, errs by a third
    assert found.hidden.spread == pytest.approx(found.theory.hidden_spread, rel=0.25)


@pytest.mark.parametrize(("gain", "phase"), [(0.7, "vanishing"), (2.0, "chaotic")])
def test_the_phase_is_that_of_the_weights(gain: float, phase: str) -> None:
    torch.manual_seed(0)
    model = gaussian(stack(64, *[64] * 5, 10, activation=nn.Tanh), gain)
    theory = jacobian_of(classify(model, width=64)).theory

    assert theory is not None
    assert theory.phase == phase


class Tokens(nn.Module):
    """Embedding, one attention layer, head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, 20)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.embed(x)))


class Recurrent(nn.Module):
    """An LSTM that is read at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(5, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def test_tokens_are_followed_from_their_embedding_through_attention() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(20, (8, 6))
    task = make_task(Tokens(), tokens, tokens, loss=lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()))
    found = jacobian_of(task)

    assert found.whole.mean_square > 0
    assert "residual" in found.why_no_theory


def test_a_recurrent_layer_is_passed() -> None:
    torch.manual_seed(0)
    task = make_task(Recurrent(), torch.randn(16, 7, 5), torch.randint(3, (16,)), loss=F.cross_entropy)
    found = jacobian_of(task)

    assert found.whole.largest > 0
    assert "lstm" in found.why_no_theory


def test_a_single_layer_has_no_way_from_layer_to_layer() -> None:
    jacobian = jacobian_of(classify(nn.Sequential(nn.Linear(16, 10))))

    assert jacobian.layers == ()
    assert jacobian.whole.largest > 0


def test_samples_coupled_by_batch_norm_are_taken_as_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = jacobian_of(classify(model))

    assert found.num_samples == 0
    assert found.theory is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param(nn.Sequential(nn.Linear(16, 16), Residual(stack(16, 16, 16)), nn.Linear(16, 10)), "residual"),
        pytest.param(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)), "fewer than 3"),
        pytest.param(
            nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10)), "different"
        ),
        pytest.param(
            nn.Sequential(
                nn.Linear(16, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10)
            ),
            "normalises",
        ),
    ],
)
def test_what_is_no_plain_stack_has_no_prediction_and_a_reason(model: nn.Module, reason: str) -> None:
    torch.manual_seed(0)
    found = jacobian_of(classify(model))

    assert found.theory is None
    assert reason in found.why_no_theory


def test_a_network_whose_loss_is_no_number_has_no_jacobian() -> None:
    model = stack(16, 16, 10)
    nn.init.constant_(model[0].weight, math.nan)
    with pytest.raises(NotMeasuredError, match="not finite"):
        jacobian_of(classify(model))


def test_the_mean_square_of_an_estimate_is_over_the_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(300, 400), nn.Linear(400, 900))
    exact = float((model[1].weight @ model[0].weight).detach().square().sum()) / 900
    found = measure_jacobian(gather(make_task(model, torch.randn(8, 300)), []), num_vectors=8).whole

    # 300 directions of 4 samples each, 8 of them drawn: the trace errs by some per cent
    assert not found.values
    assert found.mean_square == pytest.approx(exact, rel=0.1)
