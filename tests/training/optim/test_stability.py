"""The bound against dense Hessians, and against what the optimisers themselves do on quadratics beside it."""

from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import BuilderError
from isometry.anatomy.task import Task, make_task
from isometry.probes.curvature import stretched_curvature
from isometry.training.optim.stability import LIMIT, gain_of, metrics_of

Factory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
CURVATURES = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)
LINEAR: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "plain": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "heavy ball": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "dampened": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.6, dampening=0.3),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.8, nesterov=True),
    "decay": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.5, weight_decay=0.7),
}
ADAPTIVE: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "Adam": lambda p, lr: torch.optim.Adam(p, lr=lr, eps=1e-3),
    "Adam, other betas": lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.5, 0.99), eps=1e-3),
    "Adam, decay": lambda p, lr: torch.optim.Adam(p, lr=lr, weight_decay=0.4, eps=1e-3),
    "AMSGrad": lambda p, lr: torch.optim.Adam(p, lr=lr, amsgrad=True, eps=1e-3),
    "AdamW": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1, eps=1e-3),
    "RMSprop": lambda p, lr: torch.optim.RMSprop(p, lr=lr, momentum=0.4, eps=1e-3),
    "RMSprop, centred": lambda p, lr: torch.optim.RMSprop(p, lr=lr, centered=True, eps=1e-3),
    "Adagrad": lambda p, lr: torch.optim.Adagrad(p, lr=lr, eps=1e-3),
    "Adagrad, rate decay": lambda p, lr: torch.optim.Adagrad(p, lr=lr, lr_decay=0.3, eps=1e-3),
}


class Quadratic(nn.Module):
    """Half of the sum of curvature times squared weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, curvatures: Tensor) -> Tensor:
        return 0.5 * (curvatures * self.weight.square()).sum()


def quadratic() -> Task:
    return Task(model=Quadratic(), batch=CURVATURES, step=lambda model, batch: model(batch))


def largest(task: Task, optimizer: torch.optim.Optimizer) -> float:
    found = stretched_curvature(task, metrics_of(optimizer), seed=0, iterations=60, close=1e-9)
    assert found is not None
    return found


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(("share", "grows"), [(0.99, False), (1.01, True)])
def test_steps_grow_just_above_the_bound_and_shrink_just_below_it(name: str, share: float, grows: bool) -> None:
    task = quadratic()
    ratio = largest(task, LINEAR[name](task.model.parameters(), 0.1)) / LIMIT
    optimizer = LINEAR[name](task.model.parameters(), 0.1 * share / ratio)
    for _ in range(3000):
        optimizer.zero_grad()
        task.compute_loss().backward()
        optimizer.step()

    assert (float(task.compute_loss().detach()) > 1) == grows


@pytest.mark.parametrize(("share", "grows"), [(0.98, False), (1.02, True)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_with_a_settled_preconditioner_grows_just_above_its_bound(
    share: float, grows: bool, decay: float
) -> None:
    task = quadratic()
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1.0, weight_decay=decay, betas=(0.9, 1 - 1e-12))
    squares = torch.tensor([0.09, 1.0, 0.25], dtype=torch.float64)
    optimizer.state[task.model.weight] = {
        "step": torch.tensor(1e16),
        "exp_avg": torch.zeros(3, dtype=torch.float64),
        "exp_avg_sq": squares.clone(),
    }
    optimizer.param_groups[0]["lr"] = share * LIMIT / largest(task, optimizer)
    task.model.weight.data.fill_(1e-3)
    for _ in range(3000):
        optimizer.zero_grad()
        task.compute_loss().backward()
        optimizer.step()
        optimizer.state[task.model.weight]["exp_avg_sq"].copy_(squares)

    assert (float(task.model.weight.detach().abs().max()) > 1e-3) == grows


def test_the_bounds_are_those_of_the_papers() -> None:
    task = quadratic()
    sharpest = float(CURVATURES.max())

    assert LIMIT * 0.1 / largest(task, LINEAR["heavy ball"](task.model.parameters(), 0.1)) == pytest.approx(
        2 * (1 + 0.9) / sharpest
    )
    assert LIMIT * 0.1 / largest(task, LINEAR["nesterov"](task.model.parameters(), 0.1)) == pytest.approx(
        (2 + 2 * 0.8) / (1 + 2 * 0.8) / sharpest
    )


def test_at_adams_usual_momentum_the_bound_is_38_over_the_rate() -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=1e-3)

    assert LIMIT / gain_of(optimizer) == pytest.approx(38 / 1e-3)


@pytest.mark.parametrize("name", [*LINEAR, *ADAPTIVE])
def test_the_largest_eigenvalue_is_that_of_the_dense_matrix(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    inputs, targets = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    task = make_task(model, inputs, targets, loss=F.mse_loss, batch_size=20)
    optimizer = {**LINEAR, **ADAPTIVE}[name](model.parameters(), 0.01)
    for size in (100.0, 1.0, 1.0, 1.0, 0.0):  # so that AMSGrad's maximum is not the mean
        optimizer.zero_grad()
        (size * task.compute_loss()).backward()
        optimizer.step()
    optimizer.zero_grad()
    factor, pull = (torch.cat(parts) for parts in zip(*flat_metrics(model, optimizer), strict=True))
    root = factor.sqrt()
    dense = root[:, None] * hessian(model, inputs, targets) * root + torch.diag(pull)

    assert largest(task, optimizer) == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)


def flat_metrics(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, Tensor]]:
    """Return an optimiser's factor and pull of every weight by the formulas of torch's documentation."""
    group = optimizer.param_groups[0]
    rate, decay = group["lr"], group["weight_decay"]
    found: list[tuple[Tensor, Tensor]] = []
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        match type(optimizer).__name__:
            case "SGD":
                beta = group["momentum"]
                divisor = torch.ones_like(parameter)
                gain = (1 + 2 * beta) / (1 + beta) if group["nesterov"] else (1 - group["dampening"]) / (1 + beta)
            case "RMSprop":
                mean = state["grad_avg"] if group["centered"] else torch.zeros_like(parameter)
                divisor = (state["square_avg"] - mean**2).sqrt() + group["eps"]
                gain = 1 / (1 + group["momentum"])
            case "Adagrad":
                divisor, gain = (1 + 5 * group["lr_decay"]) * (state["sum"].sqrt() + group["eps"]), 1.0
            case _:
                beta1, beta2 = group["betas"]
                squares = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
                divisor = (1 - beta1**5) * ((squares / (1 - beta2**5)).sqrt() + group["eps"])
                gain = (1 - beta1) / (1 + beta1)
        factor = (rate * gain / divisor.detach()).flatten()
        is_decoupled = isinstance(optimizer, torch.optim.AdamW)
        found.append((factor, torch.full_like(factor, rate * decay) if is_decoupled else decay * factor))
    return found


def hessian(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    shapes = [(name, each.shape) for name, each in model.named_parameters()]

    def loss_of(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for _, shape in shapes])
        weights = {name: part.reshape(shape) for (name, shape), part in zip(shapes, parts, strict=True)}
        return F.mse_loss(torch.func.functional_call(model, weights, (inputs,)), targets)

    start = torch.cat([each.detach().flatten() for each in model.parameters()])
    return torch.func.jacrev(torch.func.jacrev(loss_of))(start)


def test_groups_with_rates_of_their_own_are_judged_together() -> None:
    task = quadratic()
    other = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([{"params": [task.model.weight], "lr": 0.4}, {"params": [other], "lr": 100.0}], lr=0.1)

    assert largest(task, optimizer) == pytest.approx(0.4 * float(CURVATURES.max()))


def test_the_rate_of_adagrad_is_that_of_its_next_step() -> None:
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.Adagrad([parameter], lr=0.3, lr_decay=0.5)
    for _ in range(3):
        parameter.grad = torch.full_like(parameter, 2.0)
        optimizer.step()
    before = float(parameter.detach())
    factor = metrics_of(optimizer)[id(parameter)].factor

    parameter.grad = torch.full_like(parameter, 1e-4)  # too small to change the sum of squares
    optimizer.step()

    assert before - float(parameter.detach()) == pytest.approx(1e-4 * float(factor), rel=1e-6)


def test_an_optimiser_without_a_known_bound_is_named_with_those_that_have_one() -> None:
    optimizer = torch.optim.ASGD([nn.Parameter(torch.ones(2))])

    with pytest.raises(BuilderError, match=r"known for ASGD, but for SGD, RMSprop, .* AdamW one is\. Ask with"):
        metrics_of(optimizer)
