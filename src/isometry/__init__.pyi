"""The public names of isometry, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry._errors import IsometryError as IsometryError
from isometry.anatomy.builders import load_task as load_task
from isometry.anatomy.reading import Anatomy as Anatomy, read as read
from isometry.anatomy.record import record as record
from isometry.anatomy.tape import Tape as Tape
from isometry.anatomy.task import Examples as Examples, Task as Task, make_task as make_task
from isometry.findings import RULES as RULES, check as check
from isometry.findings.explanation import explain as explain
from isometry.planning.plan import Plan as Plan
from isometry.probes.race import race as race
from isometry.probes.race_result import RaceResult as RaceResult
from isometry.repair import Repair as Repair, fix as fix, plan as plan
from isometry.report.diagnosis import Diagnosis as Diagnosis
from isometry.report.finding import Finding as Finding, Remedy as Remedy
from isometry.schemes import SCHEMES as SCHEMES

__all__ = [
    "Anatomy",
    "Diagnosis",
    "Examples",
    "Finding",
    "IsometryError",
    "Plan",
    "RULES",
    "RaceResult",
    "Remedy",
    "Repair",
    "SCHEMES",
    "Tape",
    "Task",
    "check",
    "explain",
    "fix",
    "load_task",
    "make_task",
    "plan",
    "race",
    "read",
    "record",
]
