import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest

from isometry.report.diagnosis import Diagnosis
from isometry.report.document import to_document
from isometry.report.facts import LayerRow
from isometry.report.finding import Proof
from tests.report.cases import REPORTS, VANISHING, broken, diagnosis

NUMBER = (float, int, type(None))
FINDING = {
    "code": (str,),
    "name": (str,),
    "severity": {"error", "warning", "note"},
    "where": [(str,)],
    "measured": NUMBER,
    "allowed": NUMBER,
    "unit": (str,),
    "message": (str,),
    "cause": (str,),
    "because": (str, type(None)),
    "proof": (dict, type(None)),
    "remedy": {
        "kind": {"init", "model", "data", "optimizer", "precision", "none"},
        "text": (str,),
        "suggestion": (str,),
    },
}
LAYER = {
    "name": (str,),
    "kind": (str,),
    **{
        f"{quantity}": NUMBER
        for quantity in (
            *("fan_in", "fan_out", "activation_rms", "activation_spread", "gradient_rms", "weight_rms"),
            *("weight_gradient_rms", "zero_share", "saturated_share"),
        )
    },
    "is_on_trunk": (bool,),
    "is_head": (bool,),
}
SCHEMA_1 = {
    "schema": {1},
    "model": (str,),
    "verdict": {"healthy", "at-risk", "broken"},
    "seed": (int,),
    "versions": (dict,),
    "loss": NUMBER,
    "loss_name": (str,),
    "findings": [FINDING],
    "skipped": [{"code": (str,), "reason": (str,)}],
    "layers": [LAYER],
    "cost": {"seconds": (float,), "step_seconds": (float,), "peak_bytes": (int, type(None))},
    "warnings": [(str,)],
    "trial": (dict, type(None)),
    "jacobian": (dict, type(None)),
}
PROOF = {
    "change": (str,),
    "before": NUMBER,
    "after": NUMBER,
    "confirmed": (bool,),
    "unit": (str,),
    "loss_before": NUMBER,
    "loss_after": NUMBER,
    "is_share": (bool,),
    "open_after": (int, type(None)),
}


def assert_fits(value: Any, schema: Any) -> None:
    """Types are tuples, choices are sets, a list holds the schema of its members, a dictionary one a key."""
    if isinstance(schema, dict):
        assert set(value) == set(schema)
        for key, inner in schema.items():
            assert_fits(value[key], inner)
    elif isinstance(schema, list):
        assert isinstance(value, list)
        for member in value:
            assert_fits(member, schema[0])
    elif isinstance(schema, set):
        assert value in schema
    else:
        assert type(value) in schema


def strictly_loaded(text: str) -> Any:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "report_race"])
def test_every_document_fits_schema_1_and_survives_a_strict_reader(name: str) -> None:
    value = REPORTS[name]()
    assert isinstance(value, Diagnosis)
    document = strictly_loaded(value.to_json())

    assert_fits(document, SCHEMA_1)
    assert document == to_document(value)


def test_the_schema_names_every_field_of_a_layer() -> None:
    assert set(LAYER) == {field.name for field in fields(LayerRow)}


def test_a_proof_is_an_object() -> None:
    document = strictly_loaded(broken().to_json())

    assert_fits(document["findings"][0]["proof"], PROOF)
    assert document["findings"][1]["proof"] is None


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_null_at_every_depth(strange: float) -> None:
    finding = replace(VANISHING, measured=strange, proof=Proof("none", strange, 1.0, confirmed=False))
    value = diagnosis(finding, layers=(LayerRow(name="a", kind="linear", gradient_rms=strange),), loss=strange)
    document = strictly_loaded(value.to_json())

    assert document["loss"] is None
    assert document["findings"][0]["measured"] is None
    assert document["findings"][0]["proof"]["before"] is None
    assert document["layers"][0]["gradient_rms"] is None


def test_the_text_can_be_printed_on_any_console() -> None:
    text = diagnosis(model="mạng \ud800").to_json()

    assert text.isascii()
    assert strictly_loaded(text)["model"] == "mạng \ud800"
