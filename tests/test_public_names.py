import ast
import importlib
from pathlib import Path

import pytest

import isometry

SOURCE = Path(isometry.__file__).parent


LAZY = ("isometry", "isometry.lab", "isometry.theory", "isometry.training")


def homes_of(package: str) -> dict[str, str]:
    return importlib.import_module(package)._HOMES


def stub(package: str) -> ast.Module:
    place = SOURCE.joinpath(*package.split(".")[1:])
    return ast.parse((place / "__init__.pyi").read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", LAZY)
def test_the_stub_and_the_lazy_table_name_the_same_things_from_the_same_homes(package: str) -> None:
    imported = {
        alias.asname: node.module
        for node in stub(package).body
        if isinstance(node, ast.ImportFrom) and node.module != "isometry"  # its packages
        for alias in node.names
        if alias.asname == alias.name
    }
    listed = next(ast.literal_eval(node.value) for node in stub(package).body if isinstance(node, ast.Assign))

    assert imported == homes_of(package)
    assert set(listed) == set(importlib.import_module(package).__all__) == set(homes_of(package))


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in LAZY for name in importlib.import_module(package).__all__]
)
def test_every_public_name_leads_to_the_thing_of_its_home(package: str, name: str) -> None:
    thing = getattr(importlib.import_module(package), name)

    assert thing is getattr(importlib.import_module(homes_of(package)[name]), name)
    assert thing.__doc__


@pytest.mark.parametrize("package", LAZY[1:])
def test_a_public_package_is_loaded_by_its_name(package: str) -> None:
    name = package.removeprefix("isometry.")

    assert getattr(isometry, name) is importlib.import_module(package)
    assert name in dir(isometry)
    assert set(dir(importlib.import_module(package))) == set(homes_of(package))


def test_there_are_a_few_dozen() -> None:
    assert 15 <= len(isometry.__all__) <= 36


@pytest.mark.parametrize("package", LAZY)
def test_no_public_name_is_a_modules(package: str) -> None:
    place = SOURCE.joinpath(*package.split(".")[1:])
    modules = {path.stem for path in place.iterdir() if path.is_dir() or path.suffix == ".py"}

    assert not modules & set(homes_of(package))


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'chekc'\. Did you mean 'check'\? It has: Anatomy, .*check"):
        _ = isometry.chekc  # pyright: ignore[reportAttributeAccessIssue] - the point
