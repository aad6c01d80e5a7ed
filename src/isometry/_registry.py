"""One typed table of named things, in the order in which they were added."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from isometry._errors import UnknownNameError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A table from names to things that answers a wrong name with the nearest right ones.

    Example:
        >>> schemes = Registry[str]("scheme")
        >>> _ = schemes.add("he-normal")("a rule")
        >>> schemes["he-normal"]
        'a rule'
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._things: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """Return a decorator that enters a thing under `name`; a name is given once."""
        assert name not in self._things, f"{self._noun} {name!r} is defined twice"

        def enter(thing: T) -> T:
            self._things[name] = thing
            return thing

        return enter

    def __getitem__(self, name: str) -> T:
        if name in self._things:
            return self._things[name]
        near = difflib.get_close_matches(name, self._things, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownNameError(f"no {self._noun} is named {name!r}.{hint} Known: {', '.join(sorted(self._things))}.")

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
