"""Why an operation made a NaN or an infinity, told from what it read, and what to write instead."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from isometry._phrases import Phrase
from isometry.probes.operands import Operand
from isometry.probes.origin import NonFiniteOrigin


class Advice(NamedTuple):
    """Why an operation's result is not finite, and what to do about it."""

    why: Phrase
    remedy: Phrase


SELECTS = frozenset({"where", "masked_fill", "mul"})  # readers that throw a part of the result away
PROBABILITIES = {
    "softmax": Phrase("softmax underflows to 0: use F.log_softmax(logits), or F.cross_entropy on the logits."),
    "sigmoid": Phrase(
        "sigmoid reaches 0 and 1: use F.logsigmoid(logits), or F.binary_cross_entropy_with_logits on the logits."
    ),
}


def advice_on(origin: NonFiniteOrigin) -> Advice:
    """Return why the operation of an origin made what is not finite, and a remedy that fits it."""
    if origin.is_custom:
        return Advice(
            Phrase("its backward function is the user's own"),
            Phrase(
                "Guard the divisions, roots and logarithms in the backward of {name}, and try it with "
                "torch.autograd.gradcheck.",
                name=origin.operation,
            ),
        )
    special = _SPECIAL.get(origin.operation)
    found = special(origin) if special is not None and origin.operands else None
    return found or _overflow(origin) or _unknown(origin)


def _zeros(operand: Operand) -> Phrase:
    return Phrase("it reads {zeros} zeros among {total} numbers", zeros=operand.zeros, total=operand.total)


def _negatives(operand: Operand) -> Phrase:
    return Phrase(
        "it reads {negative} negative numbers among {total}; the smallest is {low:.4g}",
        negative=operand.negative,
        total=operand.total,
        low=operand.low,
    )


def _both_branches(origin: NonFiniteOrigin, text: str) -> Phrase:
    """Return a remedy; where a part of the result is thrown away, its gradient is 0 times infinity all the same."""
    if origin.during == "backward" and SELECTS.intersection(origin.readers):
        return Phrase(
            "Choosing afterwards does not help, since 0 times infinity is NaN: make the operand safe as well, as in "
            "{operation}(torch.where(mask, x, 1.0)).",
            operation=origin.operation,
        )
    return Phrase(text)


def _logarithm(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if operand.negative:
        return Advice(
            _negatives(operand),
            Phrase("A logarithm needs positive numbers: end the layer before it with softplus or exp."),
        )
    if operand.zeros:
        plain = _both_branches(origin, "Keep zeros out: torch.log(x.clamp_min(1e-6)).")
        return Advice(_zeros(operand), PROBABILITIES.get(operand.source, plain))
    return None


def _log_of_one_more(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if operand.low > -1:
        return None
    why = Phrase("it reads numbers down to {low:.4g}, and needs more than -1", low=operand.low)
    return Advice(why, Phrase("Clamp what it reads: torch.log1p(x.clamp_min(-0.99))."))


def _root(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if operand.negative:
        remedy = "Clamp what is under the root: torch.sqrt(x.clamp_min(0) + 1e-8)."
        return Advice(_negatives(operand), _both_branches(origin, remedy))
    if operand.zeros:
        why = Phrase("its slope at 0 is infinite, and {reading}", reading=_zeros(operand))
        remedy = "Add a small constant under the root, not outside of it: torch.sqrt(x + 1e-8)."
        return Advice(why, _both_branches(origin, remedy))
    return None


def _power(origin: NonFiniteOrigin) -> Advice | None:
    base, *_ = origin.operands
    given = origin.settings.get("1", origin.settings.get("exponent"))
    exponent = given if isinstance(given, int | float) else math.nan
    if base.negative and exponent != int(exponent if math.isfinite(exponent) else 0):
        return Advice(_negatives(base), Phrase("Clamp the base of a broken power: x.clamp_min(1e-6) ** p."))
    if base.zeros and not exponent > 1:
        why = Phrase("a power of {exponent} has no slope at 0, and {reading}", exponent=given, reading=_zeros(base))
        return Advice(why, _both_branches(origin, "Keep zeros out of the base: (x + 1e-8) ** p."))
    return None


def _quotient(origin: NonFiniteOrigin) -> Advice | None:
    divisor = origin.operands[:2][-1]
    if origin.settings.get("1") == 0:
        return Advice(Phrase("the divisor is the number 0"), Phrase("Divide by max(count, 1)."))
    if not divisor.zeros:
        return None
    why = Phrase("the divisor holds {zeros} zeros among {total} numbers", zeros=divisor.zeros, total=divisor.total)
    remedies = {
        "sum": Phrase("Where a sum or count may be 0, clamp it: a / b.clamp_min(1)."),
        "norm": Phrase("Use F.normalize(x, eps=1e-6), or add a small constant to the norm."),
        "std": Phrase("Add a small constant to the deviation: (x - x.mean()) / (x.std() + 1e-6)."),
    }
    plain = _both_branches(origin, "Keep zeros out of the divisor: a / (b + 1e-6), or b.clamp_min(1e-6).")
    return Advice(why, remedies.get(divisor.source.removeprefix("linalg_").removeprefix("vector_"), plain))


def _exponential(origin: NonFiniteOrigin) -> Advice | None:
    largest, limit = origin.operands[0].high, math.log(_limit(origin))
    if not largest > limit:
        return None
    why = Phrase(
        "it reads numbers up to {largest:.4g}, and beyond {limit:.3g} its result does not fit into {dtype}",
        largest=largest,
        limit=limit,
        dtype=origin.dtype,
    )
    remedy = (
        "Use F.softmax, F.log_softmax or torch.logsumexp, which subtract the largest number first; bound an exponent "
        "that is predicted: x.clamp(max=10).exp()."
    )
    return Advice(why, Phrase(remedy))


def _softmax(origin: NonFiniteOrigin) -> Advice | None:
    rows = max((operand.empty_rows for operand in origin.operands), default=0)
    if not rows:
        return None
    return Advice(
        Phrase("{rows} rows of its scores are -inf throughout: nothing is left to choose from", rows=rows),
        Phrase(
            "Leave at least one place of each row open, or mask with torch.finfo(scores.dtype).min instead of -inf and "
            "drop the rows of padding from the loss."
        ),
    )


def _arc(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if operand.largest < 1:
        return None
    why = Phrase(
        "it reads numbers from {low:.8g} to {high:.8g}, and its slope is infinite at -1 and 1",
        low=operand.low,
        high=operand.high,
    )
    return Advice(
        why,
        Phrase("Keep away from the edge: {name}(x.clamp(-1 + 1e-6, 1 - 1e-6)).", name=f"torch.{origin.operation}"),
    )


def _logit(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if 0 < operand.low <= operand.high < 1:
        return None
    why = Phrase("it reads numbers from {low:.4g} to {high:.4g}, and needs (0, 1)", low=operand.low, high=operand.high)
    return Advice(why, Phrase("Give it a margin: torch.logit(x, eps=1e-6)."))


def _statistic(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if operand.bad or (operand.total and origin.operation == "mean"):
        return None
    if not operand.total:
        return Advice(
            Phrase("it reads no numbers: what was selected is empty"),
            Phrase("Leave the term out where nothing is selected, or divide a sum by count.clamp_min(1)."),
        )
    return Advice(
        Phrase("it takes the deviation of a single number, which divides by 0"),
        Phrase("Take it over more numbers, or give correction=0."),
    )


def _class_loss(origin: NonFiniteOrigin) -> Advice | None:
    logits, *rest = origin.operands
    targets = rest[0] if rest else None
    if not logits.total:
        return Advice(
            Phrase("it reads no numbers: what was selected is empty"),
            Phrase("Leave the term out where nothing is selected, or divide a sum by count.clamp_min(1)."),
        )
    if logits.infinite and not logits.nan:
        return Advice(
            Phrase("{infinite} of its logits are -inf, those of some targets among them", infinite=logits.infinite),
            Phrase("Mask no class that is a target, or give such targets the ignored index."),
        )
    ignored = origin.settings.get("ignore_index", -100)
    if targets is not None and targets.total and targets.low == targets.high == ignored:
        return Advice(
            Phrase("all {total} targets are ignored (ignore_index): the mean over none is 0/0", total=targets.total),
            Phrase("Skip batches without targets, or use reduction='sum' over count.clamp_min(1)."),
        )
    return None


def _alignment(origin: NonFiniteOrigin) -> Advice | None:
    if origin.during != "forward":
        return None
    return Advice(
        Phrase("no way through the input spells the targets: an input is shorter than its targets need"),
        Phrase("Check input_lengths and target_lengths, or give zero_infinity=True."),
    )


def _degenerate(origin: NonFiniteOrigin) -> Advice | None:
    if origin.during != "backward":
        return None
    return Advice(
        Phrase("its derivative divides by the differences of singular values or eigenvalues, and some are equal"),
        Phrase("Use the values alone (torch.linalg.svdvals, eigvalsh), or add a little noise to the matrix."),
    )


def _at_zero(origin: NonFiniteOrigin) -> Advice | None:
    operand = origin.operands[0]
    if origin.during != "backward" or not operand.zeros:
        return None
    why = Phrase("it has no slope at 0, and {reading}", reading=_zeros(operand))
    return Advice(why, _both_branches(origin, "Add a small constant to what it reads."))


def _overflow(origin: NonFiniteOrigin) -> Advice | None:
    if origin.during != "forward" or not origin.operands or any(each.nan for each in origin.operands):
        return None
    largest = max(each.largest for each in origin.operands)
    if largest < 1 and origin.operation not in {"div", "reciprocal"}:
        return None
    return Advice(
        Phrase(
            "a result does not fit into {dtype}, which ends at {limit:.3g}; the largest number that it read is "
            "{largest:.3g}",
            dtype=origin.dtype,
            limit=_limit(origin),
            largest=largest,
        ),
        Phrase("Make what it reads smaller: scale the data, normalise before it, or start from smaller weights."),
    )


def _unknown(origin: NonFiniteOrigin) -> Advice:
    why = Phrase("it leaves the numbers where it is defined")
    if origin.largest_input is not None:
        why = Phrase("the largest finite number it read is {largest:.3g}", largest=origin.largest_input)
    return Advice(
        why,
        Phrase(
            "Keep the input of {operation} inside its domain, for instance by a small constant.",
            operation=origin.operation,
        ),
    )


def _limit(origin: NonFiniteOrigin) -> float:
    dtype = getattr(torch, origin.dtype, torch.float32)
    return torch.finfo(dtype).max if dtype.is_floating_point or dtype.is_complex else math.inf


_SPECIAL: dict[str, Callable[[NonFiniteOrigin], Advice | None]] = {
    **dict.fromkeys(("log", "log2", "log10", "xlogy"), _logarithm),
    "log1p": _log_of_one_more,
    **dict.fromkeys(("sqrt", "rsqrt"), _root),
    **dict.fromkeys(("pow", "float_power"), _power),
    **dict.fromkeys(("div", "reciprocal", "fmod", "remainder"), _quotient),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), _exponential),
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp", "scaled_dot_product_attention"), _softmax),
    **dict.fromkeys(("acos", "asin", "atanh", "arccos", "arcsin", "arctanh", "erfinv"), _arc),
    "logit": _logit,
    **dict.fromkeys(("std", "var", "mean", "std_mean", "var_mean"), _statistic),
    **dict.fromkeys(("cross_entropy", "nll_loss"), _class_loss),
    "ctc_loss": _alignment,
    **dict.fromkeys(("svd", "linalg_svd", "eigh", "linalg_eigh", "linalg_eig", "linalg_qr"), _degenerate),
    **dict.fromkeys(("hypot", "norm", "linalg_vector_norm", "cdist", "prod"), _at_zero),
}
