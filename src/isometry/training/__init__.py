"""Watches trainings, says when to stop, and steadies the optimiser.

Names are loaded when they are first used, so that no optional library is imported by others' names.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "LAMB": "isometry.training.optim.lamb",
    "LARS": "isometry.training.optim.lars",
    "ClipTally": "isometry.training.optim.clipping",
    "Clipped": "isometry.training.optim.clipping",
    "DecayAudit": "isometry.training.optim.decay_audit",
    "LightningWatch": "isometry.training.watching.adapters.lightning",
    "RateBound": "isometry.training.optim.rate_bound",
    "Records": "isometry.training.watching.records",
    "Run": "isometry.training.watching.run",
    "Sink": "isometry.training.watching.sink",
    "SkorchWatch": "isometry.training.watching.adapters.skorch",
    "TrainerWatch": "isometry.training.watching.adapters.transformers",
    "ZClip": "isometry.training.optim.spikes",
    "audit_decay": "isometry.training.optim.decay_audit",
    "clip_by_unit_norm_": "isometry.training.optim.units",
    "clip_global_norm_": "isometry.training.optim.clipping",
    "load_checkpoint": "isometry.training.watching.checkpoint",
    "rate_bound": "isometry.training.optim.rate",
    "read_run": "isometry.training.watching.reader",
    "units_of": "isometry.training.optim.units",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
