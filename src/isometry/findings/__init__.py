"""Rules with codes: measurements in, findings out."""

from isometry.findings import (
    arithmetic,
    contents,
    data,
    gradients,
    linearity,
    loss,
    output,
    parameters,
    precision,
    signal,
    targets,
    training,
    weights,
)
from isometry.findings.rule import AUDIT_RULES, RULES, Draft, Rule, find_rule

FAMILIES = (
    arithmetic,
    contents,
    data,
    gradients,
    linearity,
    loss,
    output,
    parameters,
    precision,
    signal,
    targets,
    training,
    weights,
)

__all__ = ["AUDIT_RULES", "FAMILIES", "RULES", "Draft", "Rule", "find_rule"]
