"""Sentences for people: English text that remembers its template, so that it can be said in another language."""

from collections.abc import Mapping
from typing import Any


class Phrase(str):
    """An English sentence that was filled in, with the template and the values it was made of.

    It is the English text wherever text is wanted. A translation is found by the template, and filled in with the same
    values; a value that is a Phrase itself is translated first.

    Example:
        >>> Phrase("each layer multiplies the gradient by {factor:.3g}", factor=0.25)
        'each layer multiplies the gradient by 0.25'
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> "Phrase":
        """Fill a template in; without values it may hold braces of its own."""
        phrase = super().__new__(cls, template.format(**values) if values else template)
        phrase.template = template
        phrase.values = values
        return phrase

    @property
    def parts(self) -> dict[str, Any]:
        """Template and values as JSON can hold them, if it can hold the values."""
        values = {name: value.parts if isinstance(value, Phrase) else value for name, value in self.values.items()}
        return {"template": self.template, "values": values}

    @classmethod
    def of_parts(cls, parts: Mapping[str, Any]) -> "Phrase":
        """Return the phrase that has these `parts`."""
        values = {
            name: cls.of_parts(value) if isinstance(value, dict) else value for name, value in parts["values"].items()
        }
        return cls(parts["template"], **values)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:  # for copies and pickles
        return (self.template,), self.values
