"""Rules with codes, and `check`, which runs them all."""

from isometry.findings import arithmetic, gradients, loss, parameters, signal, weights
from isometry.findings.check import check, diagnose
from isometry.findings.rule import RULES, Draft, Rule, find_rule

FAMILIES = (arithmetic, gradients, loss, parameters, signal, weights)

__all__ = ["FAMILIES", "RULES", "Draft", "Rule", "check", "diagnose", "find_rule"]
