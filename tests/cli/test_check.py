import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.cli.running import built, invoke


def no_constants(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")


def document(*words: str) -> dict[str, Any]:
    """Return the one document a command prints."""
    result = invoke(*words, "--json")

    assert result.exit_code in {0, 1}, result.stderr
    return json.loads(result.stdout, parse_constant=no_constants)


@pytest.mark.parametrize(
    ("name", "code", "verdict"),
    [
        ("quadruple", 0, "healthy"),
        ("deep_sigmoid", 1, "broken"),
        ("nan_in_the_batch", 1, "broken"),
        ("detached", 1, "broken"),
    ],
)
def test_the_exit_code_is_one_for_a_broken_network_only(name: str, code: int, verdict: str) -> None:
    result = invoke("check", built(name))

    assert result.exit_code == code
    assert verdict in result.stdout


def test_json_is_the_whole_output_and_holds_the_contract() -> None:
    found = document("check", built("deep_sigmoid"))

    assert {"schema", "model", "verdict", "seed", "versions", "findings", "skipped", "layers", "cost"} <= set(found)
    assert (found["schema"], found["verdict"], found["seed"]) == (1, "broken", 0)
    assert found["findings"][0]["name"] == "vanishing-gradient"
    assert {"torch", "isometry"} <= set(found["versions"])


def test_json_has_no_number_that_json_lacks() -> None:
    found = document("check", built("nan_in_the_batch"))

    assert found["findings"][0]["name"] == "nan-inf"


def test_json_is_not_mixed_with_what_a_model_prints() -> None:
    result = invoke("check", built("talking"), "--json")

    assert json.loads(result.stdout)["verdict"] == "healthy"
    assert "from the model" in result.stderr
    assert "from the builder" in result.stderr


def test_a_mistake_prints_no_document() -> None:
    result = invoke("check", built("number"), "--json")

    assert (result.exit_code, result.stdout) == (2, "")


def test_html_is_written_beside_the_terminal_report(tmp_path: Path) -> None:
    result = invoke("check", built("quadruple"), "--html", tmp_path / "report.html")

    assert result.exit_code == 0
    assert "healthy" in result.stdout
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
