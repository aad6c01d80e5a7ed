"""Networks that do not train, each with the finding that must lead: severity error, explained by no other."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from tests.findings.networks import Function, LowRank, Residual, classify, he, own_loss, stack

BROKEN: dict[str, tuple[str, Callable[[], Task]]] = {}


def broken(name: str) -> Callable[[Callable[[], Task]], Callable[[], Task]]:
    """Enter a builder with the name of its leading finding."""

    def enter(build: Callable[[], Task]) -> Callable[[], Task]:
        BROKEN[build.__name__.replace("_", "-")] = (name, build)
        return build

    return enter


def constant(model: nn.Module, value: float) -> nn.Module:
    """Set every parameter to one number."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def with_biases(model: nn.Module, value: float) -> nn.Module:
    """Set every bias to one number."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.constant_(parameter, value)
    return model


# ---- gradients and signal ----


@broken("vanishing-gradient")
def sigmoid_30() -> Task:
    return classify(stack(16, *[64] * 30, 10, activation=nn.Sigmoid))


@broken("vanishing-gradient")
def relu_30() -> Task:
    return classify(stack(16, *[64] * 30, 10))


@broken("vanishing-gradient")
def tanh_40() -> Task:
    return classify(stack(16, *[64] * 40, 10, activation=nn.Tanh))


@broken("vanishing-gradient")
def relu_8_at_a_tenth_of_he() -> Task:
    return classify(he(stack(16, *[64] * 8, 10), 0.1))


@broken("vanishing-gradient")
def gelu_convolutions_20() -> Task:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1), nn.GELU()]
    for _ in range(20):
        layers += [nn.Conv2d(16, 16, 3, 1, 1), nn.GELU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return make_task(model, torch.randn(16, 3, 8, 8), torch.randint(10, (16,)), loss=F.cross_entropy)


@broken("exploding-gradient")
def relu_8_at_ten_times_he() -> Task:
    return classify(he(stack(16, *[64] * 8, 10), 10.0))


@broken("exploding-gradient")
def batch_norm_without_residuals_60() -> Task:
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()) for _ in range(60)]
    return classify(he(nn.Sequential(nn.Linear(16, 64), *blocks, nn.Linear(64, 10))))


@broken("exploding-gradient")
def residual_100_unscaled() -> Task:
    blocks = [Residual(he(stack(32, 32, 32))) for _ in range(100)]
    return classify(nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 10)))


@broken("dying-relu")
def relu_with_large_negative_biases() -> Task:
    return classify(with_biases(stack(16, 64, 64, 10), -5.0))


@broken("dying-relu")
def functional_relu_with_negative_biases() -> Task:
    return classify(nn.Sequential(with_biases(nn.Linear(16, 64), -5.0), Function(F.relu), nn.Linear(64, 10)))


@broken("dying-relu")
def relu_method_with_negative_biases() -> Task:
    return classify(nn.Sequential(with_biases(nn.Linear(16, 64), -5.0), Function(Tensor.relu), nn.Linear(64, 10)))


@broken("dying-relu")
def clamp_with_negative_biases() -> Task:
    clamp = Function(lambda x: x.clamp(min=0))
    return classify(nn.Sequential(with_biases(nn.Linear(16, 64), -5.0), clamp, nn.Linear(64, 10)))


@broken("dying-relu")
def relu6_with_negative_biases() -> Task:
    return classify(nn.Sequential(with_biases(nn.Linear(16, 64), -5.0), nn.ReLU6(), nn.Linear(64, 10)))


@broken("dying-relu")
def maximum_with_negative_biases() -> Task:
    zero = Function(lambda x: torch.maximum(x, torch.zeros(())))
    return classify(nn.Sequential(with_biases(nn.Linear(16, 64), -5.0), zero, nn.Linear(64, 10)))


@broken("unnormalised-input")
def tanh_on_raw_pixels() -> Task:
    model = stack(64, 64, 64, 10, activation=nn.Tanh)
    return make_task(model, 255 * torch.rand(64, 64), torch.randint(10, (64,)), loss=F.cross_entropy)


@broken("saturated-activation")
def sigmoid_with_huge_weights() -> Task:
    model = stack(16, 64, 64, 10, activation=nn.Sigmoid)
    he(model[:4], 20.0)
    return classify(model)


# ---- weights ----


@broken("constant-weights")
def all_weights_a_twentieth() -> Task:
    return classify(constant(stack(16, 64, 64, 10), 0.05))


@broken("constant-weights")
def all_zeros() -> Task:
    return classify(constant(stack(16, 64, 64, 10), 0.0))


@broken("constant-weights")
def all_convolutions_constant() -> Task:
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = constant(nn.Sequential(*layers, nn.Linear(16, 10)), 0.05)
    return make_task(model, torch.randn(16, 3, 12, 12), torch.randint(10, (16,)), loss=F.cross_entropy)


@broken("symmetric-units")
def every_unit_twice() -> Task:
    model = stack(16, 64, 64, 10)
    model[0].weight.data[32:], model[0].bias.data[32:] = model[0].weight.data[:32], model[0].bias.data[:32]
    model[2].weight.data[:, 32:] = model[2].weight.data[:, :32]
    return classify(model)


@broken("vanishing-gradient")
def sigmoid_200() -> Task:
    return classify(stack(16, *[32] * 200, 10, activation=nn.Sigmoid))


@broken("no-gradient")
def step_function_between_layers() -> Task:
    return classify(nn.Sequential(stack(16, 64, 64), Function(torch.sign), stack(64, 64, 64, 10)))


@broken("no-gradient")
def rounding() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), Function(torch.round), nn.Linear(64, 10)))


# ---- parameters ----


@broken("no-gradient")
def detached_body() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), Function(Tensor.detach), nn.Linear(64, 10)))


@broken("no-gradient")
def step_function() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 64), Function(torch.sign), nn.Linear(64, 10)))


@broken("no-gradient")
def body_under_no_grad() -> Task:
    body = stack(16, 64, 64)

    def quietly(x: Tensor) -> Tensor:
        with torch.no_grad():
            return body(x)

    wrapped = Function(quietly)
    wrapped.body = body
    return classify(nn.Sequential(wrapped, nn.Linear(64, 10)))


@broken("no-gradient")
def loss_of_the_argmax() -> Task:
    model = stack(16, 32, 10)
    inputs = torch.randn(32, 16)
    return make_task(
        model, inputs, torch.randint(10, (32,)), loss=lambda out, y: (out.argmax(1) - y).float().square().mean()
    )


@broken("constant-weights")
def lora_with_both_factors_zero() -> Task:
    layer = LowRank(16, 10)
    nn.init.zeros_(layer.down)
    return classify(layer)


@broken("constant-weights")
def two_zero_layers_on_the_trunk() -> Task:
    model = stack(16, 64, 64, 10)
    for layer in (model[2], model[4]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return classify(model)


# ---- arithmetic ----


@broken("nan-inf")
def nan_in_the_batch() -> Task:
    inputs = torch.randn(32, 16)
    inputs[3, 4] = math.nan
    return make_task(stack(16, 32, 10), inputs, torch.randint(10, (32,)), loss=F.cross_entropy)


@broken("nan-inf")
def nan_in_a_parameter() -> Task:
    model = stack(16, 32, 10)
    model[2].weight.data[1, 1] = math.nan
    return classify(model)


@broken("nan-inf")
def log_of_a_negative_number() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 32), Function(torch.log), nn.Linear(32, 10)))


@broken("nan-inf")
def root_at_zero() -> Task:
    class Distance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = stack(16, 32, 8)

        def forward(self, x: Tensor) -> Tensor:
            out = self.body(x)
            return (out - out[:1]).square().sum(1).sqrt().mean()

    return own_loss(Distance(), torch.randn(16, 16))


@broken("low-precision-overflow")
def overflow_in_half_precision() -> Task:
    def loud(x: Tensor) -> Any:
        return x * 60000.0

    model = (
        nn.Sequential(nn.Linear(16, 32), Function(loud), Function(torch.square), nn.Linear(32, 10)).bfloat16().half()
    )
    return make_task(
        model, torch.randn(32, 16).half(), torch.randint(10, (32,)), loss=lambda out, y: F.cross_entropy(out.float(), y)
    )


# ---- training ----


def learnable(factory: OptimizerFactory) -> Task:
    """Labels that the inputs tell, so that a sensible step learns them."""
    inputs = torch.randn(128, 16)
    return make_task(
        stack(16, 64, 64, 3), inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy, optimizer_factory=factory
    )


@broken("learning-rate-too-high")
def gradient_descent_at_thirty() -> Task:
    return learnable(lambda parameters: torch.optim.SGD(parameters, lr=30.0))


@broken("learning-rate-too-low")
def adam_at_a_hundred_millionth() -> Task:
    return learnable(lambda parameters: torch.optim.Adam(parameters, lr=1e-8))


@broken("unoptimised-parameters")
def optimiser_of_another_model() -> Task:
    other = stack(16, 64, 64, 3)
    return learnable(lambda _: torch.optim.Adam(other.parameters()))
