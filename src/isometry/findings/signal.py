"""Rules on the signal's way forward through the layers (FWD)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.activations import ActivationTable
from isometry.probes.traces import SignalTrace
from isometry.report.finding import Remedy

# All grounds are in benchmarks/thresholds.md. Decades from the first hidden layer to the last: signal and gradient of
# a plain network fall and rise together, so the bounds are those of the gradient.
MAX_TOTAL_FALL = 4.0
MAX_TOTAL_RISE = 4.0
MAX_COLLAPSE = 4.0  # decades of the share of the signal that differs between samples; 3.4 still learned, 6 did not
MAX_SILENT_SHARE = 0.9  # of a layer's units; a network with 0.81 learned, one with 0.97 did not
MAX_SATURATED_SHARE = 0.5  # of an activation's outputs; 0.32 cost nothing, 0.55 some of the accuracy
LOST_SATURATED_SHARE = 0.8  # of an activation's outputs; 0.87 cost a third to a half of the accuracy
REPAIR = Remedy("init", "Initialise at the critical point of the activation: isometry fix.")


@rule("FWD101", severity="error", explained_by=("NUM101", "INI101", "BWD101", "FWD103"))
def vanishing_activation(trace: SignalTrace) -> Iterator[Draft]:
    """The signal shrinks geometrically on its way to the loss.

    Why:
        The last layers hear almost nothing of the input, so the output cannot depend on it.

    Measured:
        Fall of log10 of the output's root mean square from the first hidden layer to the last, along the layers
        that every way to the loss passes.

    Remedy:
        Weights whose variance makes up for what the activation removes: `isometry fix`.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2; Hanin, Rolnick 2018, arXiv:1803.01719.
    """
    fall = -trace.total_growth
    if fall > MAX_TOTAL_FALL:
        yield Draft(
            where=trace.layers[::-1],
            measured=fall,
            allowed=MAX_TOTAL_FALL,
            unit="decades",
            cause=f"each layer multiplies the signal by {trace.factor_per_layer:.3g}",
            remedy=REPAIR,
        )


@rule("FWD102", severity="error", explained_by=("NUM101", "INI101", "BWD102"))
def exploding_activation(trace: SignalTrace) -> Iterator[Draft]:
    """The signal grows geometrically on its way to the loss.

    Why:
        Outputs become huge, the loss starts far from its sensible value, and number formats overflow.

    Measured:
        Growth of log10 of the output's root mean square from the first hidden layer to the last, along the layers
        that every way to the loss passes.

    Remedy:
        Weights whose variance makes up for the fan: `isometry fix`; in residual nets branch ends scaled by depth.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2; Hanin, Rolnick 2018, arXiv:1803.01719.
    """
    if trace.total_growth > MAX_TOTAL_RISE:
        yield Draft(
            where=trace.layers[::-1],
            measured=trace.total_growth,
            allowed=MAX_TOTAL_RISE,
            unit="decades",
            cause=f"each layer multiplies the signal by {trace.factor_per_layer:.3g}",
            remedy=REPAIR,
        )


@rule("FWD105", severity="warning", explained_by=("NUM101", "INI101", "BWD101", "FWD101", "FWD103", "FWD104"))
def rank_collapse(trace: SignalTrace) -> Iterator[Draft]:
    """All samples become one on their way to the loss.

    Why:
        What a layer cannot tell apart no later layer can; the output is then the same for every input, although
        its size looks healthy.

    Measured:
        Fall of log10 of the share of the signal that differs between samples (the root mean square about each
        unit's mean, over the plain one) from the first hidden layer to the last.

    Remedy:
        Weights at the edge of chaos, and a bias that cancels the activation's mean: `isometry fix`.

    Source:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv:1606.05340; Schoenholz et al. 2017,
        arXiv:1611.01232.
    """
    collapse = trace.total_collapse
    if collapse is not None and collapse > MAX_COLLAPSE:
        yield Draft(
            where=trace.layers[::-1],
            measured=collapse,
            allowed=MAX_COLLAPSE,
            unit="decades",
            cause="an activation with a mean, or a bias, outweighs what differs between samples",
            remedy=REPAIR,
        )


@rule("FWD103", severity="error", explained_by=("NUM101", "INI101"))
def dying_relu(table: ActivationTable) -> Iterator[Draft]:
    """Almost all units of a layer are silent on every sample.

    Why:
        A rectifier passes no gradient where it is zero; a unit that is zero everywhere never learns again.

    Measured:
        Share of units behind an activation, as module, function or method, whose output is exactly zero on all
        samples and places of the batch, of which there must be at least 16. Single silent units are normal.

    Remedy:
        Biases at zero and weights of zero mean: `isometry fix`; during training a smaller step, or leaky ReLU.

    Source:
        Lu, Shin, Su, Karniadakis 2019, arXiv:1903.06733.
    """
    dead = [row for row in table.activations if (row.silent_share or 0) > MAX_SILENT_SHARE and not row.is_gate]
    if dead:
        worst = max(dead, key=lambda row: row.silent_share or 0)
        yield Draft(
            where=tuple(row.layer for row in dead),
            measured=worst.silent_share,
            allowed=MAX_SILENT_SHARE,
            unit="share of units",
            cause=f"the inputs of {worst.name} behind {worst.layer!r} are positive on no sample",
            remedy=Remedy("init", "Set biases to zero and draw weights of zero mean: isometry fix."),
        )


@rule("FWD104", severity="error", explained_by=("NUM101", "INI101", "FWD102", "BWD102"))
def saturated_activation(table: ActivationTable) -> Iterator[Draft]:
    """Most outputs of a bounded activation lie where its slope is almost gone.

    Why:
        Outside of the zone around zero a sigmoid or tanh passes no gradient, however large the error is.

    Measured:
        Share of outputs of a sigmoid, tanh, hard sigmoid, hard tanh or softsign behind a hidden layer whose slope
        is below 5 % of the largest (sigmoid beyond 4.4, tanh beyond 2.2). Above 50 % it is a warning, above 80 % an
        error. Gates and output activations may saturate.

    Remedy:
        Smaller weights, or inputs scaled to unit variance: `isometry fix`.

    Source:
        Glorot, Bengio 2010, section 3; Zhang, Zhai, Ma, Shen 2021, arXiv:2002.11893 for the automated check.
    """
    flat = [row for row in table.activations if (row.saturated_share or 0) > MAX_SATURATED_SHARE and not row.is_gate]
    if flat:
        worst = max(flat, key=lambda row: row.saturated_share or 0)
        yield Draft(
            where=tuple(row.layer for row in flat),
            measured=worst.saturated_share,
            allowed=MAX_SATURATED_SHARE,
            unit="share of outputs",
            cause=f"the inputs of {worst.name} behind {worst.layer!r} are too large",
            remedy=REPAIR,
            severity=None if (worst.saturated_share or 0) > LOST_SATURATED_SHARE else "warning",
        )
