"""What a diagnosis holds: all findings and measurements of one task, with a verdict; the renderers read this."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from isometry._phrases import Phrase
from isometry.probes.jacobian_result import JacobianResult
from isometry.probes.trial_result import TrialResult
from isometry.report.finding import Finding

Verdict = Literal["healthy", "at-risk", "broken"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)  # from good to bad


IGNORED = Phrase("ignored by the settings")  # why a rule was skipped that could have been judged


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that was not judged, and why."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """What was measured at one layer, in the order of execution; None where it was not measured.

    Attributes:
        name: Canonical name of the module or parameter.
        kind: The operation, such as `linear`, `conv2d`, `sum` (a residual sum) or `lstm`.
        fan_in: Connections into one unit, counts.
        fan_out: Connections out of one input, counts.
        activation_rms: Root mean square of the layer's output.
        activation_spread: The part of it that differs between samples, root mean square.
        gradient_rms: Root mean square of the loss's gradient at the layer's output.
        weight_rms: Root mean square of the layer's weight.
        weight_gradient_rms: Root mean square of the loss's gradient with respect to the weight.
        zero_share: Share of the following activation's outputs that are exactly zero, in [0, 1].
        saturated_share: Share of the following activation's outputs that are saturated, in [0, 1].
        is_on_trunk: Whether every path from an input to the loss passes here.
        is_head: Whether no other weight comes between this layer and the loss.
    """

    name: str
    kind: str
    fan_in: float | None = None
    fan_out: float | None = None
    activation_rms: float | None = None
    activation_spread: float | None = None
    gradient_rms: float | None = None
    weight_rms: float | None = None
    weight_gradient_rms: float | None = None
    zero_share: float | None = None
    saturated_share: float | None = None
    is_on_trunk: bool = False
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What the check cost: its own seconds, those of the recorded step in it, and peak bytes on an accelerator."""

    seconds: float
    step_seconds: float
    peak_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(ABC):
    """All findings and measurements of a task; made as a Diagnosis, which knows how to show them.

    Attributes:
        model: The name of the model, for people.
        loss_name: Which loss was used, such as `cross_entropy` or `mean square of the output`.
        loss: Value of the loss at the start, None if it is not finite or was not computed.
        findings: Ranked: causes before what they explain, errors before warnings before notes.
        skipped: Rules that could not be judged, or that the settings ignore.
        layers: One row per layer in the order of execution.
        seed: The seed of dropout and of the batch's choice.
        versions: Library to version.
        cost: What the check cost.
        warnings: Sentences about how the measurement was made, such as a model in eval mode.
        trial: What a few optimiser steps on a copy showed; None if none were made.
        jacobian: The spectrum of the input-output Jacobian beside theory; None if it was not asked for.
    """

    model: str
    loss_name: str
    loss: float | None
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    layers: tuple[LayerRow, ...]
    seed: int
    versions: Mapping[str, str]
    cost: Cost
    warnings: tuple[str, ...] = ()
    trial: TrialResult | None = None
    jacobian: JacobianResult | None = None

    @property
    def verdict(self) -> Verdict:
        """`broken` if a finding is an error, `at-risk` if one is a warning, else `healthy`."""
        severities = {finding.severity for finding in self.findings}
        if "error" in severities:
            return "broken"
        return "at-risk" if "warning" in severities else "healthy"
