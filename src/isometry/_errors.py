"""The errors a user of isometry can meet; each message says what was found, what is needed and what to do.

IsometryError
├── UnknownNameError   (LookupError)   a scheme, rule or finding that does not exist
├── ShapeError         (ValueError)    a tensor whose shape does not fit
├── DomainError        (ValueError)    a number outside the range a formula holds on
├── BuilderError       (ValueError)    the MODEL word, or what its builder returned
├── ModelError         (RuntimeError)  the model failed on its batch
│   └── RefusedError   (RuntimeError)  for a reason that one of the rules names
├── PlanError          (ValueError)    a plan that does not fit the model
├── SettingsError      (ValueError)    a rule or threshold that is set to what it cannot be
├── LabError           (RuntimeError)  an experiment or a sweep that cannot be run or read
│   └── NotApplicableError (RuntimeError)  an experiment that has no answer about this model
├── OutputError        (OSError)       a file that cannot be written
├── RunError           (ValueError)    a watched run that is set up or used as it cannot be meant, or is no run
├── NonFiniteError     (ArithmeticError)  a training that came to a NaN or an infinity
└── MissingExtraError  (ImportError)   an optional library that is not installed
"""

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isometry._phrases import Phrase

MAX_TOLD = 400  # characters of another library's message; more are its own stack trace


class IsometryError(Exception):
    """The root of every error that isometry raises on purpose."""


class UnknownNameError(IsometryError, LookupError):
    """A name that no registry holds."""


class ShapeError(IsometryError, ValueError):
    """A tensor whose shape does not fit what is asked of it."""


class DomainError(IsometryError, ValueError):
    """A number outside the range that a formula holds on."""


class BuilderError(IsometryError, ValueError):
    """A MODEL word that leads nowhere, or a builder that returned something else than a task."""


class ModelError(IsometryError, RuntimeError):
    """A model that failed on its batch, or whose result is no scalar loss with a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a rule would say of a model that failed on its batch.

    Attributes:
        code: The rule's code.
        where: Names of modules or parameters, or `targets`.
        cause: Why it failed, in a clause.
        remedy: What to do.
        measured: The number that was seen, in `unit`.
        allowed: The bound it was held against, in `unit`.
        unit: The unit of both.
    """

    code: str
    where: tuple[str, ...]
    cause: str
    remedy: str
    measured: float
    allowed: float
    unit: str


class RefusedError(ModelError, RuntimeError):
    """A model that failed on its batch for a reason that one of the rules names.

    Attributes:
        refusal: What the rule would say.
    """

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class PlanError(IsometryError, ValueError):
    """A plan that does not fit the model it is applied to."""


class SettingsError(IsometryError, ValueError):
    """A setting in pyproject.toml, on the command line or in a Settings that cannot be meant."""


class LabError(IsometryError, RuntimeError):
    """An experiment, a trial or a sweep that cannot be run or read."""


class NotApplicableError(LabError, RuntimeError):
    """An experiment that has no answer about a model, since the model or its data lack what it needs.

    Attributes:
        reason: What was found and what is needed, which can be said in another language too.
    """

    def __init__(self, reason: "Phrase") -> None:
        super().__init__(reason)
        self.reason = reason


class OutputError(IsometryError, OSError):
    """A file that cannot be written where it was asked for."""


class RunError(IsometryError, ValueError):
    """A watched run that is set up or used as it cannot be meant, or a folder that holds none."""


class NonFiniteError(IsometryError, ArithmeticError):
    """A training that came to a NaN or an infinity; the weights are those before the step.

    Attributes:
        step: The optimiser's step it happened in, counts from 1.
        operation: The first operation whose result was not finite while its operands were; empty if it is not known.
        where: Canonical name of the module or parameter at it; empty if it is not known.
    """

    def __init__(self, message: str, *, step: int, operation: str, where: str) -> None:
        super().__init__(message)
        self.step = step
        self.operation = operation
        self.where = where


class MissingExtraError(IsometryError, ImportError):
    """An optional library that is not installed."""


def describe(error: BaseException) -> str:
    """Return the type and message of an error from somebody else's code, with the line of it, without a final stop.

    Example:
        >>> describe(KeyError("width"))
        "KeyError: 'width'"
    """
    if isinstance(error, SystemExit):
        told = f"sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        message = str(error.msg if isinstance(error, SyntaxError) else error).split("\nException raised from")[0]
        message = " ".join(message.split()).rstrip(".")
        message = message if len(message) <= MAX_TOLD else f"{message[:MAX_TOLD]}…"
        told = f"{type(error).__name__}: {message or 'no message'}"
    place = _place(error)
    return f"{told} ({place})" if place else told


def _place(error: BaseException) -> str:
    """Return file and line of the user's innermost frame."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}" if error.lineno else error.filename
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    paths = sysconfig.get_paths()
    isometry = str(Path(__file__).parent)
    libraries = (isometry, paths["stdlib"], paths["purelib"], paths["platlib"])
    outside = [frame for frame in frames if not frame.filename.startswith(isometry)]
    own = [frame for frame in outside if not frame.filename.startswith(libraries)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""
