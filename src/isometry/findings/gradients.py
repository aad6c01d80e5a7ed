"""Rules on the gradient's way back through the layers (BWD)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.traces import GradientTrace
from isometry.report.finding import Remedy

# Decades between the last hidden layer and the first. Plain networks that lost less than 3.2 learned; between 3.3 and
# 3.8 one reached its accuracy late and the next hardly any of it; of those that lost 4 none reached 0.6 of 0.97, and
# at 7 they stay at chance. The like for growth, if less sharply: benchmarks/thresholds.md and benchmarks/repair.md.
SAFE_TOTAL_DECAY = 3.2
MAX_TOTAL_DECAY = 4.0
MAX_TOTAL_GROWTH = 4.0
REPAIR = Remedy("init", "Initialise at the critical point of the activation: isometry fix.")


@rule("BWD101", severity="error", explained_by=("NUM101", "INI101", "FWD103", "FWD104"))
def vanishing_gradient(trace: GradientTrace) -> Iterator[Draft]:
    """Gradients shrink geometrically on the way from the loss to the input.

    Why:
        Layers near the input learn slower than those near the loss, and deeper networks more so. A sigmoid's slope
        is at most 0.25, so 15 such layers leave at most 1e-9 of the gradient.

    Measured:
        Fall of log10 of the gradient's root mean square from the last hidden layer to the first, along the layers
        that every way to the loss passes; the rate per layer goes into the cause. The total decides: a plain ReLU
        stack at PyTorch's default loses 0.39 decades a layer and still trains at 8 layers. From 3.2 decades on it
        is a warning, from 4 on an error.

    Remedy:
        Initialise at the critical point of the activation: `isometry fix`. Residual paths and norms help as well.

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232; Glorot, Bengio 2010.
    """
    is_lost = trace.total_decay > MAX_TOTAL_DECAY
    allowed = MAX_TOTAL_DECAY if is_lost else SAFE_TOTAL_DECAY
    # A gradient that is gone at once met something flat, such as a step: that is no-gradient.
    if min(trace.total_decay, trace.decay_while_alive) > min(allowed, SAFE_TOTAL_DECAY):
        yield Draft(
            where=trace.weakest_layers,
            measured=trace.total_decay,
            allowed=allowed,
            unit="decades",
            cause=f"each layer multiplies the gradient by {trace.factor_per_layer:.3g} on its way back; from "
            f"{trace.lost_from(allowed)!r} down to the input less than {10**-allowed:.1g} of it is left",
            remedy=REPAIR,
            severity=None if is_lost else "warning",
        )


@rule("BWD102", severity="error", explained_by=("NUM101", "INI101"))
def exploding_gradient(trace: GradientTrace) -> Iterator[Draft]:
    """Gradients grow geometrically on the way from the loss to the input.

    Why:
        A step that suits the last layers throws the first ones far off, and a step that suits the first leaves the
        last ones where they are. A product of 100 random matrices explodes just so.

    Measured:
        Growth of log10 of the gradient's root mean square from the last hidden layer to the first, along the layers
        that every way to the loss passes; the rate per layer goes into the cause.

    Remedy:
        Initialise at the critical point of the activation: `isometry fix`. Clipping hides the symptom only.

    Source:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv:1611.01232; Pascanu, Mikolov, Bengio 2013,
        arXiv:1211.5063.
    """
    growth = -trace.total_decay
    if growth > MAX_TOTAL_GROWTH:
        yield Draft(
            where=trace.strongest_layers,
            measured=growth,
            allowed=MAX_TOTAL_GROWTH,
            unit="decades",
            cause=f"each layer multiplies the gradient by {trace.factor_per_layer:.3g} on its way back",
            remedy=REPAIR,
        )
