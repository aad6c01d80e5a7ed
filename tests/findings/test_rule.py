import inspect
import re
from graphlib import TopologicalSorter
from types import ModuleType

import pytest

from isometry._errors import UnknownNameError
from isometry.findings import AUDIT_RULES, FAMILIES, RULES, WATCH_RULES, find_rule
from isometry.findings.explanation import explain, pages
from isometry.findings.rule import PARTS
from isometry.probes.evidence import PROBES

FIRST_RULES = {
    "vanishing-gradient",
    "exploding-gradient",
    "vanishing-activation",
    "exploding-activation",
    "dying-relu",
    "saturated-activation",
    "symmetric-units",
    "constant-weights",
    "nan-inf",
    "no-gradient",
    "start-loss",
    "rank-collapse",
}


def test_the_names_are_those_that_were_promised() -> None:
    assert {rule.name for rule in RULES.values()} >= FIRST_RULES


@pytest.mark.parametrize("code", RULES)
def test_a_code_is_a_family_and_three_digits(code: str) -> None:
    assert re.fullmatch("(FWD|BWD|JAC|INI|PAR|LOS|DAT|NUM|TRN)[1-9][0-9]{2}", code)
    assert RULES[code].code == code


@pytest.mark.parametrize("code", RULES)
def test_the_documentation_of_a_rule_has_its_five_parts(code: str) -> None:
    page = explain(code)

    assert page.title.endswith(".")
    assert tuple(page.parts) == PARTS
    assert all(page.parts.values())


@pytest.mark.parametrize("code", RULES)
def test_a_rule_reads_only_what_a_probe_measures(code: str) -> None:
    assert RULES[code].measurements
    assert set(RULES[code].measurements) <= set(PROBES)


def test_explanations_are_known_and_run_in_no_circle() -> None:
    graph = {code: rule.explained_by for code, rule in RULES.items()}
    order = list(TopologicalSorter(graph).static_order())

    assert set(order) == set(RULES)


@pytest.mark.parametrize("word", ["BWD101", "bwd101", "vanishing-gradient", "Vanishing_Gradient"])
def test_a_rule_is_found_by_code_and_by_name_in_any_case(word: str) -> None:
    assert find_rule(word) is RULES["BWD101"]


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'dying-relu'"):
        find_rule("dead-relu")


def test_every_rule_has_a_page() -> None:
    assert [page.code for page in pages()] == sorted({*RULES, *AUDIT_RULES, *WATCH_RULES})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_thresholds_stand_with_unit_and_ground(family: ModuleType) -> None:
    lines = inspect.getsource(family).splitlines()
    is_bound = [bool(re.match(r"[A-Z_]+ = [0-9]", line)) for line in lines]

    for place, line in enumerate(lines):
        block = place
        while is_bound[block]:
            block -= 1  # a comment stands above all bounds that follow it line by line
        assert not is_bound[place] or "#" in line or lines[block].startswith("#"), line
