"""Which operations can leave the numbers at an ordinary value of what they read, in any type of floats."""

from collections.abc import Mapping, Sequence

from isometry.probes.operands import Operand

EDGED = frozenset(
    {"acos", "asin", "atanh", "ctc_loss", "erfinv", "log", "log10", "log1p", "log2", "logit", "nll_loss", "xlogy"}
)
EDGED_BY_ZEROS = frozenset({"div", "fmod", "reciprocal", "remainder", "rsqrt"})
EDGED_BY_CHOICE = frozenset({"cross_entropy", "log_softmax", "mean", "scaled_dot_product_attention", "softmax"})
EDGED_BY_SPREAD = frozenset({"sqrt", "std", "var"})


def is_at_edge(
    name: str, settings: Mapping[str, object], operands: Sequence[Operand], *, is_backward: bool = False
) -> bool:
    """Say whether what an operation read is no number to it, or has no slope there, in any type.

    Args:
        name: The operation.
        settings: What it was given beside tensors.
        operands: What it read.
        is_backward: Whether it is its derivative that is not finite.

    Returns:
        Whether it is; then a wider type or a smaller step helps nothing.
    """
    if name in EDGED_BY_ZEROS:
        return any(each.zeros for each in operands[:2][-1:])
    if name == "pow":
        exponent = settings.get("1", 2)
        power = float(exponent) if isinstance(exponent, int | float) else 0.5
        has_pole = power < int(is_backward)
        return any((each.negative and not power.is_integer()) or (each.zeros and has_pole) for each in operands[:1])
    return name in EDGED or name in EDGED_BY_CHOICE or name in EDGED_BY_SPREAD
