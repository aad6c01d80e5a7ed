import json
import re
from pathlib import Path

import pytest

from tests.cli.running import built, invoke

FORMS = ["pair", "triple", "quadruple", "quintuple", "task", "keywords", "arguments_and_keywords"]
LOADERS = ["loader", "loader_of_inputs", "mapping_loader"]


@pytest.mark.parametrize("name", [*FORMS, *LOADERS])
def test_every_form_of_builder_is_checked(name: str) -> None:
    result = invoke("check", built(name))

    assert result.exit_code == 0, result.stderr
    assert "healthy" in result.stdout


@pytest.mark.parametrize("name", ["instance", "Small"])
def test_a_module_and_a_class_need_no_more_than_a_shape(name: str) -> None:
    assert invoke("check", built(name), "--input", "16x8").exit_code == 0


def test_a_module_is_found_by_its_import_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "network_of_mine.py").write_text("from torch import nn\nclass Holder:\n    net = nn.Linear(8, 2)\n")
    monkeypatch.chdir(tmp_path)

    assert invoke("check", "network_of_mine:Holder.net", "--input", "16x8").exit_code == 0


def test_a_builder_imports_its_neighbours_while_it_builds(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("from torch import nn\nnet = nn.Linear(8, 2)\n")
    (tmp_path / "model.py").write_text("def build():\n    from neighbour_of_mine import net\n    return net\n")

    assert invoke("check", f"{tmp_path / 'model.py'}:build", "--input", "16x8").exit_code == 0


def test_input_beside_a_builders_own_inputs_is_not_used_and_said() -> None:
    result = invoke("check", built("pair"), "--input", "3x3", "--json")

    assert "--input 3x3 was not used: the builder gives inputs." in json.loads(result.stdout)["warnings"]


def numbers(*words: str) -> str:
    """Run a command with --json and leave out what is a time."""
    result = invoke(*words, "--json")
    assert result.exit_code in {0, 1}, result.stderr
    return re.sub(r'"(step_)?seconds": [0-9.e-]+', "", result.stdout)


def test_a_seed_repeats_everything() -> None:
    words = ("check", built("reader"), "--input", "9x5:int64")

    assert numbers(*words, "--seed", "7") == numbers(*words, "--seed", "7")
    assert numbers(*words, "--seed", "7") != numbers(*words, "--seed", "8").replace('"seed": 8', '"seed": 7')
