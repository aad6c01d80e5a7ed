"""A diagnosis as one JSON document, schema 1: the contract with other programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from isometry.report.facts import Facts

SCHEMA = 1  # raised when a key changes its meaning or goes away; new keys may be added without


def to_document(diagnosis: Facts) -> dict[str, Any]:
    """The diagnosis in types that JSON has; numbers that are not finite become None.

    Args:
        diagnosis: What to put down.

    Returns:
        A new dictionary with the keys of schema 1, in the order in which people read them.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "model": diagnosis.model,
        "verdict": diagnosis.verdict,
        "seed": diagnosis.seed,
        "versions": dict(diagnosis.versions),
        "loss": diagnosis.loss,
        "loss_name": diagnosis.loss_name,
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "skipped": [asdict(skipped) for skipped in diagnosis.skipped],
        "layers": [asdict(layer) for layer in diagnosis.layers],
        "cost": asdict(diagnosis.cost),
        "warnings": list(diagnosis.warnings),
        "trial": None if diagnosis.trial is None else asdict(diagnosis.trial),
        "jacobian": None if diagnosis.jacobian is None else asdict(diagnosis.jacobian),
    }
    return {key: plain(value) for key, value in document.items()}


def to_json(diagnosis: Facts) -> str:
    """Return the document as text: indented, in ASCII so that every console prints it, without a final line break."""
    return json.dumps(to_document(diagnosis), indent=2, allow_nan=False)


def plain(value: object) -> object:
    """Return a value in types that JSON has; a number that is not finite becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    return value
