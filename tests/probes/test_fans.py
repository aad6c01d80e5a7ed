"""Weights that are drawn for another fan than they have, and those that only look like it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import init

from isometry.anatomy.task import Task
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.fans import WrongFan, WrongFans
from tests.anatomy.layers import mean_square


class Product(nn.Module):
    """x @ W, stored (in, out), between two layers."""

    def __init__(self, draw: Callable[[Tensor], object], into: int = 64, out: int = 256) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(into, out))
        draw(self.weight)
        self.head = nn.Linear(out, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x @ self.weight))


class Beside(nn.Module):
    """The same product in a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.back, self.head = Product(init.kaiming_normal_), nn.Linear(4, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.back(self.weight(x)))


def he(fan: float) -> Callable[[Tensor], object]:
    return lambda weight: init.normal_(weight, std=math.sqrt(2 / fan))


def depthwise(fan: float, *, norm: bool = False) -> nn.Module:
    layer = nn.Conv2d(16, 16, 3, groups=16)
    he(fan)(layer.weight)
    return nn.Sequential(layer, nn.BatchNorm2d(16) if norm else nn.Identity(), nn.ReLU(), nn.Conv2d(16, 4, 3))


def usual(mode: str) -> nn.Module:
    layer = nn.Linear(64, 256)
    init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(256, 4))


def fans_of(model: nn.Module, x: Tensor, *, is_fresh: bool = True) -> WrongFans:
    return measure(gather(Task(model=model, batch=x, step=mean_square, is_fresh=is_fresh), [WrongFans]), WrongFans)


VECTORS, PICTURES = torch.ones(8, 64), torch.ones(4, 16, 8, 8)
CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, list[tuple[str, float, float]]]] = {
    "nn.init on x @ W": (lambda: Product(init.kaiming_normal_), VECTORS, [("He's", 256.0, 64.0)]),
    "the default's bound on x @ W": (
        lambda: Product(lambda w: init.uniform_(w, -1 / 16, 1 / 16)),
        VECTORS,
        [("PyTorch's default", 256.0, 64.0)],
    ),
    "0.02, which fits a fan of 2500": (
        lambda: Product(lambda w: init.normal_(w, std=0.02), 64, 2500),
        VECTORS,
        [],
    ),
    "a branch beside the trunk": (Beside, torch.ones(4, 64), []),
    "x @ W by its own fan": (lambda: Product(he(64)), VECTORS, []),
    "Glorot on x @ W": (lambda: Product(init.xavier_normal_), VECTORS, []),
    "a square x @ W": (lambda: Product(init.kaiming_normal_, 64, 64), VECTORS, []),
    "a small deviation": (lambda: Product(lambda w: init.normal_(w, std=0.05)), VECTORS, []),
    "numbers of deviation 1": (lambda: Product(init.normal_, 256, 1), torch.ones(4, 256), []),
    "half of that": (lambda: Product(lambda w: init.normal_(w, std=0.53), 256, 1), torch.ones(4, 256), []),
    "the backward fan, chosen": (lambda: usual("fan_out"), VECTORS, []),
    "the forward fan": (lambda: usual("fan_in"), VECTORS, []),
    "depthwise as if dense": (lambda: depthwise(9 * 16), PICTURES, [("He's", 144.0, 9.0)]),
    "depthwise": (lambda: depthwise(9), PICTURES, []),
    "depthwise under a norm": (lambda: depthwise(9 * 16, norm=True), PICTURES, []),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("build", "x", "expected"), CASES.values(), ids=CASES.keys())
def test_a_deviation_is_told_by_rule_and_fan(
    build: Callable[[], nn.Module], x: Tensor, expected: list[tuple[str, float, float]], seed: int
) -> None:
    torch.manual_seed(seed)
    fans = fans_of(build(), x)

    assert [(each.rule, each.fan, each.true_fan) for each in fans.weights] == expected


def test_pretrained_weights_follow_no_rule() -> None:
    with pytest.raises(NotMeasuredError, match="pretrained"):
        fans_of(Product(init.kaiming_normal_), VECTORS, is_fresh=False)


def wrong(fan: float) -> WrongFan:
    return WrongFan("w", "w", "He's", fan, 100.0)


@pytest.mark.parametrize(
    ("weights", "decades"),
    [
        pytest.param((wrong(1.0),), 1.0, id="too large"),
        pytest.param((wrong(1.0), wrong(10.0)), 1.5, id="factors multiply"),
        pytest.param((wrong(1.0), wrong(1e4)), 0.0, id="and make up for each other"),
    ],
)
def test_the_signal_is_off_by_the_product_of_the_factors(weights: tuple[WrongFan, ...], decades: float) -> None:
    assert WrongFans(weights).decades == pytest.approx(decades)
