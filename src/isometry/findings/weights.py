"""Rules on the weights as they were initialised (INI)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.twins import TwinTable
from isometry.probes.weights import WeightNumbers, WeightTable
from isometry.report.finding import Remedy

BREAK = Remedy("init", "Draw the weights at random, which breaks the symmetry: isometry fix.")


@rule("INI101", severity="error", explained_by=("NUM101",))
def constant_weights(table: WeightTable) -> Iterator[Draft]:
    """All entries of a hidden layer's weight are the same number.

    Why:
        Its units compute the same, get the same gradient and stay one unit for ever. Gradient descent does not
        break this symmetry; random weights do.

    Measured:
        Weights of hidden layers with equal entries. It is an error if the gradient is the same for all units too.
        If it differs, the first step parts them, and it is a note. Heads may start constant, as
        linear and softmax regressions do, and so may the zero at the end of a residual branch.

    Remedy:
        Draw the weights at random: `isometry fix`.

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    constant = [weight for weight in table.weights if weight.constant is not None and _must_differ(weight)]
    locked = [weight for weight in constant if weight.keeps_units_equal]
    if constant:
        first = (locked or constant)[0]
        fate = "yet its units get different gradients"
        if locked:
            fate = "and its units get one and the same gradient" if first.gradient_rms else "and it gets no gradient"
        yield Draft(
            where=tuple(weight.name for weight in (locked or constant)),
            cause=f"every entry of {first.name!r} is {first.constant:.4g}, {fate}",
            remedy=BREAK,
            severity=None if locked else "note",
        )


@rule("INI102", severity="error", explained_by=("NUM101", "INI101"))
def symmetric_units(table: TwinTable) -> Iterator[Draft]:
    """Units of a hidden layer are copies of each other and get copies of one gradient.

    Why:
        What starts equal and gets equal gradients stays equal: the layer is as narrow as its distinct units.
        Dropout breaks the symmetry, plain gradient descent does not.

    Measured:
        Units of one layer whose outputs agree on every sample and whose gradients do too. Units that are copies now
        but get different gradients, because the weights behind them differ, will part and are left in peace.

    Remedy:
        Draw the weights at random: `isometry fix`.

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    if table.layers:
        distinct, total = table.num_distinct[0], table.num_units[0]
        yield Draft(
            where=table.layers,
            measured=float(distinct),
            allowed=float(total),
            unit="distinct units",
            cause=f"of the {total} units of {table.layers[0]!r} only {distinct} differ in signal or gradient",
            remedy=BREAK,
        )


def _must_differ(weight: WeightNumbers) -> bool:
    layer = weight.layer
    several_units = layer.layout.fans.out > 1 and not layer.kind.startswith("embedding")
    is_depthwise = layer.layout.groups > 1
    ends_at_zero = weight.constant == 0 and layer.ends_branch
    opens = weight.constant == 0 and (weight.gradient_rms or 0) > 0 and not weight.keeps_units_equal
    return several_units and not is_depthwise and not layer.is_head and not ends_at_zero and not opens
