"""Public names of a package that are loaded when they are first used, so that importing it imports no torch."""

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str], packages: tuple[str, ...] = ()) -> Callable[[str], Any]:
    """Return a module's `__getattr__` (PEP 562) that looks names up where they are written.

    Args:
        package: The package's `__name__`.
        homes: From a public name to the module that it is written in.
        packages: Public packages inside it, which are loaded likewise.

    Returns:
        A function from a name to its thing, which keeps the thing in the package; a name that is not in the table is
        an AttributeError with the nearest and with all there are.
    """
    known = [*homes, *packages]

    def load(name: str) -> Any:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise AttributeError(f"module {package!r} has no attribute {name!r}.{hint} It has: {', '.join(known)}.")
        if name in packages:
            return importlib.import_module(f"{package}.{name}")  # which keeps it in this package itself
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
