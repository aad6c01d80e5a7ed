from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Generator

from isometry.lab.apparatus.equal_parts import (
    CLASSES,
    NUMBERS,
    TOKENS,
    Parts,
    balance,
    channels,
    constant_units,
    experts,
    heads,
    mirrored_units,
    random_units,
    recurrent_units,
    scaled_units,
)

Build = Callable[[int, Generator], Parts]
EQUAL: list[tuple[str, Build]] = [
    ("constant", constant_units),
    ("mirrored", mirrored_units),
    ("scaled", scaled_units),
    ("recurrent", recurrent_units),
    ("channels", channels),
    ("heads", heads),
    ("experts", partial(experts, router_scale=1.0)),
]


def built(build: Build, count: int = 4, seed: int = 0) -> Parts:
    return build(count, torch.Generator().manual_seed(seed))


def examples() -> torch.Tensor:
    return torch.randn(5, TOKENS, NUMBERS, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize(("name", "build"), EQUAL)
def test_parts_start_with_equal_rows(name: str, build: Build) -> None:
    network = built(build)
    rows = network.rows()

    assert rows.shape[0] == 4, name
    assert torch.allclose(rows, rows[:1].expand_as(rows), rtol=1e-12, atol=1e-14)
    assert network.outputs(examples()).shape == (5, CLASSES)


@pytest.mark.parametrize("build", [random_units, channels, heads, partial(experts, router_scale=0.0)])
def test_parts_may_be_exchanged(build: Build) -> None:
    network = built(build)
    before = network.outputs(examples()).detach()
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        for name, parameter in network.parameters.items():
            if name == "maps":
                parameter.copy_(parameter[:, order])
            elif len(parameter) == 4:
                parameter.copy_(parameter[order])

    assert torch.allclose(network.outputs(examples()), before, rtol=1e-12)


def test_units_at_other_scales_and_signs_are_the_same_function() -> None:
    # Every unit does what the first does, so the network does what that unit does, four times.
    for build in (mirrored_units, scaled_units):
        network = built(build)
        first = {name: values.detach()[:1] for name, values in network.parameters.items()}
        signal = examples().flatten(1) @ first["into"].T + first["bias"].T
        alone = (signal.tanh() if build is mirrored_units else signal.relu()) @ first["out"]

        assert torch.allclose(network.outputs(examples()), 4 * alone, rtol=1e-12)


def test_dropout_leaves_units_out_and_keeps_the_mean() -> None:
    kept = built(partial(constant_units, dropout=0.5), count=2000).outputs(examples())
    whole = built(constant_units, count=2000).outputs(examples())

    assert not torch.equal(kept, whole)
    assert torch.allclose(kept, whole, rtol=0.1)


def test_the_balance_is_that_of_squares() -> None:
    network = built(scaled_units, count=3)
    into, out = (network.parameters[name].detach() for name in ("into", "out"))

    assert torch.allclose(balance(network.parameters), into.norm(dim=1) ** 2 - out.norm(dim=1) ** 2)
