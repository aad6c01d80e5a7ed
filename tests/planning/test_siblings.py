"""Small modules side by side that are copies, and those that only look like it."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.planning.siblings import equal_siblings
from isometry.probes.evidence import Evidence, gather


def member() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 1))


class Ensemble(nn.Module):
    """Members that read the same; their outputs are added, with factors or without."""

    def __init__(self, *members: nn.Module, factors: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.members, self.factors = nn.ModuleList(members), factors or (1.0,) * len(members)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [factor * each(x) for factor, each in zip(self.factors, self.members, strict=True)]
        return torch.stack(outputs).sum(0)


def copies(count: int = 3) -> list[nn.Module]:
    first = member()
    return [first, *(copy.deepcopy(first) for _ in range(count - 1))]


def constants() -> list[nn.Module]:
    made = [member() for _ in range(2)]
    for each in made:
        for parameter in each.parameters():
            nn.init.constant_(parameter, 0.3)
    return made


def evidence_of(model: nn.Module) -> Evidence:
    x = torch.randn(16, 3)
    return gather(make_task(model, x, x.sum(1, keepdim=True), loss=F.mse_loss), [])


def shared() -> nn.Module:
    one = member()
    return Ensemble(one, one)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("model", "count"),
    [
        pytest.param(lambda: Ensemble(*copies()), 3, id="clones that are added"),
        pytest.param(lambda: Ensemble(*copies(2), member()), 2, id="two clones and another"),
        pytest.param(lambda: Ensemble(*copies(2), factors=(1.0, -0.5)), 0, id="clones that are read differently"),
        pytest.param(lambda: Ensemble(member(), member()), 0, id="members drawn apart"),
        pytest.param(shared, 0, id="one member twice"),
        pytest.param(lambda: Ensemble(*constants()), 0, id="constants, which another rule finds"),
    ],
)
def test_siblings_are_equal_if_numbers_and_gradients_are(model: Callable[[], nn.Module], count: int, seed: int) -> None:
    torch.manual_seed(seed)
    built = model()
    groups = list(equal_siblings(built, evidence_of(built)))

    assert [len(modules) for modules, _ in groups] == ([count] if count else [])


def test_they_are_symmetric_units() -> None:
    torch.manual_seed(0)
    found, _ = run_rules([RULES["INI102"]], gather_for_rule(Ensemble(*copies())))

    assert [(each.severity, each.where) for each in found] == [("error", ("members.0", "members.1", "members.2"))]


def gather_for_rule(model: nn.Module) -> Evidence:
    x = torch.randn(16, 3)
    return gather(make_task(model, x, x.sum(1, keepdim=True), loss=F.mse_loss), RULES["INI102"].measurements)
