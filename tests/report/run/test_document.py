import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from isometry.report.run.document import run_document, run_json
from isometry.report.run.facts import RunFacts
from tests.report.run.cases import BACK, RUNS, run

PAGE = json.loads((Path(__file__).parents[3] / "docs/reference/run.schema.json").read_text(encoding="utf-8"))


def invalid(document: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(PAGE).iter_errors(document)]


@pytest.mark.parametrize("name", RUNS)
def test_every_run_holds_to_the_published_schema(name: str) -> None:
    document = json.loads(run_json(RUNS[name]()))

    assert not invalid(document)
    assert set(document) == set(PAGE["required"])


@pytest.mark.parametrize(("key", "value"), [("state", "well"), ("schema", 2), ("events", None), ("last", {"step": 1})])
def test_what_is_no_document_is_refused(key: str, value: object) -> None:
    assert invalid({**run_document(run()), key: value})


def test_numbers_that_are_not_finite_are_null() -> None:
    document = run_document(RUNS["run_not_finite"]())

    assert document["loss"] == {"first": None, "last": None, "lowest": None, "lowest_step": None}
    assert document["last"]["gradient_norm"] is None
    assert document["evaluations"][0]["metrics"] == {"val_loss": None}


@pytest.mark.parametrize(
    ("facts", "broken"), [(run(), False), (replace(run(), faults=(replace(BACK, action="stop"),)), True)]
)
def test_it_says_whether_the_run_is_broken(facts: RunFacts, broken: bool) -> None:
    assert run_document(facts)["is_broken"] == broken


def test_the_lowest_loss_stands_with_its_step() -> None:
    facts = run(steps=30, depth=1)
    losses = {
        loss: step
        for reading in facts.readings
        for step, loss in zip(range(reading.step, 0, -1), reading.losses[::-1], strict=False)
    }
    document = run_document(facts)

    assert document["loss"]["lowest"] == min(losses)
    assert document["loss"]["lowest_step"] == losses[min(losses)]
