"""The language of a report: English as it is written in the code, others by a catalogue of templates.

The catalogues are text (`vi.toml`: English template → translation) behind gettext's interface. A renderer asks `say`
for every word of its own and for every sentence of a rule; which language is spoken is set once, around the report.
"""

import gettext
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from isometry._errors import UnknownNameError
from isometry.report.phrases import Phrase

LANGUAGES = ("en", "vi")


class Catalogue(gettext.NullTranslations):
    """Translations from a table of templates; what it lacks is said in English."""

    def __init__(self, table: dict[str, str]) -> None:
        super().__init__()
        self._table = table

    def gettext(self, message: str) -> str:
        """Return the translation of a template, or the template itself."""
        return self._table.get(message, message)


@cache
def catalogue(lang: str) -> Catalogue:
    """Return the catalogue of a language.

    Args:
        lang: Its code, such as `vi`.

    Raises:
        UnknownNameError: If reports do not speak it.
    """
    if lang not in LANGUAGES:
        raise UnknownNameError(f"reports do not speak {lang!r}. Known: {', '.join(LANGUAGES)}.")
    if lang == LANGUAGES[0]:
        return Catalogue({})
    text = files("isometry.report").joinpath(f"{lang}.toml").read_text(encoding="utf-8")
    return Catalogue({english: words for table in tomllib.loads(text).values() for english, words in table.items()})


_SPOKEN: ContextVar[Catalogue | None] = ContextVar("spoken", default=None)


@contextmanager
def speaking(lang: str) -> Generator[None]:
    """Say everything inside of the block in a language.

    Args:
        lang: Its code, `en` or `vi`.

    Yields:
        Nothing.

    Raises:
        UnknownNameError: If reports do not speak it.
    """
    token = _SPOKEN.set(catalogue(lang))
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def say(text: str, **values: Any) -> str:
    """Return a text in the language that is spoken.

    Args:
        text: English: a sentence, a template for `values`, or a Phrase, which brings its own template and values.
        values: What is filled in; what is text among them is translated too where the catalogue knows it.

    Example:
        >>> say("{count} steps", count=3)
        '3 steps'
    """
    spoken = _SPOKEN.get()
    if spoken is None:
        return text.format(**values) if values else text
    if isinstance(text, Phrase):
        text, values = text.template, text.values
    filled = {name: say(value) if isinstance(value, str) else value for name, value in values.items()}
    template = spoken.gettext(text)
    return template.format(**filled) if values else template
