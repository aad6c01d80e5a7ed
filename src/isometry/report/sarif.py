"""A diagnosis for code hosts: as a SARIF 2.1.0 log, and as the annotations that GitHub reads from a job's output."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from isometry.report.facts import Facts
from isometry.report.finding import Finding, Severity
from isometry.report.outline import measured_against, places, proof_sentence

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "note": "note"}
COMMANDS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the code that builds a model stands.

    Attributes:
        path: Path as a code host knows it, with slashes; relative to the repository where it can be.
        line: Line of the builder, from 1.
    """

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a code host shows about a rule: its code, name, one sentence, and its page."""

    code: str
    name: str
    title: str
    page: str


def to_sarif(diagnosis: Facts, rules: Iterable[RuleText], source: Source | None = None) -> str:
    """Return a diagnosis as a SARIF 2.1.0 log with one run.

    Args:
        diagnosis: What to report.
        rules: The rules, of which those with a finding are described.
        source: Where the model is built; without it the results have logical locations alone.

    Returns:
        A JSON document in ASCII.

    Source:
        OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020, sections 3.13 to 3.52.
    """
    found = {finding.code for finding in diagnosis.findings}
    described = [rule for rule in rules if rule.code in found]
    driver = {
        "name": "isometry",
        "semanticVersion": diagnosis.versions.get("isometry", "0"),
        "rules": [_rule(rule) for rule in described],
    }
    order = {rule.code: index for index, rule in enumerate(described)}
    run = {
        "tool": {"driver": driver},
        "results": [_result(finding, diagnosis, order, source=source) for finding in diagnosis.findings],
        "columnKind": "unicodeCodePoints",
        "properties": {"model": diagnosis.model, "verdict": diagnosis.verdict, "seed": diagnosis.seed},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False)


def to_annotations(diagnosis: Facts, source: Source | None = None) -> str:
    """Return a line for each finding that GitHub shows beside the code; other words of the output are left alone.

    Args:
        diagnosis: What to report.
        source: Where the model is built; without it the annotations belong to the job.

    Returns:
        Workflow commands, without a final line break; empty if there is no finding.

    Source:
        GitHub documentation, Workflow commands for GitHub Actions, Setting an error message.
    """
    place = "" if source is None else f"file={_property(source.path)},line={source.line},"
    return "\n".join(
        f"::{COMMANDS[finding.severity]} {place}title={_property(f'{finding.code} {finding.name}')}::{_data(finding)}"
        for finding in diagnosis.findings
    )


def _rule(rule: RuleText) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.page},
    }


def _result(finding: Finding, diagnosis: Facts, order: Mapping[str, int], *, source: Source | None) -> dict[str, Any]:
    location: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "member"} for name in finding.where]
        or [{"fullyQualifiedName": diagnosis.model, "kind": "type"}]
    }
    if source is not None:
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(source.path)},
            "region": {"startLine": source.line},
        }
    # What stays the same from run to run, so that a host knows an old result again.
    identity = "\n".join((finding.code, diagnosis.model, *finding.where))
    return {
        "ruleId": finding.code,
        **({"ruleIndex": order[finding.code]} if finding.code in order else {}),
        "level": LEVELS[finding.severity],
        "message": {"text": _text(finding)},
        "locations": [location],
        "partialFingerprints": {"isometry/v1": hashlib.sha256(identity.encode()).hexdigest()},
        "properties": {"because": finding.because, "measured": finding.measured, "allowed": finding.allowed},
    }


def _text(finding: Finding) -> str:
    # Most messages bring their numbers along.
    measured = "" if any(letter.isdecimal() for letter in _without_names(finding)) else measured_against(finding)
    proof = "" if finding.proof is None else f"Tested: {proof_sentence(finding.proof, finding.unit)}."
    parts = (
        finding.message,
        f"Measured {measured}." if measured else "",
        f"Cause: {finding.cause}.",
        proof,
        f"Explained by {finding.because}." if finding.because else "",
        finding.remedy.text,
    )
    return " ".join(part for part in parts if part)


def _without_names(finding: Finding) -> str:
    """Return a message without names of layers, which have numbers of their own."""
    text = finding.message
    for name in finding.where:
        text = text.replace(repr(name), "")
    return text


def _data(finding: Finding) -> str:
    text = f"{_text(finding)} ({places(finding.where)})" if finding.where else _text(finding)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    for letter, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(letter, code)
    return text
