"""The errors a user of isometry can meet; each message says what was found, what is needed and what to do.

IsometryError
├── UnknownNameError   (LookupError)   a scheme, rule or finding that does not exist
├── ShapeError         (ValueError)    a tensor whose shape does not fit
├── DomainError        (ValueError)    a number outside the range a formula holds on
├── BuilderError       (ValueError)    the MODEL word, or what its builder returned
├── ModelError         (RuntimeError)  the model failed on its batch
├── PlanError          (ValueError)    a plan that does not fit the model
├── OutputError        (OSError)       a file that cannot be written
└── MissingExtraError  (ImportError)   an optional library that is not installed
"""


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


class PlanError(IsometryError, ValueError):
    """A plan that does not fit the model it is applied to."""


class OutputError(IsometryError, OSError):
    """A file that cannot be written where it was asked for."""


class MissingExtraError(IsometryError, ImportError):
    """An optional library that is not installed."""
