"""The outcomes of experiments as one JSON document, schema 1."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from isometry.lab.engine.records import Record
from isometry.lab.outcome import Outcome
from isometry.report.document import plain

SCHEMA = 1  # raised when a key changes its meaning or goes away


def to_document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return outcomes in types that JSON has; ends of ranges that are open become None.

    Args:
        outcomes: What came of some studies.

    Returns:
        A new dictionary with the keys of schema 1.
    """
    document = {"schema": SCHEMA, "outcomes": [_entry(outcome) for outcome in outcomes]}
    return cast("dict[str, Any]", plain(document))


def _entry(outcome: Outcome) -> dict[str, Any]:
    study = outcome.study
    return {
        "experiment": study.name,
        "question": str(study.question),
        "source": study.experiment.source,
        "model": None if study.model is None else asdict(study.model),
        "settings": asdict(study.settings),
        "held": outcome.is_held,
        "does_not_apply": " ".join(outcome.why_not) or None,
        "error": outcome.error or None,
        "claims": [asdict(claim) | {"text": str(claim.text), "held": claim.is_held} for claim in outcome.claims],
        "seeds": [_seed(record) for record in outcome.records],
    }


def _seed(record: Record) -> dict[str, Any]:
    return {
        "seed": record.trial.config["seed"],
        "id": record.id,
        "state": record.state,
        "started": record.started,
        "seconds": record.seconds,
        "host": record.environment.get("host"),
        "versions": record.environment.get("versions", {}),
        "error": record.error or None,
    }
