"""Says whether a PyTorch network can train, names the cause, repairs the initialisation and proves the repair.

Names are loaded when they are first used, so that `import isometry` does not import torch.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "Anatomy": "isometry.anatomy.reading",
    "Diagnosis": "isometry.report.diagnosis",
    "EarlyStopping": "isometry.training.stopping.early",
    "Examples": "isometry.anatomy.task",
    "Finding": "isometry.report.finding",
    "IsometryError": "isometry._errors",
    "Plan": "isometry.planning.plan",
    "RECIPES": "isometry.planning.recipes",
    "RULES": "isometry.findings",
    "RaceResult": "isometry.probes.race_result",
    "Remedy": "isometry.report.finding",
    "Repair": "isometry.repair",
    "SCHEMES": "isometry.schemes",
    "Settings": "isometry.checking.settings",
    "Tape": "isometry.anatomy.tape",
    "Task": "isometry.anatomy.task",
    "assert_trainable": "isometry.checking.trainable",
    "audit": "isometry.auditing.audit",
    "can_memorise": "isometry.training.labels.memorise",
    "check": "isometry.checking.check",
    "explain": "isometry.findings.explanation",
    "find_mislabelled": "isometry.training.labels.mislabelled",
    "fix": "isometry.repair",
    "load_task": "isometry.anatomy.builders",
    "make_task": "isometry.anatomy.task",
    "materialise": "isometry.planning.materialise",
    "on_meta": "isometry.planning.materialise",
    "param_groups": "isometry.training.optim.groups",
    "plan": "isometry.repair",
    "race": "isometry.probes.race",
    "read": "isometry.anatomy.reading",
    "record": "isometry.anatomy.record",
    "replay": "isometry.training.stopping.replay",
    "watch": "isometry.training.watching.watch",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them


_PACKAGES = ("lab", "theory", "training")

__getattr__ = lazy_names(__name__, _HOMES, _PACKAGES)


def __dir__() -> list[str]:
    return sorted((*_HOMES, *_PACKAGES))
