"""Rules with codes: measurements in, findings out."""

from isometry.findings import arithmetic, contents, gradients, linearity, loss, parameters, precision, signal, weights
from isometry.findings.rule import AUDIT_RULES, RULES, Draft, Rule, find_rule

FAMILIES = (arithmetic, contents, gradients, linearity, loss, parameters, precision, signal, weights)

__all__ = ["AUDIT_RULES", "FAMILIES", "RULES", "Draft", "Rule", "find_rule"]
