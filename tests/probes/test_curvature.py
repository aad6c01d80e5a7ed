import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from isometry.probes.curvature import largest_curvature, stability_bound


def test_the_curvature_of_a_linear_regression_is_that_of_its_inputs() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(50, 4) * torch.tensor([1.0, 2.0, 3.0, 6.0])
    task = make_task(nn.Linear(4, 1, bias=False), inputs, torch.randn(50, 1), loss=F.mse_loss)
    expected = 2 * torch.linalg.eigvalsh(inputs.T @ inputs / 50)[-1]

    assert largest_curvature(task, seed=0) == pytest.approx(float(expected), rel=1e-2)


def test_the_curvature_of_a_network_is_that_of_its_dense_hessian() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    inputs, targets = torch.randn(20, 3), torch.randn(20, 1)

    def loss_of(flat: Tensor) -> Tensor:
        parts = flat.split([each.numel() for each in model.parameters()])
        named = zip(model.named_parameters(), parts, strict=True)
        weights = {name: part.reshape(old.shape) for (name, old), part in named}
        return F.mse_loss(torch.func.functional_call(model, weights, (inputs,)), targets)

    start = torch.cat([each.detach().flatten() for each in model.parameters()])
    dense = torch.func.jacrev(torch.func.jacrev(loss_of))(start)
    task = make_task(model, inputs, targets, loss=F.mse_loss)

    assert largest_curvature(task, seed=0) == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=0.03)


def test_attention_has_a_curvature_too() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    task = make_task(layer, torch.randn(4, 6, 16), torch.randn(4, 6, 16), loss=F.mse_loss)

    assert (largest_curvature(task, seed=0) or 0) > 0


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(Task(model=nn.Linear(2, 1), batch=torch.ones(3, 2), step=lambda m, x: m(x).sum()), id="flat"),
        pytest.param(
            Task(model=nn.Linear(2, 1), batch=torch.ones(3, 2), step=lambda m, x: -m(x).square().mean()), id="downwards"
        ),
    ],
)
def test_a_loss_that_never_curves_upwards_has_none(task: Task) -> None:
    assert largest_curvature(task, seed=0) is None


@pytest.mark.parametrize(("rate", "is_stable"), [(0.99, True), (1.01, False)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent_on_a_quadratic_is_stable_just_below_the_bound(
    rate: float, is_stable: bool, momentum: float
) -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=rate * stability_bound(3.0, momentum), momentum=momentum)
    for _ in range(3000):
        optimizer.zero_grad()
        (1.5 * weight.square()).backward()
        optimizer.step()

    assert (abs(float(weight.detach())) < 1) == is_stable


def test_a_step_that_calls_backward_itself_is_judged_by_what_it_called_it_on() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(50, 4)

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        for part in model(batch).square().chunk(2):
            (part.sum() / len(batch)).backward()
        return torch.zeros(())

    task = Task(model=nn.Linear(4, 1, bias=False), batch=inputs, step=step)
    expected = 2 * torch.linalg.eigvalsh(inputs.T @ inputs / 50)[-1]

    assert largest_curvature(task, seed=0) == pytest.approx(float(expected), rel=1e-2)


def test_a_loss_that_is_not_finite_has_none_either() -> None:
    task = make_task(nn.Linear(2, 1), torch.full((3, 2), torch.inf), torch.ones(3, 1), loss=F.mse_loss)

    assert largest_curvature(task, seed=0) is None
