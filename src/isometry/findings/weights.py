"""Rules on the weights as they were initialised (INI)."""

import math
from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.planning.copies import Clones
from isometry.probes.fans import WrongFans
from isometry.probes.twins import Fate, TwinTable, TwinUnits
from isometry.probes.weights import WeightNumbers, WeightTable
from isometry.report.finding import Remedy

BREAK = Remedy("init", Phrase("Draw the weights at random, which breaks the symmetry: isometry fix."))
# Shares of a layer's units that add nothing (benchmarks/symmetry.md): half of 64 cost a hundredth of the accuracy on
# the digits, which is no reason to keep them, 94 % a quarter of it, and 97 % three quarters.
MAX_LOST_SHARE = 0.5
MAX_DOUBLED_SHARE = 0.1
LOST_FACTOR = 3.0  # decades; where plain networks learn late or not at all (benchmarks/thresholds.md)
MAX_FACTOR = 1.0  # decades; a plain network at 0.3 of He's deviation lost a third of the accuracy in 3.7 decades
TRUE_FAN = Remedy("init", Phrase("Draw with the number of connections into one unit: isometry fix."))


@rule("INI101", severity="error", explained_by=("INI103",))
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
        yield Draft(
            where=tuple(weight.name for weight in (locked or constant)),
            cause=_fate(first, is_locked=bool(locked)),
            remedy=BREAK,
            severity=None if locked else "note",
        )


def _fate(weight: WeightNumbers, *, is_locked: bool) -> Phrase:
    name, value = repr(weight.name), weight.constant
    if not is_locked:
        return Phrase(
            "every entry of {name} is {value:.4g}, yet its units get different gradients", name=name, value=value
        )
    if weight.gradient_rms:
        return Phrase(
            "every entry of {name} is {value:.4g}, and its units get one and the same gradient", name=name, value=value
        )
    return Phrase("every entry of {name} is {value:.4g}, and it gets no gradient", name=name, value=value)


@rule("INI102", severity="error", explained_by=("INI103", "INI101"))
def symmetric_units(
    table: TwinTable,
    clones: Clones,
    *,
    max_lost_share: float = MAX_LOST_SHARE,
    max_doubled_share: float = MAX_DOUBLED_SHARE,
) -> Iterator[Draft]:
    """Units of a hidden layer are copies of each other and get copies of one gradient.

    Why:
        What starts equal and gets equal gradients stays equal: the layer is as narrow as its distinct units.
        Dropout breaks the symmetry, plain gradient descent does not. Units of an odd activation are as one when
        their weights are each other's negatives, and so are nearly equal ones for as long as most trainings last.

    Measured:
        Units, heads or experts of one weight whose numbers agree to 1e-5 of their size, up to the sign, and whose
        gradients do to 1e-4, and modules that are copies with equal gradients. An error if half of the units add
        nothing, a warning from a tenth on, below it a note. Units that agree to 0.06 and 0.2 only are a warning if
        half of them add nothing. Copies that get different gradients, because of dropout or of the weights behind
        them, will part: a note.

    Remedy:
        Draw the weights at random: `isometry fix`.

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    yield from _equal_parts(clones)
    fates: tuple[Fate, ...] = ("stay", "drift", "part")
    for fate in fates:
        twins = [each for each in table.layers if each.fate == fate]
        if twins:
            first = max(twins, key=lambda each: each.lost_share)
            bounds = {"stay": max_doubled_share, "drift": max_lost_share, "part": math.inf}
            is_lost = fate == "stay" and first.lost_share >= max_lost_share
            is_narrow = first.lost_share >= bounds[fate]
            yield Draft(
                where=tuple(dict.fromkeys((first.layer, *(each.layer for each in twins)))),
                measured=float(first.num_distinct),
                allowed=float(first.num_units),
                unit="distinct units",
                cause=_cause(first, has_dropout=table.has_dropout),
                remedy=BREAK,
                severity=None if is_lost else "warning" if is_narrow else "note",
            )


def _equal_parts(clones: Clones) -> Iterator[Draft]:
    """Yield experts, heads and members of an ensemble that are modules of their own and get copies of one gradient."""
    for layers in clones.layers:
        if layers.fate == "stay":
            first, second, *others = map(repr, layers.modules)
            count = 1 + len(others)
            cause = Phrase(
                "{first} gets the same gradient as {second}, and stays equal to it", first=second, second=first
            )
            more = Phrase(
                "{count} modules get the same gradient as {second}, and stay equal to it", count=count, second=first
            )
            yield Draft(
                where=layers.modules,
                measured=1.0,
                allowed=float(len(layers.modules)),
                unit="distinct modules",
                cause=more if others else cause,
                remedy=BREAK,
            )


def _cause(twins: TwinUnits, *, has_dropout: bool) -> Phrase:
    """Say what will become of the copies."""
    places = twins.places
    if places is None or places.block == 1:
        units = Phrase(
            "of the {all} units of {layer} only {distinct} are distinct",
            all=twins.num_units,
            distinct=twins.num_distinct,
            layer=repr(twins.layer),
        )
    else:
        units = Phrase(
            "the {block} units of {layer} from {first} on come again from {again} on",
            block=places.block,
            layer=repr(twins.layer),
            first=places.first,
            again=places.again,
        )
    if twins.fate == "drift":
        return Phrase("{units}, but for a few hundredths: nearly equal gradients part them too slowly", units=units)
    if twins.fate == "stay" and twins.is_mirrored:
        return Phrase(
            "{units}: the others are their copies or negatives, in weights and gradient, and stay so", units=units
        )
    if twins.fate == "stay":
        return Phrase("{units}: the others get the same gradient, which keeps them equal for ever", units=units)
    if has_dropout:
        return Phrase("{units}, yet dropout gives the others gradients of their own and parts them", units=units)
    return Phrase("{units}, yet the others get gradients of their own, and the first step parts them", units=units)


@rule("INI112", severity="error", explained_by=("NUM101", "INI103", "INI101"), is_statistic=True)
def wrong_fan(fans: WrongFans, *, max_factor: float = MAX_FACTOR, lost_factor: float = LOST_FACTOR) -> Iterator[Draft]:
    """Weights are drawn for another number of connections than their units have.

    Why:
        `nn.init` reads fans from the shape of a tensor, as a linear layer stores it. In x @ W, in transposed and
        grouped convolutions and in stacks of matrices they lie elsewhere, and the signal grows or shrinks by the root
        of the mistaken fan over the true one, layer by layer.

    Measured:
        Weights whose deviation fits a rule (He's, LeCun's, PyTorch's default) for such a fan within 2 %, and none for
        their own; the factors along the layers that all data pass, multiplied, in decades. From 3 on it is an error,
        from 1 a warning, from a third a note. What a norm makes up for is left out.

    Remedy:
        Draw with the true fan: `isometry init` reads it from the operation.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2; PyTorch documentation of torch.nn.init.
    """
    decades = abs(fans.decades)
    if fans.weights and decades > max_factor / 3:
        first = max(fans.weights, key=lambda each: abs(each.decades))
        yield Draft(
            where=tuple(dict.fromkeys(each.layer for each in (first, *fans.weights))),
            measured=decades,
            allowed=max_factor,
            unit="decades",
            cause=Phrase(
                "the deviation of {name} is {rule} for {fan:.0f} connections, but its units have {true_fan:.0f}",
                name=repr(first.name),
                rule=first.rule,
                fan=first.fan,
                true_fan=first.true_fan,
            ),
            remedy=TRUE_FAN,
            severity=None if decades > lost_factor else "warning" if decades > max_factor else "note",
        )


def _must_differ(weight: WeightNumbers) -> bool:
    layer = weight.layer
    several_units = layer.layout.fans.out > 1 and not layer.kind.startswith("embedding")
    is_depthwise = layer.layout.groups > 1
    ends_at_zero = weight.constant == 0 and layer.ends_branch
    opens = weight.constant == 0 and (weight.gradient_rms or 0) > 0 and not weight.keeps_units_equal
    return several_units and not is_depthwise and not layer.is_head and not ends_at_zero and not opens
