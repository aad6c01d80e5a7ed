"""What reports say: the templates that stand in the code, and those that are asked for while reports are made."""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import isometry
from isometry.report import language
from isometry.report.catalogue import MESSAGES

SOURCE = Path(isometry.__file__).parent
SAYS = {"say", "Phrase", "counted"}


def written() -> set[str]:
    """Return the templates that calls of `say` and `Phrase` name, and the messages."""
    found = set(MESSAGES.values())
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in SAYS:
                found |= {each.value for each in _constants(node)}
    return {text for text in found if _has_words(text)}


def _constants(call: ast.Call) -> Iterator[ast.Constant]:
    """Yield the texts among the arguments that are sentences: the first, and both sides of a choice."""
    name = getattr(call.func, "id", "")
    first = call.args[1:2] if name == "counted" else call.args[:1]
    for argument in (*first, *(keyword.value for keyword in call.keywords)):
        for node in ast.walk(argument) if isinstance(argument, ast.IfExp) else (argument,):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node


@contextmanager
def asked() -> Iterator[set[str]]:
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
