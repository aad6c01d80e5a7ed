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
    watched,
    weights,
)
from isometry.findings.rule import AUDIT_RULES, RULES, WATCH_RULES, Draft, Rule, find_rule

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
    *watched.FAMILIES,
    weights,
)

__all__ = ["AUDIT_RULES", "FAMILIES", "RULES", "WATCH_RULES", "Draft", "Rule", "find_rule"]
