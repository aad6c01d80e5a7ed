"""Which layers a treatment draws anew: those that a finding blames, in depth or in time."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import make_task
from isometry.checking.treatment import redrawn
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.probes.evidence import gather


class Cells(nn.Module):
    """A recurrence by hand whose state fades, between layers that are in order."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.back, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 3)
        nn.init.normal_(self.back.weight, std=0.03)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for step in range(x.shape[1]):
            state = torch.tanh(self.back(state) + self.into(x[:, step]))
        return self.head(state)


def test_a_finding_through_time_has_the_recurrence_drawn_anew_first() -> None:
    torch.manual_seed(0)
    task = make_task(Cells(), torch.randn(16, 60, 4), torch.arange(16) % 3, loss=F.cross_entropy)
    evidence = gather(task, [kind for rule in RULES.values() for kind in rule.measurements])
    ((finding,), _) = run_rules([RULES["BWD101"]], evidence)
    first = next(redrawn(finding, evidence))

    assert finding.where == ("back",)
    assert {name.partition(".")[0] for name in first.redrawn} == {"back"}
