"""What a NaN is explained by, from what the operation read."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.checking.check import diagnose
from isometry.findings import RULES
from isometry.report.finding import Finding


class Net(nn.Module):
    """Two layers and a parameter, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.zeros(4))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def finding_of(forward: Callable[[Any, Tensor], Tensor]) -> Finding:
    torch.manual_seed(0)
    task = Task(model=Net(forward), batch=torch.randn(8, 4), step=lambda model, batch: model(batch).square().mean())
    return diagnose(task, [RULES["NUM101"]]).findings[0]


def fully_masked(m: Any, x: Tensor) -> Tensor:
    mask = torch.ones(8, 8).triu(1)
    mask[:2] = 1
    return (m.first(x) @ m.second(x).T).masked_fill(mask == 1, -math.inf).softmax(-1) @ x


def unreachable(m: Any, x: Tensor) -> Tensor:
    targets, lengths = torch.tensor([[1, 1, 1, 1, 1, 2]]), (torch.tensor([8]), torch.tensor([6]))
    return F.ctc_loss(m.first(x).log_softmax(-1).unsqueeze(1), targets, *lengths)


CAUSES: dict[str, tuple[Callable[[Any, Tensor], Tensor], str, str]] = {
    "log of softmax": (lambda m, x: torch.log((m.first(x) * 1e3).softmax(-1)), "23 zeros among 32", "log_softmax"),
    "its label": (lambda m, x: (m.first(x) * 1e3).softmax(-1)[:, 0].log(), "zeros among 8", "log_softmax"),
    "log of sigmoid": (lambda m, x: torch.log(torch.sigmoid(m.first(x) * 1e3)), "zeros among", "with_logits"),
    "log of a negative": (lambda m, x: m.first(x).log(), "the smallest is -", "softplus"),
    "log of one more": (lambda m, x: torch.log1p(m.first(x) - 2), "more than -1", "log1p"),
    "root of a negative": (lambda m, x: m.first(x).sqrt(), "negative numbers among 32", "clamp_min(0)"),
    "root at zero": (lambda m, x: m.second(x) + (m.first(x) * 0).sum().sqrt(), "slope at 0", "under the root"),
    "power": (lambda m, x: m.first(x) ** 1.5, "negative numbers among 32", "broken power"),
    "power at zero": (lambda m, x: m.second(x) + (m.first(x) * 0).sum() ** 0.5, "power of 0.5", "(x + 1e-8) ** p"),
    "a part thrown away": (lambda m, x: torch.where(m.first(x) > 0, m.first(x).sqrt(), 0.0), "negative", "torch.where"),
    "count of none": (lambda m, x: m.first(x) / (x > 99).sum(1, keepdim=True), "divisor holds 8 zeros", "clamp_min(1)"),
    "norm of nothing": (lambda m, x: m.first(x) / (m.second(x) * 0).norm(dim=1, keepdim=True), "8 zeros", "normalize"),
    "deviation of equals": (lambda m, x: x / (m.second(x) * 0).std(0), "4 zeros among 4", "x.std() + 1e-6"),
    "one over a rectifier": (lambda m, x: 1 / m.first(x).relu(), "zeros among 32", "out of the divisor"),
    "exponential": (lambda m, x: (m.first(x) * 1e4).exp(), "beyond 88.7", "logsumexp"),
    "masked throughout": (fully_masked, "2 rows of its scores", "finfo"),
    "arc cosine": (lambda m, x: torch.acos(m.first(x) * 9), "slope is infinite", "clamp(-1 + 1e-6, 1 - 1e-6)"),
    "logit": (lambda m, x: torch.logit(torch.sigmoid(m.first(x) * 1e3)), "needs (0, 1)", "eps=1e-6"),
    "deviation of one": (lambda m, x: m.first(x)[:1].std(0), "a single number", "correction=0"),
    "mean of none": (lambda m, x: m.first(x)[x[:, 0] > 99].mean(), "reads no numbers", "count.clamp_min(1)"),
    "no targets": (
        lambda m, x: F.cross_entropy(m.first(x), torch.full((8,), -100)),
        "all 8 targets",
        "reduction='sum'",
    ),
    "too short for its targets": (unreachable, "shorter than its targets", "zero_infinity"),
    "equal singular values": (lambda m, x: torch.linalg.svd(torch.eye(4) + 0 * m.first(x)[:4])[0], "equal", "svdvals"),
    "corner": (lambda m, x: m.second(x) + torch.hypot(m.first(x) * 0, m.first(x) * 0), "no slope at 0", "constant"),
    "overflow": (lambda m, x: (m.first(x) * 1e30).square(), "float32, which ends at 3.4e+38", "smaller"),
    "of a parameter alone": (lambda m, x: m.first(x) * torch.log(m.scale), "4 zeros among 4", "clamp_min(1e-6)"),
    "root of a parameter": (lambda m, x: m.first(x) * torch.sqrt(m.scale), "4 zeros among 4", "under the root"),
}


@pytest.mark.filterwarnings("ignore:std")  # torch's own, of the deviation of one number
@pytest.mark.parametrize(("forward", "cause", "remedy"), CAUSES.values(), ids=CAUSES.keys())
def test_the_cause_tells_what_was_read_and_the_remedy_fits(
    forward: Callable[[Any, Tensor], Tensor], cause: str, remedy: str
) -> None:
    finding = finding_of(forward)

    assert cause in finding.cause
    assert remedy in finding.remedy.text


def test_the_layer_before_is_named_beside_the_operation() -> None:
    assert finding_of(lambda m, x: m.second(m.first(x).log())).where == ("log (operation 1)", "first")


def test_a_parameter_is_named_where_no_data_was_read() -> None:
    assert finding_of(lambda m, x: m.first(x) / m.scale.sqrt().reciprocal().log()).where[0] == "scale"
