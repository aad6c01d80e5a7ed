"""The published JSON schemas are made of the dataclasses, and what is printed holds to them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from isometry.checking.check import check
from isometry.checking.settings import Settings
from isometry.report.diagnosis import Diagnosis
from isometry.report.document import to_document
from tests.report.cases import broken, diagnosis, repaired

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGE = json.loads((FOLDER / "diagnosis.schema.json").read_text(encoding="utf-8"))


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schema", FOLDER / "schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invalid(document: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(PAGE).iter_errors(document)]


@pytest.mark.parametrize("name", ["diagnosis.schema.json", "run.schema.json"])
def test_the_published_schema_is_that_of_the_code(name: str) -> None:
    page = json.loads((FOLDER / name).read_text(encoding="utf-8"))

    assert generator().documents()[name] == page, "a dataclass has changed: run python docs/reference/schema.py"


def test_the_schema_itself_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(PAGE)

    assert set(PAGE["required"]) == set(to_document(diagnosis()))


def test_a_whole_check_prints_what_the_schema_says() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    task = nn.Sequential(*layers, nn.Linear(16, 3)), torch.randn(64, 16), torch.randint(3, (64,))
    found = check(*task, loss=F.cross_entropy, settings=Settings(jacobian=1))
    document = json.loads(found.to_json())

    assert document["jacobian"] is not None
    assert document["trial"] is not None
    assert document["findings"][0]["proof"] is not None
    assert not invalid(document)


@pytest.mark.parametrize("made", [diagnosis(), broken(), repaired()], ids=["empty", "broken", "repaired"])
def test_documents_hold_to_the_schema(made: Diagnosis) -> None:
    assert not invalid(to_document(made))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("verdict", "well"),
        ("schema", 2),
        ("findings", None),
        ("layers", [{"name": "a"}]),
        ("trial", {"losses": "none"}),
    ],
)
def test_what_is_no_document_is_refused(key: str, value: object) -> None:
    assert invalid({**to_document(diagnosis()), key: value})
