import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.checking.check import diagnose
from isometry.findings import RULES
from isometry.probes.step_size import RateCourse, StepSize
from isometry.probes.trial_result import TrialResult
from tests.findings.networks import stack

Parameters = Iterable[nn.Parameter]
FALLS = RateCourse(0.01, 2.0, 1.0, 0.0, learns=True)
STANDS = RateCourse(1e-6, 2.0, 2.0 - 1e-9, 0.0, learns=False)


def sizes(
    given: RateCourse,
    *others: RateCourse,
    update: float = 1e-8,
    is_fresh: bool = True,
    bound: float | None = None,
    is_settled: bool = True,
) -> StepSize:
    """The given rate beside others, which are larger or smaller."""
    return StepSize(
        given=given,
        smaller=tuple(each for each in others if each.rate < given.rate),
        larger=tuple(each for each in others if each.rate > given.rate),
        steps=20,
        is_settled=is_settled,
        update=update,
        bound=bound,
        is_fresh=is_fresh,
    )


def course(rate: float, end: float, rises: float = 0.0, *, learns: bool = False) -> RateCourse:
    return RateCourse(rate, 2.0, end, rises, learns)


@pytest.mark.parametrize(
    ("measured", "found"),
    [
        pytest.param(sizes(course(1.0, math.inf, math.inf), FALLS), 1, id="diverges, and a smaller rate learns"),
        pytest.param(sizes(course(1.0, 2.3, 1.0), FALLS), 1, id="ends higher than it started"),
        pytest.param(sizes(course(1.0, 1.9, 1.0), FALLS), 1, id="jumps and learns nothing"),
        pytest.param(
            sizes(course(1.0, 1.8, 0.3, learns=True), FALLS), 1, id="jumps, and a smaller rate gets far further"
        ),
        pytest.param(sizes(course(1.0, 1.4, 0.3, learns=True), FALLS), 0, id="jumps, and gets almost as far"),
        pytest.param(sizes(course(1.0, 1.8, 0.3, learns=True), FALLS, is_settled=False), 0, id="may come down yet"),
        pytest.param(sizes(course(1.0, 0.4, 3.0, learns=True), FALLS), 0, id="jumps, and gets further"),
        pytest.param(sizes(course(1.0, math.inf, math.inf)), 0, id="diverges at every rate"),
        pytest.param(sizes(course(1.0, 2.3, 1.0), course(0.1, 1.5)), 0, id="the smaller rate does not learn either"),
        pytest.param(
            sizes(course(1.0, 2.3, 1.0), course(0.1, 1.9, learns=True)), 0, id="the smaller rate is hardly better"
        ),
        pytest.param(
            sizes(course(1.0, 2.9, 1.0), course(0.1, 2.1, learns=True)), 0, id="the smaller rate does harm as well"
        ),
        pytest.param(sizes(course(1.0, 1.5, learns=True)), 0, id="learns"),
    ],
)
def test_a_rate_is_too_high_only_if_a_smaller_one_does_what_it_does_not(measured: StepSize, found: int) -> None:
    assert len(list(RULES["TRN101"](measured))) == found


@pytest.mark.parametrize(
    ("measured", "found"),
    [
        pytest.param(sizes(STANDS, FALLS), 1, id="stands still, and a larger rate learns"),
        pytest.param(sizes(course(1e-6, 2.0), FALLS), 1, id="does not move at all"),
        pytest.param(sizes(course(1e-6, 1.99), FALLS), 0, id="slow, but within patience"),
        pytest.param(sizes(STANDS, course(0.01, 1.9)), 0, id="no rate learns: the network is at fault"),
        pytest.param(sizes(STANDS, course(0.01, math.inf, math.inf)), 0, id="larger rates diverge"),
        pytest.param(sizes(STANDS, FALLS, is_fresh=False), 0, id="pretrained weights"),
        pytest.param(sizes(course(0.0, 2.0), update=0.0), 1, id="a rate of zero"),
        pytest.param(sizes(course(0.0, 2.0), update=0.0, is_fresh=False), 0, id="a rate of zero before a warm-up"),
        pytest.param(sizes(course(0.0, 1.9, learns=True), update=0.01), 0, id="zero in the first group alone"),
    ],
)
def test_a_rate_is_too_low_only_if_patience_does_not_help_and_a_larger_one_does(measured: StepSize, found: int) -> None:
    assert len(list(RULES["TRN102"](measured))) == found


def test_the_finding_tells_the_rates_and_what_the_curvature_allows() -> None:
    draft = next(iter(RULES["TRN101"](sizes(course(1.0, math.inf, math.inf), FALLS, bound=0.05))))

    assert (draft.measured, draft.allowed) == (1.0, 0.01)
    assert "from 2 to inf; at 0.01 they take it to 1; with the curvature at the start no rate above 0.05" in draft.cause


def test_the_finding_tells_the_losses_that_the_trial_and_the_proof_end_with() -> None:
    given = replace(course(1.0, math.inf, math.inf), last=math.nan)
    draft = next(iter(RULES["TRN101"](sizes(given, replace(FALLS, last=0.25), bound=2.0))))

    assert draft.cause == "20 steps take the loss from 2 to nan; at 0.01 they take it to 0.25"


def held(
    *, num_held: int, missed: tuple[str, ...] = ("0.weight",), strangers: int = 0, given: bool = True
) -> TrialResult:
    return TrialResult(
        losses=(2.0, 2.0),
        constant=None,
        optimizer="SGD(lr=0.1)",
        is_given=given,
        learning_rate=0.1,
        updates=(),
        learns=False,
        num_held=num_held,
        num_strangers=strangers,
        missed=missed,
    )


@pytest.mark.parametrize(
    ("trial", "severities"),
    [
        pytest.param(held(num_held=0, strangers=4), [None], id="of another model"),
        pytest.param(held(num_held=2, strangers=2), ["warning"], id="a layer was replaced"),
        pytest.param(held(num_held=2), ["note"], id="a part, perhaps on purpose"),
        pytest.param(held(num_held=4, missed=(), strangers=1), [], id="all, and a parameter of the loss"),
        pytest.param(held(num_held=0, given=False), [], id="no optimiser was given"),
    ],
)
def test_what_the_optimiser_does_not_hold_is_told_by_what_it_holds(
    trial: TrialResult, severities: list[str | None]
) -> None:
    assert [draft.severity for draft in RULES["PAR102"](trial)] == severities


@pytest.mark.parametrize(
    ("optimizer", "line"),
    [
        ("SGD(lr=0.1, momentum=0.9)", "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)"),
        ("Mine(lr=0.1)", "optimizer = Mine(model.parameters(), lr=0.1)"),
        ("Rprop()", "optimizer = torch.optim.Rprop(model.parameters())"),
    ],
)
def test_the_line_that_helps_keeps_the_users_own_optimiser_and_its_settings(optimizer: str, line: str) -> None:
    (draft,) = RULES["PAR102"](replace(held(num_held=0, strangers=4), optimizer=optimizer))

    assert draft.remedy.suggestion == line


def learnable(factory: OptimizerFactory | None, model: nn.Module | None = None, *, is_fresh: bool = True) -> Task:
    """A task whose label is that of the largest of three features."""
    torch.manual_seed(0)
    inputs = torch.randn(128, 16)
    task = make_task(
        model or stack(16, 64, 64, 3), inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy, optimizer_factory=factory
    )
    return replace(task, is_fresh=is_fresh)


def sgd(rate: float, momentum: float = 0.0) -> OptimizerFactory:
    return lambda given: torch.optim.SGD(given, lr=rate, momentum=momentum)


def adam(rate: float) -> OptimizerFactory:
    return lambda given: torch.optim.Adam(given, lr=rate)


def warming_up(given: Parameters) -> torch.optim.Optimizer:
    """A schedule that raises the rate from a millionth of what it will be."""
    optimizer = torch.optim.SGD(given, lr=0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-6)
    return optimizer


@pytest.mark.parametrize(
    ("factory", "names"),
    [
        pytest.param(sgd(30.0), ["learning-rate-too-high"], id="gradient descent at 30"),
        pytest.param(sgd(3.0, 0.9), ["learning-rate-too-high"], id="momentum at 3"),
        pytest.param(adam(1.0), ["learning-rate-too-high"], id="Adam at 1"),
        pytest.param(sgd(0.1), [], id="gradient descent at a tenth"),
        pytest.param(sgd(0.1, 0.9), [], id="momentum at a tenth"),
        pytest.param(adam(1e-3), [], id="Adam at a thousandth"),
        pytest.param(adam(1e-4), [], id="Adam at 1e-4"),
        pytest.param(sgd(1e-3), [], id="gradient descent, slow"),
        pytest.param(adam(1e-8), ["learning-rate-too-low"], id="Adam at 1e-8"),
        pytest.param(sgd(1e-6), ["learning-rate-too-low"], id="gradient descent at 1e-6"),
        pytest.param(sgd(1e-9), ["learning-rate-too-low"], id="gradient descent whose steps are rounding"),
        pytest.param(adam(1e-10), ["learning-rate-too-low"], id="Adam whose steps are rounding"),
        pytest.param(adam(1e-5), [], id="Adam at 1e-5"),
        pytest.param(sgd(0.0), ["learning-rate-too-low"], id="zero"),
        pytest.param(warming_up, [], id="a warm-up"),
        pytest.param(None, [], id="no optimiser"),
    ],
)
def test_the_rate_is_judged_by_trials(factory: OptimizerFactory | None, names: list[str]) -> None:
    findings = diagnose(learnable(factory)).findings

    assert [finding.name for finding in findings if finding.severity != "note"] == names


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(lambda: learnable(adam(1e-8), is_fresh=False), id="fine-tuning"),
        pytest.param(lambda: learnable(sgd(0.01), stack(16, *[32] * 30, 3, activation=nn.Sigmoid)), id="deep sigmoid"),
    ],
)
def test_a_rate_that_is_not_the_cause_is_not_blamed(task: Callable[[], Task]) -> None:
    assert not {"TRN101", "TRN102"} & {finding.code for finding in diagnose(task()).findings}


def test_an_optimiser_of_another_model_is_found() -> None:
    other = stack(16, 64, 64, 3)
    finding = diagnose(learnable(lambda _: torch.optim.SGD(other.parameters(), lr=0.1))).findings[0]

    assert (finding.name, finding.severity) == ("unoptimised-parameters", "error")
    assert "holds none of the model's parameters and 6 tensors" in finding.cause


def test_without_an_optimiser_the_rules_on_its_steps_are_skipped_with_a_reason() -> None:
    skipped = {each.code: each.reason for each in diagnose(learnable(None)).skipped}

    assert skipped["TRN101"] == skipped["TRN102"] == "no optimiser was given"
