import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isometry.findings.explanation import pages
from isometry.report.sarif import RuleText, Source, to_annotations, to_sarif
from tests.report.cases import VANISHING, broken, diagnosis

RULES = [RuleText(page.code, page.name, page.title, str(page)) for page in pages()]
SOURCE = Source("models/net.py", 7)


def run_of(text: str) -> dict[str, Any]:
    document = json.loads(text)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = document["runs"]
    return run


def test_every_finding_is_a_result_with_level_place_and_message() -> None:
    made = broken()
    results = run_of(to_sarif(made, RULES, SOURCE))["results"]

    assert [result["ruleId"] for result in results] == [finding.code for finding in made.findings]
    assert [result["level"] for result in results] == [finding.severity for finding in made.findings]
    for result, finding in zip(results, made.findings, strict=True):
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "models/net.py"
        assert location["physicalLocation"]["region"]["startLine"] == 7
        names = [each["fullyQualifiedName"] for each in location["logicalLocations"]]
        assert names == list(finding.where or (made.model,))
        assert finding.message in result["message"]["text"]
        assert finding.remedy.text in result["message"]["text"]


def test_rules_are_described_once_and_pointed_to() -> None:
    run = run_of(to_sarif(diagnosis(VANISHING, replace(VANISHING, where=("other",))), RULES))
    described = run["tool"]["driver"]["rules"]

    assert [rule["id"] for rule in described] == ["BWD101"]
    assert described[0]["name"] == "VanishingGradient"
    assert [result["ruleIndex"] for result in run["results"]] == [0, 0]
    assert "Why" in described[0]["help"]["text"]


def test_a_result_is_known_again_by_its_fingerprint() -> None:
    def prints(*findings: Any) -> list[str]:
        results = run_of(to_sarif(diagnosis(*findings), RULES))["results"]
        return [result["partialFingerprints"]["isometry/v1"] for result in results]

    assert prints(VANISHING) == prints(replace(VANISHING, measured=5.0))
    assert prints(VANISHING) != prints(replace(VANISHING, where=("other",)))


def test_a_healthy_model_has_a_run_without_results() -> None:
    assert run_of(to_sarif(diagnosis(), RULES))["results"] == []
    assert not to_annotations(diagnosis())


def test_github_gets_a_line_a_finding() -> None:
    made = broken()
    lines = to_annotations(made, SOURCE).splitlines()

    assert len(lines) == len(made.findings)
    assert lines[0].startswith("::error file=models/net.py,line=7,title=BWD101 vanishing-gradient::The gradient falls")
    words = {"error": "::error", "warning": "::warning", "note": "::notice"}
    assert [line.split(" ")[0] for line in lines] == [words[finding.severity] for finding in made.findings]


def test_a_path_with_spaces_is_a_uri() -> None:
    (result,) = run_of(to_sarif(diagnosis(VANISHING), RULES, Source("my models/nét#1.py", 1)))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]

    assert uri == "my%20models/n%C3%A9t%231.py"


def test_a_number_is_said_once_and_few_layers_are_named() -> None:
    (line,) = to_annotations(diagnosis(VANISHING)).splitlines()
    silent = replace(VANISHING, message="All samples are alike at 'hidden.0'.")

    assert "19 decades" in line
    assert "Measured" not in line
    assert line.endswith("(hidden.0, hidden.2, hidden.4 and 2 more)")
    assert "Measured 19 decades, allowed 4." in to_annotations(diagnosis(silent))


@given(words=st.text())
def test_no_name_breaks_out_of_its_annotation(words: str) -> None:
    (line,) = to_annotations(diagnosis(replace(VANISHING, where=(words,), message=words)), Source(words, 1)).split("\n")

    assert line.startswith("::error file=")
    assert "\r" not in line


@pytest.mark.parametrize(("severity", "command"), [("error", "error"), ("warning", "warning"), ("note", "notice")])
def test_a_severity_has_its_command(severity: Any, command: str) -> None:
    assert to_annotations(diagnosis(replace(VANISHING, severity=severity))).startswith(f"::{command} title=")
