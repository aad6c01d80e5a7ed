from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.anatomy.task import OptimizerFactory, Task, make_task
from isometry.checking.check import diagnose
from isometry.checking.guard import guarded
from isometry.checking.settings import Settings
from isometry.findings.rule import RULES, Draft, Rule
from isometry.probes.evidence import gather
from isometry.probes.recurrence import Recurrences, TimeTrace
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding, Remedy, Severity
from tests.findings.networks import stack


def task_of(factory: OptimizerFactory | None = None, *, can_learn: bool = True) -> Task:
    """Labels that a network can tell from its inputs, or from nothing."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 8)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    targets = inputs[:, :3].argmax(1)
    return make_task(
        model, inputs if can_learn else torch.ones(64, 8), targets, loss=F.cross_entropy, optimizer_factory=factory
    )


def finding_of(code: str, severity: Severity = "error") -> Finding:
    return Finding(
        code=code,
        name=code.lower(),
        severity=severity,
        where=("0",),
        measured=5.0,
        allowed=4.0,
        unit="decades",
        message="The gradient falls.",
        cause="each layer halves it",
        because=None,
        proof=None,
        remedy=Remedy("none", ""),
    )


def nothing() -> Iterator[Draft]:
    yield from ()


RULES_HERE = (
    Rule("BWD101", "error", (), nothing, is_statistic=True),
    Rule("FWD104", "error", (), nothing, is_statistic=True),
    Rule("PAR101", "error", (), nothing),
)


@pytest.mark.parametrize(
    ("found", "severities"),
    [
        pytest.param([finding_of("BWD101")], ["note"], id="a statistic"),
        pytest.param([finding_of("BWD101", "warning")], ["note"], id="a statistic that warns"),
        pytest.param([finding_of("PAR101")], ["error"], id="no statistic"),
        pytest.param([finding_of("BWD101"), finding_of("PAR101")], ["note", "error"], id="one of each"),
        pytest.param([finding_of("FWD104")], ["error"], id="one that makes learning slow"),
    ],
)
def test_a_network_that_learns_gets_notes_for_statistics(found: list[Finding], severities: list[Severity]) -> None:
    evidence = gather(task_of(), [], steps=20)

    assert [each.severity for each in guarded(found, RULES_HERE, evidence)] == severities


def test_a_network_that_learns_fast_refutes_what_makes_learning_slow() -> None:
    evidence = gather(task_of(lambda given: torch.optim.Adam(given, lr=0.03)), [], steps=20)

    assert guarded([finding_of("FWD104")], RULES_HERE, evidence)[0].severity == "note"


def test_a_network_that_does_not_learn_keeps_its_errors() -> None:
    evidence = gather(task_of(can_learn=False), [], steps=20)

    assert guarded([finding_of("BWD101")], RULES_HERE, evidence) == [finding_of("BWD101")]


def test_the_note_says_what_the_trial_showed() -> None:
    found = guarded([finding_of("BWD101")], RULES_HERE, gather(task_of(), [], steps=20))[0]

    assert found.cause.startswith("each layer halves it; all the same it learns: after 20 steps of Adam(lr=0.001)")


@pytest.mark.parametrize(
    ("task", "found", "is_made"),
    [
        pytest.param(task_of, [], False, id="nothing hangs on it"),
        pytest.param(task_of, [finding_of("BWD101", "note")], False, id="a note"),
        pytest.param(task_of, [finding_of("PAR101")], False, id="no statistic"),
        pytest.param(task_of, [finding_of("BWD101", "warning")], True, id="a statistic"),
        pytest.param(lambda: task_of(torch.optim.Adam), [], True, id="an optimiser was given"),
    ],
)
def test_the_trial_is_made_where_something_hangs_on_it(
    task: Callable[[], Task], found: list[Finding], is_made: bool
) -> None:
    evidence = gather(task(), [], steps=20)
    guarded(found, RULES_HERE, evidence)

    assert (TrialResult in evidence.measured) == is_made


def test_without_steps_no_trial_is_made_and_nothing_is_refuted() -> None:
    evidence = gather(task_of(), [], steps=0)

    assert guarded([finding_of("BWD101")], RULES_HERE, evidence) == [finding_of("BWD101")]


def vgg() -> nn.Module:
    """A small one without norms: its gradient loses three decades."""
    layers: list[nn.Module] = []
    into = 1
    for out in (16, 16, 32, 32, 64, 64, 64):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
        into = out
    head = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def images(model: nn.Module) -> Task:
    """A pattern per class under noise."""
    patterns = torch.randn(4, 1, 8, 8)
    labels = torch.randint(4, (32,))
    return make_task(model, patterns[labels] + 0.3 * torch.randn(32, 1, 8, 8), labels, loss=F.cross_entropy)


def test_a_small_plain_convolutional_network_that_learns_is_healthy() -> None:
    torch.manual_seed(0)
    task = images(vgg())

    assert diagnose(task).verdict == "healthy"
    assert diagnose(task, settings=Settings(steps=0)).verdict != "healthy"


def test_thirty_sigmoid_layers_stay_broken_and_the_diagnosis_holds_the_trial() -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(32, 32), nn.Sigmoid()) for _ in range(30)]
    inputs = torch.randn(64, 32)
    model = nn.Sequential(*layers, nn.Linear(32, 3))
    diagnosis = diagnose(make_task(model, inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy))

    assert diagnosis.verdict == "broken"
    assert diagnosis.trial is not None
    assert not diagnosis.trial.learns


def test_the_rules_that_are_statistics_say_so() -> None:
    statistics = {code for code, rule in RULES.items() if rule.is_statistic}

    assert {"BWD101", "BWD102", "FWD101", "FWD102", "FWD103", "FWD104", "FWD105"} <= statistics
    assert not {"PAR101", "NUM101", "INI101", "INI102", "TRN101", "TRN102", "LOS102"} & statistics


def weighted(deviation: float, rate: float, *, depth: int = 8) -> Task:
    """Labels that are the largest of three features, and a stack of ReLU layers with weights of one deviation."""
    torch.manual_seed(0)
    inputs = torch.randn(128, 16)
    model = stack(16, *[64] * depth, 3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, deviation) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    return make_task(
        model,
        inputs,
        inputs[:, :3].argmax(1),
        loss=F.cross_entropy,
        optimizer_factory=lambda given: torch.optim.Adam(given, lr=rate),
    )


@pytest.mark.parametrize(
    ("task", "severity", "judged"),
    [
        pytest.param(lambda: weighted(0.05, 2e-4), "error", "error", id="far better with new weights"),
        pytest.param(lambda: weighted(0.05, 2e-4), "warning", "note", id="a warning is refuted by less"),
        pytest.param(lambda: weighted(0.05, 5e-4), "error", "note", id="late, but it has learnt"),
        pytest.param(lambda: weighted(0.17, 2e-4), "error", "note", id="new weights are no better"),
        pytest.param(
            lambda: replace(weighted(0.05, 2e-4), is_fresh=False), "error", "note", id="weights that must be kept"
        ),
    ],
)
def test_a_network_that_moves_a_bit_refutes_no_error_without_which_it_learns_far_more(
    task: Callable[[], Task], severity: Severity, judged: Severity
) -> None:
    evidence = gather(task(), [kind for rule in RULES.values() for kind in rule.measurements], steps=20)
    names = tuple(str(number) for number in range(0, 16, 2))
    finding = replace(finding_of("BWD101", severity), where=names, remedy=Remedy("init", ""))

    assert [each.severity for each in guarded([finding], RULES_HERE, evidence)] == [judged]


def test_without_time_for_new_weights_an_error_is_refuted_by_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isometry.checking.guard.TIME_BUDGET", 0.0)
    evidence = gather(weighted(0.05, 2e-4), [kind for rule in RULES.values() for kind in rule.measurements], steps=20)
    names = tuple(str(number) for number in range(0, 16, 2))
    finding = replace(finding_of("BWD101"), where=names, remedy=Remedy("init", ""))

    assert [each.severity for each in guarded([finding], RULES_HERE, evidence)] == ["note"]


@pytest.mark.parametrize(
    ("where", "severity"),
    [
        pytest.param(("0.weight",), "error", id="the same weight"),
        pytest.param(("0",), "error", id="its layer"),
        pytest.param(("2",), "note", id="another layer"),
    ],
)
def test_a_statistic_that_explains_a_fact_stands(where: tuple[str, ...], severity: Severity) -> None:
    rules = (Rule("NUM103", "error", (), nothing, is_statistic=True), Rule("PAR101", "error", ("NUM103",), nothing))
    found = [replace(finding_of("NUM103"), where=where), replace(finding_of("PAR101"), where=("0.weight",))]

    assert guarded(found, rules, gather(task_of(), [], steps=20))[0].severity == severity


@pytest.mark.parametrize(
    ("where", "severity"),
    [pytest.param(("cells",), "error", id="through time"), pytest.param(("head",), "note", id="in depth")],
)
def test_no_trial_refutes_what_is_lost_through_time(where: tuple[str, ...], severity: Severity) -> None:
    evidence = gather(task_of(), [], steps=20)
    trace = TimeTrace("cells", (1.0, 0.1), (1.0, 1.0), is_gated=False)
    evidence.measured[Recurrences] = Recurrences((trace,))
    finding = replace(finding_of("BWD101"), where=where)

    assert [each.severity for each in guarded([finding], RULES_HERE, evidence)] == [severity]
