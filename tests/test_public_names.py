import ast
import importlib
from pathlib import Path

import pytest

import isometry
from isometry import _HOMES  # pyright: ignore[reportPrivateUsage] - what this file is about

SOURCE = Path(isometry.__file__).parent


def stub() -> ast.Module:
    return ast.parse((SOURCE / "__init__.pyi").read_text(encoding="utf-8"))


def test_the_stub_and_the_lazy_table_name_the_same_things_from_the_same_homes() -> None:
    imported = {
        alias.asname: node.module
        for node in stub().body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    listed = next(ast.literal_eval(node.value) for node in stub().body if isinstance(node, ast.Assign))

    assert imported == _HOMES
    assert set(listed) == set(isometry.__all__) == set(_HOMES)


@pytest.mark.parametrize("name", isometry.__all__)
def test_every_public_name_leads_to_the_thing_of_its_home(name: str) -> None:
    thing = getattr(isometry, name)

    assert thing is getattr(importlib.import_module(_HOMES[name]), name)
    assert thing.__doc__


def test_there_are_a_few_dozen() -> None:
    assert 15 <= len(isometry.__all__) <= 36
    assert dir(isometry) == isometry.__all__


def test_no_public_name_is_a_modules() -> None:
    modules = {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".py"} - {"lab"}

    assert not modules & set(isometry.__all__)


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'chekc'\. Did you mean 'check'\? It has: Anatomy, .*check"):
        _ = isometry.chekc  # pyright: ignore[reportAttributeAccessIssue] - the point
