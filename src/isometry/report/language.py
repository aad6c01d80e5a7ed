"""The language of a report: English as it is written in the code, others by a catalogue of templates.

The catalogues are text (`vi.toml`: English template → translation) behind gettext's interface. A renderer asks `say`
for every word of its own and for every sentence of a rule; which language is spoken is set once, around the report.
"""

import gettext
import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

from isometry._errors import UnknownNameError
from isometry._phrases import Phrase

LANGUAGES = ("en", "vi")
VALUES = "values"  # the table of what is filled into templates


class Catalogue(gettext.NullTranslations):
    """Translations from a table of templates; what it lacks is said in English."""

    def __init__(self, templates: Mapping[str, str], values: Mapping[str, str]) -> None:
        super().__init__()
        self._templates = {**templates, **values}
        self._values = values

    def gettext(self, message: str) -> str:
        """Return the translation of a template, or the template itself."""
        return self._templates.get(message, message)

    def value(self, text: str) -> str:
        """Return the translation of a plain text that is filled in, or the text itself.

        It may be a name of the user's, so that only few texts are known here: a loss called `loss` keeps its name.
        """
        return self._values.get(text, text)


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
        return Catalogue({}, {})
    text = files("isometry.report").joinpath(f"{lang}.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, str]] = tomllib.loads(text)
    values = tables.pop(VALUES)
    return Catalogue({english: words for table in tables.values() for english, words in table.items()}, values)


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
        values: What is filled in. A Phrase among them is said in the same language, plain text if it is known as such.

    Example:
        >>> say("{count} steps", count=3)
        '3 steps'
    """
    spoken = _SPOKEN.get()
    if spoken is None:
        return text.format(**values) if values else text
    if isinstance(text, Phrase):
        text, values = text.template, text.values
    filled = {name: _in_words(value, spoken) for name, value in values.items()}
    template = spoken.gettext(text)
    return template.format(**filled) if values else template


def _in_words(value: object, spoken: Catalogue) -> object:
    if isinstance(value, Phrase):
        return say(value)
    return spoken.value(value) if isinstance(value, str) else value
