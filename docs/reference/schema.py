"""Writes the JSON schemas of `isometry check --json` and `isometry watch --json` from the dataclasses they are made of.

Run: python docs/reference/schema.py
"""

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from isometry.probes.jacobian_result import JacobianResult
from isometry.probes.running.readings import Evaluation, Fault, Reading
from isometry.probes.trial_result import TrialResult
from isometry.report.document import SCHEMA
from isometry.report.facts import VERDICTS, Cost, LayerRow, Skipped
from isometry.report.finding import Finding
from isometry.report.run.document import SCHEMA as RUN_SCHEMA
from isometry.report.run.facts import Event, Extreme, State

FOLDER = Path(__file__).parent
NUMBER = {"type": ["number", "null"], "description": "null where it is not finite or was not measured"}
TEXT = {"type": "string"}
COUNT = {"type": "integer"}


def documents() -> dict[str, dict[str, Any]]:
    """Return the schemas by the names of their files."""
    return {"diagnosis.schema.json": diagnosis(), "run.schema.json": run()}


def diagnosis() -> dict[str, Any]:
    """Return the schema of what `check` prints."""
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
    return whole("What isometry check --json prints", parts)


def run() -> dict[str, Any]:
    """Return the schema of what `watch` prints, and of a run's summary.json."""
    lowest = {"first": NUMBER, "last": NUMBER, "lowest": NUMBER, "lowest_step": nullable(COUNT)}
    parts: dict[str, Any] = {
        "schema": {"const": RUN_SCHEMA, "description": "raised when a key changes its meaning or goes away"},
        "name": TEXT,
        "model": TEXT,
        "optimizer": TEXT,
        "state": {"enum": list(get_args(State))},
        "reason": TEXT,
        "is_broken": {"type": "boolean", "description": "whether isometry watch exits with 1"},
        "steps": COUNT,
        "seconds": NUMBER,
        "steps_per_second": NUMBER,
        "every": COUNT,
        "num_ranks": COUNT,
        "num_unread": {**COUNT, "description": "lines of the records that could not be read"},
        "num_readings": COUNT,
        "versions": {"type": "object", "additionalProperties": TEXT},
        "loss": nullable({"type": "object", "properties": lowest, "required": list(lowest)}),
        "events": {"type": "array", "items": of(Event)},
        "faults": {"type": "array", "items": of(Fault)},
        "evaluations": {"type": "array", "items": of(Evaluation)},
        "snapshots": {"type": "array", "items": COUNT},
        "extremes": {"type": "array", "items": of(Extreme)},
        "last": nullable(of(Reading)),
    }
    return whole("What isometry watch --json prints, and the summary.json of a run", parts)


def whole(title: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a document of these parts."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
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
    if origin is Mapping:
        return {"type": "object", "additionalProperties": of(arguments[1])}
    if origin is tuple:
        each = {"items": of(arguments[0])} if arguments[-1] is Ellipsis else {"prefixItems": [*map(of, arguments)]}
        return {"type": "array", **each}
    return {str: TEXT, float: NUMBER, int: COUNT, bool: {"type": "boolean"}}[kind]


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that allows null besides."""
    return schema if schema is NUMBER else {"anyOf": [schema, {"type": "null"}]}


if __name__ == "__main__":
    for name, schema in documents().items():
        (FOLDER / name).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
