"""The first operation that makes a NaN or an infinity."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.probes.evidence import gather, measure
from isometry.probes.nonfinite import NonFiniteOrigin
from tests.anatomy.layers import mean_square


class LogForward(torch.autograd.Function):
    """A logarithm with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        return x.log()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - autograd's signature
        return gradient


class RootBackward(torch.autograd.Function):
    """A rectified root, whose derivative divides by zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0).sqrt()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / x.clamp_min(0).sqrt()


class Net(nn.Module):
    """Two layers with names, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("table", torch.zeros(4))
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def origin_of(
    forward: Callable[[Any, Tensor], Any], x: Tensor | None = None, step: Any = mean_square
) -> NonFiniteOrigin:
    torch.manual_seed(0)
    x = torch.randn(8, 4) if x is None else x
    return origin(Net(forward), x, step)


def origin(model: nn.Module, x: Any, step: Any = mean_square) -> NonFiniteOrigin:
    return measure(gather(Task(model=model, batch=x, step=step), [NonFiniteOrigin]), NonFiniteOrigin)


def causal(m: Any, x: Tensor, rows: int = 0) -> Tensor:
    scores = m.first(x) @ m.second(x).T
    mask = torch.ones(8, 8).triu(1).bool()
    mask[:rows] = True
    return scores.masked_fill(mask, -math.inf).softmax(-1) @ x


FORWARD: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "log of a negative": (lambda m, x: m.second(torch.log(m.first(x))), "log"),
    "root of a negative": (lambda m, x: m.second(m.first(x).sqrt()), "sqrt"),
    "nothing over nothing": (lambda m, x: m.second(m.first(x) * 0 / (m.first(x) * 0)), "div"),
    "one over nothing": (lambda m, x: m.second(1 / (m.first(x) * 0)), "div"),
    "overflow": (lambda m, x: m.second(torch.exp(m.first(x) * 1e4)), "exp"),
    "overflow of half": (lambda m, x: m.second((m.first(x) * 1e6).half().float()), "half"),
    "power": (lambda m, x: m.second(m.first(x) ** 0.5), "pow"),
    "fully masked softmax": (lambda m, x: causal(m, x, rows=2), "softmax"),
    "times infinity": (lambda m, x: m.second(m.first(x) * math.inf), "mul"),
    "in place": (lambda m, x: m.second(m.first(x).clone().log_()), "log"),
    "in a custom function": (lambda m, x: m.second(LogForward.apply(m.first(x))), "log"),
    "one of two that are masked": (lambda m, x: m.second(m.first(x)) + (m.first(x).log() * 0), "log"),
    "of parameters alone": (lambda m, x: m.second(x) * torch.log(m.second.bias * 0), "log"),
}


@pytest.mark.parametrize(("forward", "operation"), FORWARD.values(), ids=FORWARD.keys())
def test_the_operation_that_makes_it_is_named(forward: Callable[[Any, Tensor], Any], operation: str) -> None:
    found = origin_of(forward)

    assert (found.during, found.operation) == ("forward", operation)
    assert found.count > 0


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(causal, id="causal mask"),
        pytest.param(lambda m, x: m.second(F.logsigmoid(m.first(x))), id="log sigmoid"),
        pytest.param(lambda m, x: m.second(torch.where(m.first(x) > 0, m.first(x), -math.inf).clamp(-1)), id="clamped"),
        pytest.param(lambda m, x: m.second(torch.nan_to_num(m.first(x).log().detach()) + m.first(x)), id="mended"),
    ],
)
def test_finite_losses_are_silent(forward: Callable[[Any, Tensor], Any]) -> None:
    assert origin_of(forward) == NonFiniteOrigin(None)


def penalty(m: Any, x: Tensor) -> Tensor:
    """The norm of a gradient that is zero."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((m.first(x) * 0).sum(), x, create_graph=True)
    return (gradient.square().sum(1, keepdim=True).sqrt() - 1).square()


BACKWARD: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "root at zero": (lambda m, x: m.second(x) + torch.sqrt((m.first(x) * 0).sum()), "sqrt"),
    "power at zero": (lambda m, x: m.second(x) + (m.first(x) * 0).sum() ** 0.5, "pow"),
    "where": (lambda m, x: m.second(torch.where(m.first(x) > 0, m.first(x).sqrt(), 0.0)), "sqrt"),
    "root of a parameter": (lambda m, x: m.second(x) + torch.sqrt(m.first.bias * 0), "sqrt"),
    "custom function": (lambda m, x: m.second(RootBackward.apply(m.first(x))), "RootBackward"),
    "masked root": (lambda m, x: m.second((m.first(x) * 0).sqrt().masked_fill(x < 9, 0.0)), "sqrt"),
    "inside a norm of its own": (
        lambda m, x: m.second(x) / (1 + (m.first(x) * 0).square().sum(1, keepdim=True).sqrt()),
        "sqrt",
    ),
    "gradient penalty": (lambda m, x: m.second(x) + penalty(m, x), "sqrt"),
    "singular vectors": (lambda m, x: torch.linalg.svd(torch.eye(4) + 0 * m.first(x)[:4])[0], "linalg_svd"),
    "arc cosine at one": (lambda m, x: m.second(x) + torch.acos((m.first(x) * 0).sum() + 1), "acos"),
}


@pytest.mark.parametrize(("forward", "operation"), BACKWARD.values(), ids=BACKWARD.keys())
def test_the_operation_whose_derivative_makes_it_is_named(
    forward: Callable[[Any, Tensor], Any], operation: str
) -> None:
    found = origin_of(forward)

    assert (found.during, found.operation) == ("backward", operation)
    assert found.count > 0


def test_a_norm_at_zero_is_silent_where_torch_defines_its_derivative() -> None:
    assert origin_of(lambda m, x: m.second(x) + (m.first(x) * 0).norm()) == NonFiniteOrigin(None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_is_named(value: float) -> None:
    x = torch.randn(8, 4)
    x[3, 1] = value
    model = Net(lambda m, x: m.second(m.first(x)))
    task = make_task(model, x, torch.zeros(8, 4), loss=F.mse_loss)
    found = measure(gather(task, [NonFiniteOrigin]), NonFiniteOrigin)

    assert found == NonFiniteOrigin("batch", "inputs", "", 1, 32)


def test_targets_that_are_not_finite_are_named() -> None:
    model = Net(lambda m, x: m.second(m.first(x)))
    task = make_task(model, torch.randn(8, 4), torch.full((8, 4), math.nan), loss=F.mse_loss)

    assert measure(gather(task, [NonFiniteOrigin]), NonFiniteOrigin).where == "targets"


def test_a_batch_of_any_class_that_is_not_finite_is_named() -> None:
    class Graph:
        def __init__(self) -> None:
            self.x = torch.full((8, 4), math.nan)

    found = origin(Net(lambda m, graph: m.second(m.first(graph.x))), Graph())

    assert (found.during, found.count) == ("batch", 32)


def test_a_mask_of_infinities_in_the_batch_is_not_to_blame() -> None:
    mask = torch.zeros(8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), -math.inf)

    def step(model: nn.Module, batch: Any) -> Tensor:
        return model(batch).square().mean()

    def forward(m: Any, batch: Any) -> Tensor:
        x, scores = batch
        return (torch.log(m.first(x)) @ m.second(x).T + scores).softmax(-1)

    found = origin(Net(forward), (torch.randn(8, 4), mask), step)

    assert (found.during, found.operation) == ("forward", "log")


@pytest.mark.parametrize("name", ["first.weight", "second.bias", "table"])
def test_a_parameter_or_buffer_that_is_not_finite_is_named(name: str) -> None:
    model = Net(lambda m, x: m.second(m.first(x)) + m.table)
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    tensors[name].data.view(-1)[0] = math.nan
    found = origin(model, torch.randn(8, 4))

    assert (found.during, found.where) == ("parameter", name)


def test_the_largest_number_that_was_read_is_told() -> None:
    found = origin_of(lambda m, x: m.second(torch.exp(m.first(x) * 0 + 1000.0)))

    assert found.largest_input == pytest.approx(1000.0)
    assert (found.count, found.total) == (32, 32)


def test_a_nan_of_a_backward_pass_inside_the_step_is_named_by_its_operation() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = (x * 0).requires_grad_()
        (gradient,) = torch.autograd.grad(m.second(m.first(x) + x.sqrt()).sum(), x, create_graph=True)
        return gradient

    found = origin_of(forward)

    assert (found.during, found.operation) == ("backward", "sqrt")


def test_a_parameter_is_named_where_no_data_was_read() -> None:
    assert origin_of(lambda m, x: m.second(x) * torch.log(m.second.bias * 0)).where == "second.bias"


def test_a_function_of_the_users_is_told_from_torchs() -> None:
    assert origin_of(lambda m, x: m.second(RootBackward.apply(m.first(x)))).is_custom


def test_the_layers_before_an_operation_are_told() -> None:
    found = origin_of(lambda m, x: (m.second(x) + m.first(x).relu()).log())

    assert set(found.upstream) == {"first", "second"}


def half(scale: float) -> Task:
    torch.manual_seed(0)
    model = Net(lambda m, x: m.second(m.first(x)))
    return Task(
        model=model,
        batch=torch.randn(8, 4),
        step=lambda model, batch: model(batch).float().square().sum() * scale,
        context=lambda: torch.autocast("cpu", dtype=torch.float16),
    )


@pytest.mark.parametrize(
    ("scale", "during"),
    [
        pytest.param(1.0, None, id="no scale"),
        pytest.param(2.0**16, None, id="a loss scale, whose scaler skips such steps"),
        pytest.param(77777.0, "backward", id="a large loss"),
    ],
)
def test_gradients_that_overflow_by_a_loss_scale_are_meant(scale: float, during: str | None) -> None:
    task = half(scale)

    assert measure(gather(task, [NonFiniteOrigin]), NonFiniteOrigin).during == during


def later(
    loss: Callable[[Tensor], Tensor], *, rate: float, steps: int = 20, dtype: torch.dtype = torch.float32
) -> NonFiniteOrigin:
    """The origin in the first steps of gradient descent on a loss of one layer's outputs."""
    torch.manual_seed(0)
    task = Task(
        model=nn.Linear(4, 3).to(dtype),
        batch=torch.randn(16, 4).to(dtype),
        step=lambda model, batch: loss(model(batch)),
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=rate),
    )
    return measure(gather(task, [NonFiniteOrigin], steps=steps), NonFiniteOrigin)


def entropy(out: Tensor) -> Tensor:
    shares = (40 * out).softmax(1)
    return -(shares * shares.log()).sum(1).mean()


def test_an_operation_that_leaves_the_numbers_after_a_few_steps_is_named() -> None:
    found = later(entropy, rate=0.2)

    assert (found.during, found.operation) == ("forward", "log")
    assert 0 < found.steps < 20


@pytest.mark.parametrize(
    ("loss", "rate", "steps"),
    [
        pytest.param(entropy, 0.2, 0, id="no trial"),
        pytest.param(entropy, 1e-5, 20, id="small steps"),
        pytest.param(lambda out: (1e3 * out).pow(4).mean(), 1e9, 20, id="growth until it overflows"),
        pytest.param(lambda out: out.log_softmax(1)[:, 0].exp().mean(), 1.0, 20, id="a loss that stays finite"),
    ],
)
def test_steps_are_to_blame_for_what_only_grows(loss: Callable[[Tensor], Tensor], rate: float, steps: int) -> None:
    assert later(loss, rate=rate, steps=steps).during is None


@pytest.mark.parametrize(
    ("dtype", "during"), [(torch.float16, "update"), (torch.bfloat16, None), (torch.float32, None)]
)
def test_the_optimiser_is_named_where_its_constant_is_zero(dtype: torch.dtype, during: str | None) -> None:
    found = later(lambda out: out.float().square().mean() * 1e-2, rate=1e-3, dtype=dtype)

    assert found.during == during
    assert found.operation == ("" if during is None else "Adam")


class Normalised(torch.optim.Optimizer):
    """Steps of one length for each number, as a user writes them."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1e-3})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - returns no loss
        """Divide each gradient by its own size."""
        del closure
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(1e-3 * parameter.grad / parameter.grad.abs())


def made(kind: Callable[..., torch.optim.Optimizer], **settings: float) -> OptimizerFactory:
    return lambda given: kind(given, **settings)


@pytest.mark.parametrize(
    ("factory", "during"),
    [
        pytest.param(made(torch.optim.Adam, lr=1e-3, eps=0.0), "update", id="Adam without eps"),
        pytest.param(made(torch.optim.RMSprop, lr=1e-3, eps=0.0), "update", id="RMSprop without eps"),
        pytest.param(Normalised, "update", id="an optimiser of one's own"),
        pytest.param(made(torch.optim.Adam, lr=1e-3), None, id="Adam as it comes"),
        pytest.param(made(torch.optim.SGD, lr=1e38), None, id="steps that overflow"),
    ],
)
def test_an_optimiser_that_divides_zero_by_zero_is_named(factory: OptimizerFactory, during: str | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    inputs = torch.cat([torch.randn(32, 7), torch.zeros(32, 1)], dim=1)  # as the border of pictures
    task = make_task(model, inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy, optimizer_factory=factory)
    found = measure(gather(task, [NonFiniteOrigin], steps=20), NonFiniteOrigin)

    assert found.during == during
    assert found.where == ("" if during is None else "0.weight")
    assert during is None or found.steps == 0
