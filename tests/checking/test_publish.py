import json
from pathlib import Path

import pytest

from isometry.checking.publish import annotations, sarif, source_of
from tests.report.cases import broken

CODE = (
    "import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n\n\ndef build():\n    return Net()\n\n\nready = build()\n"
)


@pytest.mark.parametrize(("name", "line"), [("Net", 4), ("build", 8), ("ready", 12), ("missing", 1)])
def test_a_builder_is_found_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: int) -> None:
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = source_of(f"net.py:{name}")

    assert found is not None
    assert (found.path, found.line) == ("net.py", line)


def test_a_builder_in_a_package_is_found() -> None:
    found = source_of("isometry.findings.rule:find_rule")

    assert found is not None
    assert found.path.endswith("isometry/findings/rule.py")
    assert found.line > 1


@pytest.mark.parametrize("word", ["none.py:build", "no.such.package:build", "torch", ":"])
def test_what_is_nowhere_has_no_place(word: str) -> None:
    assert source_of(word) is None


def test_both_formats_name_the_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = json.loads(sarif(broken(), "net.py:build"))["runs"][0]["results"][0]

    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 8
    assert "file=net.py,line=8" in annotations(broken(), "net.py:build")
