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


@pytest.mark.parametrize(
    ("options", "found"),
    [
        pytest.param(("--select", "BWD"), {"BWD101"}, id="a family"),
        pytest.param(("--ignore", "BWD101,FWD105"), set(), id="what is found is ignored"),
        pytest.param(("--select", "BWD101", "--set", "BWD101.max-decay=1e3", "--steps", "0"), {"BWD101"}, id="a bound"),
    ],
)
def test_rules_and_bounds_are_chosen_by_words(options: tuple[str, ...], found: set[str]) -> None:
    document = json.loads(invoke("check", built("deep_sigmoid"), "--json", "--isolated", *options).stdout)

    assert {finding["code"] for finding in document["findings"]} & {"BWD101", "FWD105"} == found


def test_a_file_of_settings_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('[tool.isometry]\nselect = ["NUM101"]\nsteps = 0', encoding="utf-8")
    result = invoke("check", built("deep_sigmoid"), "--config", path)

    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("form", "start"), [("github", "::error file="), ("sarif", "{"), ("json", "{"), ("text", "✗ broken")]
)
def test_a_format_is_printed_and_nothing_else(form: str, start: str) -> None:
    assert invoke("check", built("deep_sigmoid"), "--format", form).stdout.startswith(start)


def test_json_has_a_long_form_and_a_short_one() -> None:
    words = ("check", built("quadruple"), "--select", "NUM101")

    assert invoke(*words, "--json", "--format", "json").stdout.startswith("{")
    assert invoke(*words, "--json").stdout.startswith("{")


def test_the_help_names_the_table_of_settings() -> None:
    assert "[tool.isometry]" in invoke("check", "--help").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--select", "BWD999"), "no rule has the code or name 'BWD999'"),
        (("--set", "BWD101"), "sets no threshold"),
        (("--config", "none.toml"), "cannot be read"),
        (("--config", "none.toml", "--isolated"), "Give one of them"),
        (("--format", "sarif", "--json"), "--json and --format sarif both say what to print"),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_with_two_and_a_sentence(options: tuple[str, ...], said: str) -> None:
    result = invoke("check", built("deep_sigmoid"), *options)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
