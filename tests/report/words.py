"""What reports say: the templates that stand in the code, and those that are asked for while reports are made."""

import ast
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import isometry
from isometry.report import language
from isometry.report.catalogue import MESSAGES, ONE
from isometry.report.numerals import SINGULAR

SOURCE = Path(isometry.__file__).parent
SAYS = {"say", "Phrase", "counted", "NoSubjectError", "NotMeasuredError"}


SAID_LATER = {"unit", "title", "x_axis", "y_axis"}  # of numbers and of pictures


def written() -> set[str]:
    """Return the templates that calls of `say` and its like name, units and words of pictures, and the messages."""
    found = {*MESSAGES.values(), *ONE.values(), *SINGULAR.values()}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in SAYS:
                found |= set(_texts(_sentences(node)))
            elif isinstance(node, ast.keyword) and node.arg in SAID_LATER:
                found |= set(_texts([node.value]))
    return {text for text in found if _has_words(text)}


def constants() -> set[str]:
    """Return every text that stands in the code, also with the s of a plural."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        found |= set(_texts(ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    return found | {f"{text}s" for text in found}


def _sentences(call: ast.Call) -> list[ast.expr]:
    """Return the arguments that are sentences: the first, or what is counted, and what is filled in."""
    first = call.args[1:2] if getattr(call.func, "id", "") == "counted" else call.args[:1]
    return [*first, *(keyword.value for keyword in call.keywords)]


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the texts that nodes are, and those on both sides of a choice."""
    for node in nodes:
        if isinstance(node, ast.IfExp):
            yield from _texts((node.body, node.orelse))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@contextmanager
def asked() -> Generator[set[str]]:
    """Collect every template that is asked for while the block renders."""
    found: set[str] = set()
    look_up: Callable[[language.Catalogue, str], str] = language.Catalogue.gettext

    def listen(self: language.Catalogue, message: str) -> str:
        if _has_words(message):
            found.add(message)
        return look_up(self, message)

    with mock.patch.object(language.Catalogue, "gettext", listen):
        yield found


def _has_words(text: str) -> bool:
    return sum(letter.isalpha() for letter in text) > 1
