"""Rules on parameters that do not learn (PAR)."""

from collections.abc import Iterator, Sequence

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.reach import GradientReach, ParameterReach
from isometry.probes.strays import Stray, Strays
from isometry.report.finding import Remedy, Severity

LOST = Phrase("what the layers make of the batch leaves torch before the loss, through numpy, a list or a number")
KEEP = Remedy(
    "model",
    Phrase("Stay with tensor operations from the batch to the loss; numpy() and tolist() cut the gradient."),
)
UNREAD = Phrase("the loss of this batch does not depend on them")
USE = Remedy("model", Phrase("Use them in the loss, or freeze them with requires_grad_(False)."))
# Share of the parameters; a WaveNet throws its last skip away, an energy network its last bias.
LEAST_DISCARDED = 0.5
DISCARDED = Phrase("they work on the batch, and what comes of it is neither used nor returned: it is thrown away")
RETURN = Remedy(
    "model", Phrase("Use what they give: a variable may be overwritten, or a sum left out; or remove them.")
)
BOTH_ZERO = Phrase("two weights of zeros in a row keep each other at zero")
ONE_ZERO = Remedy("init", Phrase("Let at most one of two factors start at zero: isometry fix."))
SILENT = Phrase("their gradient is exactly zero: something behind them is flat")
FLAT = Remedy("model", Phrase("Look behind them for a step, a rounding, a clamp or a mask, and give it a slope."))
SLOPE = Remedy(
    "model",
    Phrase("Give it a slope: a smooth function in its place, or a straight-through estimate x + (f(x) - x).detach()."),
)
REGISTER = Remedy(
    "model",
    Phrase(
        "Register it: nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.Parameter as an attribute of the module."
    ),
)
MAKE_ONCE = Remedy("model", Phrase("Make layers and parameters once, in __init__, as attributes of the module."))


@rule(
    "PAR101",
    severity="error",
    explained_by=(
        "NUM101",
        "NUM102",
        "NUM103",
        "INI103",
        "INI101",
        "DAT102",
        "DAT104",
        "LOS102",
        "FWD103",
        "FWD104",
        "BWD101",
        "FWD101",
    ),
)
def no_gradient(reach: GradientReach, strays: Strays, *, least_discarded: float = LEAST_DISCARDED) -> Iterator[Draft]:
    """A trainable parameter gets no gradient, or no optimiser sees it.

    Why:
        It stays as it was initialised while everything else learns around it.

    Measured:
        Parameters with requires_grad that autograd finds no way to, with the operation that cuts the way (detach,
        no_grad, a comparison, a cast to integers, a way through numpy); and weights whose gradient is exactly zero,
        unless a weight of zeros on the way learns first, as at the end of a residual branch or in LoRA. A detach
        beside the trunk (a target network), one behind a pretrained network, and parameters that this batch did not
        use are notes. So are single layers whose output nothing uses or returns, as the last skip of a WaveNet; if
        they are half of the parameters it is a warning, and an error if the loss depends on no parameter at all.
        Weights in a plain list, or made anew in each forward pass, are none of the model's parameters: they get a
        gradient, and no step.

    Remedy:
        Remove the detach or the operation without a derivative, or freeze the parameter with requires_grad_(False).
        Hold layers in nn.ModuleList.

    Source:
        PyTorch documentation, Autograd mechanics, and nn.ModuleList; for products of two zeros Hu et al. 2021,
        arXiv:2106.09685, section 4.1, where one factor only is zero.
    """
    yield from _cuts(reach)
    yield from _zeros(reach)
    yield from _strays(strays.tensors)
    yield from _unused(reach, least_discarded)


def _unused(reach: GradientReach, least_discarded: float) -> Iterator[Draft]:
    """Yield the parameters that the loss does not depend on, by whether they were to have a part in it."""
    unused = reach.of("unused")
    discarded = [each for each in unused if each.is_discarded]
    if unused and (reach.is_input_lost or len(unused) == len(reach.parameters)):
        yield _draft(unused, LOST, remedy=KEEP, severity=None)
        return
    if discarded:
        is_much = len(discarded) >= least_discarded * len(reach.parameters)
        yield _draft(discarded, DISCARDED, remedy=RETURN, severity="warning" if is_much else "note")
    others = [each for each in unused if not each.is_discarded]
    if others:
        yield _draft(others, UNREAD, remedy=USE, severity="note")


def _cuts(reach: GradientReach) -> Iterator[Draft]:
    """Yield the parameters that no gradient comes back to, by what cuts them off and by how bad that is."""
    severities: tuple[Severity | None, ...] = (None, "warning", "note")
    for severity in severities:
        cut = [each for each in reach.of("cut") if _severity_of_cut(each, is_fresh=reach.is_fresh) == severity]
        if cut:
            blocked_by = cut[0].blocked_by
            remedy = Phrase(
                "Let the gradient through {operation}, or freeze what lies before it.", operation=blocked_by
            )
            yield _draft(
                cut,
                Phrase("no gradient passes {operation}", operation=blocked_by),
                remedy=Remedy("model", remedy),
                severity=severity,
            )


def _severity_of_cut(parameter: ParameterReach, *, is_fresh: bool) -> Severity | None:
    """Return how bad a cut is: one that is written down may be meant, beside the trunk or behind pretrained weights."""
    if parameter.is_on_trunk:
        return "note" if parameter.is_meant and not is_fresh else None
    return "note" if parameter.is_meant else "warning"


def _zeros(reach: GradientReach) -> Iterator[Draft]:
    """Yield the weights whose gradient is exactly zero and stays so."""
    stuck = [each for each in reach.of("zero") if not each.opens_later and each.is_weight]
    both_zero = [each for each in stuck if each.is_zero]
    rounded = [each for each in stuck if each.blocked_by]
    on_trunk = [each for each in stuck if each.is_on_trunk]
    if both_zero:
        yield _draft(both_zero, BOTH_ZERO, remedy=ONE_ZERO, severity=None)
    elif rounded:
        cause = Phrase("{operation} is flat, so that its gradient is zero everywhere", operation=rounded[0].blocked_by)
        yield _draft(rounded, cause, remedy=SLOPE, severity=None)
    elif stuck:
        yield _draft(on_trunk or stuck, SILENT, remedy=FLAT, severity=None if on_trunk else "note")


def _strays(strays: Sequence[Stray]) -> Iterator[Draft]:
    """Yield the weights that are no parameters of the model; a network in eval mode may be hidden on purpose."""
    for is_held in (True, False):
        found = [each for each in strays if each.is_held == is_held]
        if found:
            name, count = repr(found[0].name) if is_held else found[0].name, len(found)
            hidden = Phrase(
                "{name} is held where model.parameters() does not look, in a plain list or as a plain tensor", name=name
            )
            anew = Phrase(
                "{name} is used that the model does not hold: it is made anew in each pass, or lies outside", name=name
            )
            yield Draft(
                where=tuple(each.name for each in found),
                measured=float(count),
                allowed=0.0,
                unit="parameters",
                cause=hidden if is_held else anew,
                remedy=REGISTER if is_held else MAKE_ONCE,
                severity="note" if all(each.is_asleep for each in found) else None,
            )


def _draft(parameters: Sequence[ParameterReach], cause: Phrase, *, remedy: Remedy, severity: Severity | None) -> Draft:
    return Draft(
        where=tuple(parameter.name for parameter in parameters),
        measured=float(len(parameters)),
        allowed=0.0,
        unit="parameters",
        cause=cause,
        remedy=remedy,
        severity=severity,
    )
