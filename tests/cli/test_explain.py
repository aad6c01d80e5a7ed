import ast
from importlib.resources import files

import pytest

from isometry.findings import AUDIT_RULES, RULES, WATCH_RULES
from tests.cli.running import invoke

ALL_RULES = {**WATCH_RULES, **RULES, **AUDIT_RULES}


@pytest.mark.parametrize("code", sorted(ALL_RULES))
def test_every_rule_has_a_page_under_its_code_and_its_name(code: str) -> None:
    by_code, by_name = invoke("explain", code), invoke("explain", ALL_RULES[code].name)

    assert by_code.exit_code == 0
    assert by_code.stdout == by_name.stdout
    assert by_code.stdout.startswith(f"{code}  {ALL_RULES[code].name}  (")
    assert all(f"\n{part}\n  " in by_code.stdout for part in ("Why", "Measured", "Remedy", "Source"))
    assert all(len(line) <= 80 for line in by_code.stdout.partition("\nExample\n")[0].splitlines())


@pytest.mark.parametrize("code", sorted(ALL_RULES))
def test_the_example_of_a_page_is_printed_as_code_that_runs(code: str) -> None:
    printed = invoke("explain", code).stdout.partition("\nExample\n")[2]
    example = files("isometry.findings.examples").joinpath(f"{code.lower()}.py").read_text(encoding="utf-8")

    assert ast.dump(ast.parse(printed)) == ast.dump(ast.parse(example))


@pytest.mark.parametrize("word", ["bwd101", "Vanishing-Gradient", "VANISHING_GRADIENT", " BWD101 "])
def test_case_and_dashes_do_not_matter(word: str) -> None:
    assert invoke("explain", word).stdout.startswith("BWD101")


@pytest.mark.parametrize(
    ("word", "near"),
    [("vanishing-gradent", "vanishing-gradient"), ("BWD11", "BWD101"), ("symetric", "symmetric-units")],
)
def test_a_wrong_word_is_answered_with_the_nearest(word: str, near: str) -> None:
    result = invoke("explain", word)

    assert result.exit_code == 2
    assert f"Did you mean {near!r}?" in result.stderr


def test_without_a_word_all_rules_are_listed() -> None:
    lines = invoke("explain").stdout.splitlines()

    assert [line.split()[0] for line in lines] == sorted(ALL_RULES)


def test_a_rule_that_also_reads_a_training_has_both_pages() -> None:
    printed = " ".join(invoke("explain", "FWD103").stdout.split())

    assert "silent on every sample" in printed
    assert "While training (error) Almost all units of a layer have been silent for many steps." in printed
    assert "While training" not in invoke("explain", "FWD101").stdout
