import importlib
import re
from pathlib import Path

import pytest

from isometry import _errors
from isometry._errors import IsometryError, describe

TREE = {match[1]: match[2] for match in re.finditer(r"[├└]── (\w+) +\((\w+)\)", _errors.__doc__ or "")}


def test_the_drawn_tree_is_the_real_one() -> None:
    real = {
        error.__name__: error.__bases__[1].__name__
        for error in vars(_errors).values()
        if isinstance(error, type) and issubclass(error, IsometryError) and error is not IsometryError
    }

    assert real == TREE


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("width"), "KeyError: 'width'"),
        (ValueError("two\n  lines."), "ValueError: two lines"),
        (ValueError(), "ValueError: no message"),
        (
            RuntimeError("no memory\nException raised from alloc (most recent call first):\nframe 0"),
            "RuntimeError: no memory",
        ),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 400}…"),
        (SystemExit(), "sys.exit()"),
        (SystemExit("gone"), "sys.exit('gone')"),
        (SyntaxError("invalid syntax", ("model.py", 3, 1, "")), "SyntaxError: invalid syntax (model.py:3)"),
    ],
)
def test_an_error_is_told_in_a_line(error: BaseException, told: str) -> None:
    assert describe(error) == told


def test_the_line_is_the_users_and_not_a_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isometry_experiment.py").write_text("import json\n\ndef load():\n    return json.loads('{')\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("isometry_experiment")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the library's
        module.load()

    assert describe(caught.value).endswith(f"({tmp_path / 'isometry_experiment.py'}:4)")
