"""Watches trainings, says when to stop, and steadies the optimiser.

Names are loaded when they are first used, so that no optional library is imported by others' names.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "BestWeights": "isometry.training.stopping.best",
    "ClipTally": "isometry.training.optim.clipping",
    "Clipped": "isometry.training.optim.clipping",
    "DecayAudit": "isometry.training.optim.decay_audit",
    "Decision": "isometry.training.stopping.rule",
    "DoubleDescent": "isometry.training.stopping.descent",
    "GL": "isometry.training.stopping.prechelt",
    "LAMB": "isometry.training.optim.lamb",
    "LARS": "isometry.training.optim.lars",
    "LabelWave": "isometry.training.stopping.label_wave",
    "LightningWatch": "isometry.training.watching.adapters.lightning",
    "Memorisation": "isometry.training.labels.memorisation",
    "PQ": "isometry.training.stopping.prechelt",
    "PredictionChanges": "isometry.training.stopping.label_wave",
    "RandomLabelProbe": "isometry.training.stopping.probe",
    "RateBound": "isometry.training.optim.rate_bound",
    "Records": "isometry.training.watching.records",
    "Replay": "isometry.training.stopping.replayed",
    "Run": "isometry.training.watching.run",
    "STOPPING_RULES": "isometry.training.stopping.replay",
    "Sink": "isometry.training.watching.sink",
    "SkorchWatch": "isometry.training.watching.adapters.skorch",
    "StoppingRule": "isometry.training.stopping.rule",
    "Suspects": "isometry.training.labels.suspects",
    "TensorBoard": "isometry.training.watching.sinks.tensorboard",
    "Terminal": "isometry.training.watching.sinks.terminal",
    "TrainerWatch": "isometry.training.watching.adapters.transformers",
    "UP": "isometry.training.stopping.prechelt",
    "Wandb": "isometry.training.watching.sinks.wandb",
    "ZClip": "isometry.training.optim.spikes",
    "audit_decay": "isometry.training.optim.decay_audit",
    "clip_by_unit_norm_": "isometry.training.optim.units",
    "clip_global_norm_": "isometry.training.optim.clipping",
    "load_checkpoint": "isometry.training.watching.checkpoint",
    "probed": "isometry.training.stopping.probe",
    "rate_bound": "isometry.training.optim.rate",
    "read_run": "isometry.training.watching.reader",
    "units_of": "isometry.training.optim.units",
    "with_random_labels": "isometry.training.stopping.probe",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
