"""Writes the JSON schema of `isometry check --json` from the dataclasses that the document is made of.

Run: python docs/reference/schema.py
"""

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from isometry.probes.jacobian_result import JacobianResult
from isometry.probes.trial_result import TrialResult
from isometry.report.document import SCHEMA
from isometry.report.facts import VERDICTS, Cost, LayerRow, Skipped
from isometry.report.finding import Finding

PAGE = Path(__file__).with_name("diagnosis.schema.json")
NUMBER = {"type": ["number", "null"], "description": "null where it is not finite or was not measured"}
TEXT = {"type": "string"}
COUNT = {"type": "integer"}


def document() -> dict[str, Any]:
    """Return the schema of one document."""
    parts: dict[str, Any] = {
        "schema": {"const": SCHEMA, "description": "raised when a key changes its meaning or goes away"},
        "model": TEXT,
        "verdict": {"enum": list(VERDICTS)},
        "seed": COUNT,
        "versions": {"type": "object", "additionalProperties": TEXT},
        "loss": NUMBER,
        "loss_name": TEXT,
        "findings": {"type": "array", "items": of(Finding)},
        "skipped": {"type": "array", "items": of(Skipped)},
        "layers": {"type": "array", "items": of(LayerRow)},
        "cost": of(Cost),
        "warnings": {"type": "array", "items": TEXT},
        "trial": nullable(of(TrialResult)),
        "jacobian": nullable(of(JacobianResult)),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What isometry check --json prints",
        "type": "object",
        "properties": parts,
        "required": list(parts),
    }


def of(kind: Any) -> dict[str, Any]:
    """Return the schema of a type; keys that it does not know may be added without a new number."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        parts = {item.name: of(hints[item.name]) for item in fields(kind)}
        return {"type": "object", "properties": parts, "required": list(parts)}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, types.UnionType}:
        return nullable(of(next(each for each in arguments if each is not type(None))))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [of(each) for each in arguments]}
    if origin is tuple:
        return {"type": "array", "items": of(arguments[0])}
    return {str: TEXT, float: NUMBER, int: COUNT, bool: {"type": "boolean"}}[kind]


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that allows null besides."""
    return schema if schema is NUMBER else {"anyOf": [schema, {"type": "null"}]}


def text() -> str:
    """Return the file as it should be."""
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
