"""Watches trainings, says when to stop, and steadies the optimiser.

Names are loaded when they are first used, so that no optional library is imported by others' names.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "LightningWatch": "isometry.training.watching.adapters.lightning",
    "RateBound": "isometry.training.optim.rate_bound",
    "Records": "isometry.training.watching.records",
    "Run": "isometry.training.watching.run",
    "Sink": "isometry.training.watching.sink",
    "SkorchWatch": "isometry.training.watching.adapters.skorch",
    "TrainerWatch": "isometry.training.watching.adapters.transformers",
    "load_checkpoint": "isometry.training.watching.checkpoint",
    "rate_bound": "isometry.training.optim.rate",
    "read_run": "isometry.training.watching.reader",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
