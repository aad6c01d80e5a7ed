"""Rules on units and layers that are copies, and on fans."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from isometry.anatomy.task import make_task
from isometry.findings import RULES
from isometry.planning.copies import Clones, EqualLayers, Fate
from isometry.planning.inventory import Inventory
from isometry.probes.duplicates import EqualSlices
from isometry.probes.evidence import NotMeasuredError, gather, measure
from isometry.probes.fans import WrongFan, WrongFans
from isometry.probes.twins import TwinTable, TwinUnits

NONE = Clones(())


def units(distinct: int, fate: Any = "stay", **settings: Any) -> TwinTable:
    dropout = settings.pop("has_dropout", False)
    return TwinTable((TwinUnits("layer", 64, distinct, fate, **settings),), has_dropout=dropout)


def clones(fate: Fate) -> Clones:
    return Clones((EqualLayers(("a", "b", "c"), ("a.weight", "b.weight", "c.weight"), fate),))


HEADS = EqualSlices(axis=0, num_slices=64, num_copies=48, first=0, again=16, block=16, is_regular=True)


@pytest.mark.parametrize(
    ("table", "severities", "words"),
    [
        pytest.param(TwinTable(()), [], "", id="nothing"),
        pytest.param(units(32), [None], "only 32 are distinct", id="half of the units"),
        pytest.param(units(56), ["warning"], "the same gradient", id="an eighth"),
        pytest.param(units(63), ["note"], "the same gradient", id="one pair"),
        pytest.param(units(2, is_mirrored=True), [None], "negatives", id="mirror images"),
        pytest.param(units(16, places=HEADS), [None], "the 16 units of 'layer' from 0 on", id="heads"),
        pytest.param(units(2, "drift"), ["warning"], "too slowly", id="nearly equal"),
        pytest.param(units(60, "drift"), ["note"], "too slowly", id="a few nearly equal"),
        pytest.param(units(2, "part"), ["note"], "the first step parts them", id="parted by what reads them"),
        pytest.param(units(2, "part", has_dropout=True), ["note"], "dropout", id="parted by dropout"),
    ],
)
def test_copies_count_by_what_they_cost_and_what_becomes_of_them(
    table: TwinTable, severities: list[str | None], words: str
) -> None:
    drafts = list(RULES["INI102"](table, NONE))

    assert [draft.severity for draft in drafts] == severities
    assert all(words in draft.cause for draft in drafts)


@pytest.mark.parametrize(
    ("fate", "symmetric", "duplicate"),
    [("stay", [None], [None]), ("part", [], ["note"]), ("unknown", [], [None])],
)
def test_clones_are_symmetric_if_their_gradients_are_equal(
    fate: Fate, symmetric: list[str | None], duplicate: list[str | None]
) -> None:
    assert [draft.severity for draft in RULES["INI102"](TwinTable(()), clones(fate))] == symmetric
    assert [draft.severity for draft in RULES["INI106"](clones(fate))] == duplicate


class Parallel(nn.Module):
    """Copies of one network side by side."""

    def __init__(self, *, is_weighted: bool) -> None:
        super().__init__()
        part = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))
        self.parts = nn.ModuleList(copy.deepcopy(part) for _ in range(3))
        self.weights = [1.0, 2.0, 3.0] if is_weighted else [1.0, 1.0, 1.0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(weight * part(x) for weight, part in zip(self.weights, self.parts, strict=True))


@pytest.mark.parametrize(("is_weighted", "fate"), [(False, "stay"), (True, "part")])
def test_a_batch_tells_what_becomes_of_clones(*, is_weighted: bool, fate: Fate) -> None:
    torch.manual_seed(0)
    task = make_task(Parallel(is_weighted=is_weighted), torch.randn(32, 6))
    (layers,) = measure(gather(task, [Clones]), Clones).layers

    assert (layers.modules, layers.fate) == (("parts.0", "parts.1", "parts.2"), fate)


def test_the_inventory_of_a_pretrained_model_is_not_held_against_it() -> None:
    task = replace(make_task(nn.Linear(4, 2), torch.randn(8, 4)), is_fresh=False)

    with pytest.raises(NotMeasuredError, match="pretrained"):
        measure(gather(task, [Inventory]), Inventory)


@pytest.mark.parametrize(
    ("fans", "severities"),
    [
        pytest.param((), [], id="none"),
        pytest.param((50.0,), [], id="half a fan"),
        pytest.param((10.0,), ["note"], id="a factor of three"),
        pytest.param((0.5,), ["warning"], id="a factor of fourteen"),
        pytest.param((1.0, 1.0, 1.0, 1.0), [None], id="four layers a decade each"),
        pytest.param((1.0, 1e4), [], id="factors that make up for each other"),
    ],
)
def test_a_wrong_fan_counts_by_what_it_does_to_the_signal(
    fans: tuple[float, ...], severities: list[str | None]
) -> None:
    table = WrongFans(tuple(WrongFan("w", "w", "He's", fan, 100.0) for fan in fans))

    assert [draft.severity for draft in RULES["INI112"](table)] == severities
