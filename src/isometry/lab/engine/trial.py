"""A trial: a pure function of a configuration, known by the hash of both."""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from isometry._errors import LabError

ID_LENGTH = 16  # hexadecimal digits, 64 bits: a million trials share one with a chance of 3e-8


class Progress(Protocol):
    """What a trial tells on its way."""

    def __call__(self, share: float, /, **metrics: float) -> None:
        """Add a line to the trial's records.

        Args:
            share: Of the trial that is done, in [0, 1].
            metrics: Numbers of this moment under their names, in whatever units; they outlive a crash.
        """


Function = Callable[[Mapping[str, Any], Progress], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One call that is to be made once.

    Attributes:
        function: `package.module:name` of a function of configuration and progress that returns what JSON can hold.
        config: All that its result depends on, as JSON can hold it.
        name: For people; no part of what it is.
    """

    function: str
    config: Mapping[str, Any]
    name: str = ""

    def __post_init__(self) -> None:
        try:
            json.dumps(dict(self.config), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise LabError(
                f"the configuration of {self.name or self.function!r} cannot be written as JSON ({error}). "
                "Use finite numbers, strings, lists and mappings of them."
            ) from error

    @property
    def id(self) -> str:
        """Hash of function and configuration, whatever the order of its keys."""
        whole = {"function": self.function, "config": dict(self.config)}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode()).hexdigest()[:ID_LENGTH]

    def call(self, progress: Progress) -> Mapping[str, Any]:
        """Make the call.

        Args:
            progress: Told how far it is, and metrics.

        Returns:
            Its result.

        Raises:
            LabError: If there is no such function.
        """
        return find_function(self.function)(self.config, progress)


def find_function(word: str) -> Function:
    """Return the function of a word `package.module:name`.

    Raises:
        LabError: If the module or the name in it does not exist.
    """
    module, _, name = word.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LabError(
            f"{word!r} leads to no function ({error}). Give `package.module:name` of one at the top of a module that "
            "every worker can import."
        ) from error
