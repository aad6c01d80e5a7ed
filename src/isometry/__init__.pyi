"""The public names of isometry, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry import lab as lab
from isometry import theory as theory
from isometry import training as training
from isometry._errors import IsometryError as IsometryError
from isometry.anatomy.builders import load_task as load_task
from isometry.anatomy.reading import Anatomy as Anatomy
from isometry.anatomy.reading import read as read
from isometry.anatomy.record import record as record
from isometry.anatomy.tape import Tape as Tape
from isometry.anatomy.task import Examples as Examples
from isometry.anatomy.task import Task as Task
from isometry.anatomy.task import make_task as make_task
from isometry.auditing.audit import audit as audit
from isometry.checking.check import check as check
from isometry.checking.settings import Settings as Settings
from isometry.checking.trainable import assert_trainable as assert_trainable
from isometry.findings import RULES as RULES
from isometry.findings.explanation import explain as explain
from isometry.planning.materialise import materialise as materialise
from isometry.planning.materialise import on_meta as on_meta
from isometry.planning.plan import Plan as Plan
from isometry.planning.recipes import RECIPES as RECIPES
from isometry.probes.race import race as race
from isometry.probes.race_result import RaceResult as RaceResult
from isometry.repair import Repair as Repair
from isometry.repair import fix as fix
from isometry.repair import plan as plan
from isometry.report.diagnosis import Diagnosis as Diagnosis
from isometry.report.finding import Finding as Finding
from isometry.report.finding import Remedy as Remedy
from isometry.schemes import SCHEMES as SCHEMES
from isometry.training.labels.memorise import can_memorise as can_memorise
from isometry.training.labels.mislabelled import find_mislabelled as find_mislabelled
from isometry.training.optim.groups import param_groups as param_groups
from isometry.training.stopping.early import EarlyStopping as EarlyStopping
from isometry.training.stopping.replay import replay as replay
from isometry.training.watching.watch import watch as watch

__all__ = [
    "RECIPES",
    "RULES",
    "SCHEMES",
    "Anatomy",
    "Diagnosis",
    "EarlyStopping",
    "Examples",
    "Finding",
    "IsometryError",
    "Plan",
    "RaceResult",
    "Remedy",
    "Repair",
    "Settings",
    "Tape",
    "Task",
    "assert_trainable",
    "audit",
    "can_memorise",
    "check",
    "explain",
    "find_mislabelled",
    "fix",
    "load_task",
    "make_task",
    "materialise",
    "on_meta",
    "param_groups",
    "plan",
    "race",
    "read",
    "record",
    "replay",
    "watch",
]
