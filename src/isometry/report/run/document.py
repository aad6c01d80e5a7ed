"""A run as one JSON document, schema 1: the contract of `isometry watch --json` and of a run's `summary.json`."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from isometry.report.document import plain
from isometry.report.run.course import losses_of, steps_per_second
from isometry.report.run.facts import RunFacts
from isometry.report.run.words import is_broken

SCHEMA = 1  # raised when a key changes its meaning or goes away; new keys may be added without


def run_document(facts: RunFacts) -> dict[str, Any]:
    """The run in types that JSON has, without its readings but the last; numbers that are not finite become None.

    Args:
        facts: What to put down.

    Returns:
        A new dictionary with the keys of schema 1, in the order in which people read them.
    """
    measured = [reading for reading in facts.readings if reading.is_measured]
    last = next(reversed(measured or facts.readings), None)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": facts.name,
        "model": facts.model,
        "optimizer": facts.optimizer,
        "state": facts.state,
        "reason": facts.reason,
        "is_broken": is_broken(facts),
        "steps": facts.steps,
        "seconds": facts.seconds,
        "steps_per_second": steps_per_second(facts.readings),
        "every": facts.every,
        "num_ranks": facts.num_ranks,
        "num_unread": facts.num_unread,
        "num_readings": len(measured or facts.readings),
        "versions": dict(facts.versions),
        "loss": _loss(losses_of(facts.readings)),
        "events": [asdict(event) for event in facts.events],
        "faults": [asdict(fault) for fault in facts.faults],
        "evaluations": [
            {"step": seen.step, "epoch": seen.epoch, "metrics": dict(seen.metrics)} for seen in facts.evaluations
        ],
        "snapshots": list(facts.snapshots),
        "extremes": [asdict(extreme) for extreme in facts.extremes],
        "last": None if last is None else asdict(last),
    }
    return {key: plain(value) for key, value in document.items()}


def run_json(facts: RunFacts) -> str:
    """Return the document as text: indented, in ASCII so that every console prints it, without a final line break."""
    return json.dumps(run_document(facts), indent=2, allow_nan=False)


def _loss(losses: Sequence[tuple[int, float]]) -> Mapping[str, float | None] | None:
    if not losses:
        return None
    finite = [(loss, step) for step, loss in losses if math.isfinite(loss)]
    lowest, step = min(finite) if finite else (None, None)
    return {"first": losses[0][1], "last": losses[-1][1], "lowest": lowest, "lowest_step": step}
