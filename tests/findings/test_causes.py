"""Which finding explains which."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from isometry.anatomy.record import record
from isometry.anatomy.task import make_task
from isometry.findings import AUDIT_RULES, RULES, WATCH_RULES
from isometry.findings.causes import Places, explained, places_on
from isometry.findings.rule import Rule
from isometry.findings.run import rank
from isometry.report.finding import Finding, Proof, Severity
from tests.report.cases import VANISHING

CODES = frozenset({*RULES, *AUDIT_RULES})


def finding(code: str, severity: Severity = "error", *, where: tuple[str, ...] = ()) -> Finding:
    return replace(VANISHING, code=code, severity=severity, where=where, because=None, proof=None)


def rules(**explained_by: tuple[str, ...]) -> list[Rule]:
    return [Rule(code, "error", causes, lambda: iter(())) for code, causes in explained_by.items()]


@pytest.mark.parametrize("table", [{**AUDIT_RULES, **RULES}, WATCH_RULES], ids=["before training", "while training"])
def test_no_rule_explains_itself_through_others(table: Mapping[str, Rule]) -> None:
    edges = {code: set(rule.explained_by) for code, rule in table.items()}
    while removable := {code for code, causes in edges.items() if not causes & edges.keys()}:
        edges = {code: causes for code, causes in edges.items() if code not in removable}

    assert not edges


def test_only_rules_that_exist_explain_others() -> None:
    assert {cause for rule in (*RULES.values(), *AUDIT_RULES.values()) for cause in rule.explained_by} <= CODES
    assert {cause for rule in WATCH_RULES.values() for cause in rule.explained_by} <= {*WATCH_RULES}


def test_the_first_cause_that_was_found_counts_and_chains_end_at_their_root() -> None:
    table = rules(A=(), B=("A",), C=("X", "B", "A"), X=())
    found = explained([finding("C"), finding("B"), finding("A")], table)

    assert [each.because for each in found] == ["A", "A", None]


def test_notes_neither_explain_nor_are_explained() -> None:
    table = rules(A=(), B=("A",))

    assert [each.because for each in explained([finding("A", "note"), finding("B")], table)] == [None, None]
    assert [each.because for each in explained([finding("A"), finding("B", "note")], table)] == [None, None]


class TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x), self.right(x)], 1))


@pytest.fixture(scope="module")
def places() -> Places:
    return places_on(record(make_task(TwoTowers(), torch.randn(8, 4))))


@pytest.mark.parametrize(
    ("cause", "symptom", "code", "is_possible"),
    [
        pytest.param("left.0", "left.2", "FWD101", True, id="a signal from before"),
        pytest.param("left.2", "left.0", "FWD101", False, id="no signal from behind"),
        pytest.param("left.2", "left.0", "BWD101", True, id="a gradient from behind"),
        pytest.param("left.0", "left.2.weight", "PAR101", True, id="a zero input from before"),
        pytest.param("left.0", "right.2", "FWD101", False, id="another tower"),
        pytest.param("left.2.weight", "right.0.weight", "PAR101", False, id="parameters of another tower"),
        pytest.param("right.0", "head", "LOS101", True, id="the head behind both"),
        pytest.param("inputs", "right.2", "FWD101", True, id="a place that is on no tape"),
        pytest.param("left", "left", "FWD101", True, id="a name that is on no tape"),
    ],
)
def test_a_cause_lies_where_it_can_reach_its_symptom(
    places: Places, cause: str, symptom: str, code: str, *, is_possible: bool
) -> None:
    assert places.can_cause(finding("INI101", where=(cause,)), finding(code, where=(symptom,))) is is_possible


def test_a_cause_in_another_place_explains_nothing(places: Places) -> None:
    table = rules(INI101=(), FWD103=("INI101",))
    dead = finding("FWD103", where=("left.2",))

    assert explained([finding("INI101", where=("right.0",)), dead], table, places)[1].because is None
    assert explained([finding("INI101", where=("left.0",)), dead], table, places)[1].because == "INI101"


def test_of_two_findings_of_one_code_the_one_that_reaches_explains(places: Places) -> None:
    table = rules(DAT101=(), INI101=("DAT101",), FWD103=("INI101",))
    found = [finding("INI101", where=("right.0",)), finding("INI101", where=("left.0",))]

    assert explained([*found, finding("FWD103", where=("left.2",))], table, places)[2].because == "INI101"


def proved(found: Finding, *, confirmed: bool) -> Finding:
    return replace(found, proof=Proof("a change", 2.0, 1.0, confirmed))


def test_a_warning_that_explains_an_error_ranks_as_one() -> None:
    symptom = replace(finding("B"), because="A")
    ranked = rank([finding("N", "note"), finding("W", "warning"), symptom, finding("A", "warning")])

    assert [each.code for each in ranked] == ["A", "B", "W", "N"]


def test_of_causes_that_weigh_the_same_the_confirmed_one_leads() -> None:
    ranked = rank([proved(finding("A"), confirmed=False), finding("B"), proved(finding("C"), confirmed=True)])

    assert [each.code for each in ranked] == ["C", "B", "A"]
