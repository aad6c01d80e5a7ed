"""The rule on networks, or parts of them, that are linear though they have several layers (FWD)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.linearity import Linearity, LinearPair
from isometry.report.finding import Remedy, Severity

MAX_LINEAR_SHARE = (
    0.5  # of the gaps between layers; above half it is a habit, and no projection at the input or before the head
)
REPAIR = Remedy("model", Phrase("Put a nonlinearity such as ReLU between the two layers, or drop one of them."))


@rule("FWD106", severity="error")
def missing_nonlinearity(linearity: Linearity, *, max_linear_share: float = MAX_LINEAR_SHARE) -> Iterator[Draft]:
    """Layers follow each other with nothing nonlinear between them, so that they are one linear map.

    Why:
        However many linear layers are stacked, their product is one matrix: the network can express no more than
        linear or logistic regression does, whatever its size.

    Measured:
        Share of the layers whose output reaches the next layer through linear operations alone, and whether all of
        the network up to its prediction is one affine map; batch norm counts as affine, since it is one in testing.
        It is an error if no nonlinearity is left at all, a warning if one is missing in a plain stack or only norms
        and pools are nonlinear. Pairs that narrow the signal or save parameters (low rank, separable convolutions,
        a linear autoencoder), linear layers without any bias, which are linear by intent, a projection of the input or
        before the head, and networks with branches, attention or recurrences, linear ones too, get a note at most; and
        so do those whose nonlinear part is thrown away, of which no-gradient says so.

    Remedy:
        A nonlinearity between the two layers, or one layer instead of two.

    Source:
        Leshno, Lin, Pinkus, Schocken 1993, Neural Networks 6, on what networks without a nonlinearity cannot express;
        Saxe, McClelland, Ganguli 2013, arXiv:1312.6120, on deep linear networks.
    """
    pairs = [pair for pair in linearity.pairs if pair.is_redundant] or list(linearity.pairs)
    severity = _severity(linearity, max_linear_share)
    if severity is None:
        return
    share = len(linearity.pairs) / linearity.num_hidden
    yield Draft(
        where=tuple(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second))),
        measured=share,
        allowed=0.0,
        unit="share of the gaps between layers",
        cause=_cause(linearity, pairs[0]),
        remedy=REPAIR,
        severity=severity,
    )


def _severity(linearity: Linearity, max_linear_share: float) -> Severity | None:
    redundant = [pair for pair in linearity.pairs if pair.is_redundant]
    if linearity.is_affine and linearity.pairs:
        is_pointless = (bool(redundant) or not linearity.narrows) and linearity.has_offsets
        return "error" if is_pointless and not (linearity.has_time or linearity.has_waste) else "note"
    if not redundant:
        return None
    is_habit = len(redundant) > max_linear_share * linearity.num_hidden or not linearity.has_activation
    is_inside = any(pair.is_inside for pair in redundant)
    is_serious = linearity.is_plain and linearity.has_offsets and (is_inside or is_habit)
    return "warning" if is_serious else "note"


def _cause(linearity: Linearity, pair: LinearPair) -> Phrase:
    if linearity.is_affine:
        return Phrase(
            "from the data to the prediction there is no nonlinearity: {count} layers are one matrix",
            count=linearity.num_hidden + 1,
        )
    return Phrase(
        "between {first} and {second} there is no nonlinearity, so the two are one linear map",
        first=repr(pair.first),
        second=repr(pair.second),
    )
