"""What `check` says of a program of the suite, in the words in which it is counted."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

import isometry as iso
from isometry.anatomy.task import Task
from isometry.report.finding import Finding
from tests.suite.case import Faulty


@dataclass(frozen=True, slots=True)
class Said:
    """A leading finding of severity error or warning."""

    code: str
    name: str
    severity: str
    where: tuple[str, ...]
    measured: float | None

    def __str__(self) -> str:
        number = "" if self.measured is None else f" {self.measured:.3g}"
        return f"{self.name} ({self.severity}{number})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one program under one seed; `crash` says with which error the check ended, if it did."""

    said: tuple[Said, ...] = ()
    crash: str = ""

    def has_hit(self, case: Faulty) -> bool:
        return any(each.name in case.labels for each in self.said)

    def has_blamed(self, case: Faulty) -> bool:
        """Say whether a true finding names one of the places of the fault, or a part of one."""
        named = [place for each in self.said if each.name in case.labels for place in each.where]
        return any(place == module or place.startswith(f"{module}.") for place in named for module in case.modules)

    def wrong(self, case: Faulty) -> tuple[Said, ...]:
        return tuple(each for each in self.said if each.name not in case.labels)


def verdict_of(build: Callable[[], Task], seed: int) -> Verdict:
    """Check a program under a seed; an error of the check is a verdict too, since a table should not stop at it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the programs are users', and earn some
        torch.manual_seed(seed)
        task = build()
        try:
            findings = iso.check(task, seed=seed).findings
        except Exception as error:  # noqa: BLE001 - whatever it is, the table shows it
            return Verdict(crash=f"{type(error).__name__}: {error}")
    return Verdict(tuple(_said(each) for each in findings if each.severity != "note" and each.because is None))


def _said(finding: Finding) -> Said:
    return Said(finding.code, finding.name, finding.severity, finding.where, finding.measured)
