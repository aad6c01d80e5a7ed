from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from isometry._errors import DomainError
from isometry.lab.apparatus.digits import mnist_5k
from isometry.lab.experiment import Measured
from isometry.lab.experiments.default_start import BOOK, HE, MXNET, STARTS, DefaultStartSettings
from isometry.lab.runner import find_experiment
from tests.lab.experiments.seeds import claims_of, measured, not_held, require_drawable, require_held

EXPERIMENT = find_experiment("default-start")
TINY = DefaultStartSettings(depths=(1, 3), width=8, num_train=60, num_epochs=2)
CHECK = DefaultStartSettings(depths=(1, 2), width=16, num_train=100, num_epochs=8, batch_size=30, learning_rate=0.5)

# Per cent with 1, 2, 3, 4, 6 and 8 hidden layers.
SEEN = {
    BOOK: [90.7, 89.9, 34.3, 9.0, 9.0, 9.0],
    MXNET: [91.1, 91.5, 91.5, 91.7, 91.5, 65.3],
    HE: [90.6, 92.5, 91.4, 91.4, 91.7, 92.0],
}


def altered(start: str, place: int, value: float) -> list[Measured]:
    row = list(SEEN[start])
    row[place] = value
    return [{**SEEN, start: row}]


def test_a_small_run_has_an_accuracy_for_every_start_and_depth_and_is_drawn() -> None:
    found = measured(EXPERIMENT, TINY, 0)

    assert {start: len(row) for start, row in found[0].items()} == dict.fromkeys(STARTS, 2)
    require_drawable(EXPERIMENT, TINY, found)


def accuracy_in_a_plain_loop(start: str, depth: int) -> float:
    """Return what one network of `CHECK` reaches from one start, in per cent."""
    digits, generator, weights = mnist_5k(), torch.Generator().manual_seed(6), list[Tensor]()
    sizes = [196] + [16] * depth + [10]
    for into, out in pairwise(sizes):
        book, he = torch.randn(2, into, out, generator=generator)
        mxnet = 0.14 * torch.rand(into, out, generator=generator) - 0.07
        weights.append({"N(0, 0.01²)": 0.01 * book, "U(-0.07, 0.07)": mxnet, "He": (2 / into) ** 0.5 * he}[start])
    biases = [torch.zeros(out, requires_grad=True) for out in sizes[1:]]
    optimiser = torch.optim.SGD([*(weight.requires_grad_() for weight in weights), *biases], 0.5)

    def outputs(signal: Tensor) -> Tensor:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            signal = (signal @ weight + bias).relu()
        return signal @ weights[-1] + biases[-1]

    for _ in range(8):
        for rows in torch.randperm(100, generator=generator).split(30):
            optimiser.zero_grad()
            functional.cross_entropy(outputs(digits.images[rows]), digits.labels[rows]).backward()
            optimiser.step()
    return 100 * (outputs(digits.images[-1000:]).argmax(1) == digits.labels[-1000:]).double().mean().item()


@pytest.mark.parametrize("start", STARTS)
def test_starts_side_by_side_do_as_one_alone_in_a_plain_loop(start: str) -> None:
    (found,) = measured(EXPERIMENT, CHECK, 6)
    alone = [accuracy_in_a_plain_loop(start, depth) for depth in CHECK.depths]

    assert alone[0] > 25.0  # something is learned, so that another start would show
    assert found[start] == pytest.approx(alone, abs=0.31)  # three images


def test_a_run_is_its_seeds_alone() -> None:
    one, again, other = measured(EXPERIMENT, TINY, 0, 0, 1)

    assert one == again
    assert one != other


def test_depths_that_do_not_rise_are_refused() -> None:
    with pytest.raises(DomainError):
        DefaultStartSettings(depths=(3, 1))


def test_what_was_seen_holds_every_claim() -> None:
    claims = claims_of("default-start", [SEEN])

    assert len(claims) == 5
    assert not_held(claims) == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        pytest.param(altered(BOOK, 1, 80.0), "N(0, 0.01²) is behind", id="two layers do not learn"),
        pytest.param(altered(BOOK, 4, 60.0), "nothing is learned", id="six do"),
        pytest.param(altered(MXNET, 3, 80.0), "U(-0.07, 0.07) is behind", id="four do not from the wider one"),
        pytest.param(altered(MXNET, 5, 90.0), "with the most layers", id="eight do"),
        pytest.param(altered(HE, 4, 80.0), "every depth learns", id="He fails"),
    ],
)
def test_each_claim_can_fail_alone(found: list[Any], word: str) -> None:
    (refuted,) = not_held(claims_of("default-start", found))

    assert word in refuted


@pytest.mark.slow
def test_the_quick_preset_holds() -> None:
    require_held("default-start", 0)
