"""The rules on narrow floats."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.checking.check import diagnose
from isometry.findings import RULES
from isometry.probes.headroom import Headroom, Result
from isometry.probes.underflow import GradientUnderflow, LostGradient


def result(largest: float, infinite: int = 0, **others: Any) -> Result:
    return Result("0", "square", "float16", largest, infinite=infinite, total=64, **others)


@pytest.mark.parametrize(
    ("headroom", "severities"),
    [
        pytest.param(Headroom((result(300.0),), is_narrow=True), [], id="room enough"),
        pytest.param(Headroom((result(32000.0),), is_narrow=True), [], id="room for twice as much"),
        pytest.param(Headroom((result(33000.0),), is_narrow=True), ["warning"], id="room for less"),
        pytest.param(Headroom((result(9.0, 3),), is_narrow=True, does_harm=True), ["error"], id="infinite"),
        pytest.param(Headroom((result(9.0, 3),), is_narrow=True), ["warning"], id="infinite and swallowed"),
        pytest.param(Headroom((result(9.0, 3, only_negative=True),), is_narrow=True), ["note"], id="like a mask"),
        pytest.param(Headroom((result(9.0, 3, is_edge=True),), is_narrow=True, does_harm=True), [], id="at an edge"),
        pytest.param(Headroom((result(1e6),), is_narrow=False), ["note"], id="float32 beyond float16"),
        pytest.param(Headroom((result(6e4),), is_narrow=False), [], id="float32 within float16"),
        pytest.param(Headroom((), is_narrow=False), [], id="float32"),
    ],
)
def test_overflow_is_judged_by_the_harm_it_does(headroom: Headroom, severities: list[str]) -> None:
    drafts = list(RULES["NUM102"](headroom))

    assert [draft.severity for draft in drafts] == severities
    assert {draft.remedy.kind for draft in drafts} <= {"precision"}


def test_the_room_that_is_asked_for_can_be_set() -> None:
    headroom = Headroom((result(300.0),), is_narrow=True)

    assert list(RULES["NUM102"].with_thresholds({"min-headroom": 1000})(headroom))


def test_a_constant_that_vanished_is_named() -> None:
    found = result(1.0, 3, vanished=1e-8)
    draft = next(RULES["NUM102"](Headroom((found,), is_narrow=True, does_harm=True)))

    assert "1e-08" in draft.cause
    assert "1e-4" in draft.remedy.text


@pytest.mark.parametrize(
    ("lost", "of_first", "severity"),
    [
        pytest.param(0.01, 0.02, None, id="next to nothing"),
        pytest.param(0.1, 0.9, "warning", id="one parameter"),
        pytest.param(0.9, 0.99, "error", id="the whole gradient"),
    ],
)
def test_underflow_is_judged_by_the_share_of_the_gradient(lost: float, of_first: float, severity: str | None) -> None:
    rows = LostGradient("0.weight", 0.7, of_first), LostGradient("2.weight", 0.0, 0.0)
    drafts = list(RULES["NUM103"](GradientUnderflow(2.0**12, 0.4, lost, 90.0, rows)))

    assert [draft.severity for draft in drafts] == ([] if severity is None else [severity])
    assert all("4096" in draft.remedy.text for draft in drafts)
    assert all(draft.where == ("0.weight",) for draft in drafts)


class OwnNorm(nn.Module):
    """A root mean square norm, written out, in the type that it is given or in float32."""

    def __init__(self, *, is_safe: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(32))
        self.is_safe = is_safe

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float() if self.is_safe else x
        return (wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype) * self.weight


def task_of(norm: nn.Module, dtype: torch.dtype) -> Task:
    model = nn.Sequential(nn.Linear(16, 32), norm, nn.Linear(32, 10)).to(dtype)
    batch = (200 * torch.randn(64, 16)).to(dtype), torch.randint(10, (64,))
    return Task(model=model, batch=batch, step=lambda model, b: F.cross_entropy(model(b[0]).float(), b[1]))


@pytest.mark.parametrize(
    ("norm", "dtype", "found"),
    [
        pytest.param(OwnNorm(is_safe=False), torch.float16, {"low-precision-overflow"}, id="squares in float16"),
        pytest.param(OwnNorm(is_safe=True), torch.float16, set[str](), id="squares in float32"),
        pytest.param(OwnNorm(is_safe=False), torch.bfloat16, set[str](), id="squares in bfloat16"),
        pytest.param(nn.RMSNorm(32), torch.float16, set[str](), id="torch's own"),
    ],
)
def test_squares_inside_a_norm_are_found(norm: nn.Module, dtype: torch.dtype, found: set[str]) -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(task_of(norm, dtype), [rule for code, rule in RULES.items() if code.startswith("NUM")])

    assert {finding.name for finding in diagnosis.findings if finding.severity != "note"} == found


def test_an_infinity_of_half_precision_explains_the_loss_that_is_none() -> None:
    torch.manual_seed(0)
    model = nn.Linear(16, 1).half()
    batch = torch.randn(64, 16).half(), torch.full((64, 1), 900.0).half()
    task = Task(model=model, batch=batch, step=lambda model, b: F.mse_loss(model(b[0]), b[1]))
    findings = {finding.name: finding for finding in diagnose(task).findings}

    assert findings["low-precision-overflow"].because is None
    assert findings["nan-inf"].because == "NUM102"
    assert findings["low-precision-overflow"].where[0].startswith("mse_loss")


@pytest.mark.parametrize(
    ("results", "cause"),
    [
        pytest.param(("norm",), "float16 could not hold one result: square in 'norm' 1.8e+11", id="one"),
        pytest.param(
            ("norm", "square (operation 3)"),
            "float16 could not hold 2 results: square in 'norm' 1.8e+11, square (operation 3) 1.8e+11",
            id="two",
        ),
    ],
)
def test_a_note_on_float16_says_that_it_is_not_what_runs(results: tuple[str, ...], cause: str) -> None:
    large = tuple(replace(result(1.81364211712e11), where=where) for where in results)
    (draft,) = RULES["NUM102"](Headroom(large, is_narrow=False))

    assert draft.cause == cause
    assert draft.message == "A run in float16 would not hold the numbers of 'norm': 1.81e11, where it ends at 65504."
