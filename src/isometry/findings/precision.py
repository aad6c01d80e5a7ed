"""Rules on what narrow types of floats cannot hold (NUM)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.places import place_of
from isometry.findings.rule import Draft, rule
from isometry.probes.headroom import Headroom, Result, limit_of
from isometry.probes.underflow import GradientUnderflow
from isometry.report.finding import Remedy
from isometry.report.numerals import numeral

# Times that the largest result of the first step must fit into its type. Nets that start with less still learn at
# first, but activations grow twenty times and more in ordinary training: benchmarks/arithmetic.md.
MIN_HEADROOM = 2.0
MIN_WIDE_HEADROOM = 1.0  # times a float32 result must fit into float16 to go without a note
MAX_LOST_SHARE = 0.5  # of a gradient's norm; nets that lose 0.08 learn, at 0.9 they do not: benchmarks/arithmetic.md
CASTS = frozenset({"half", "to", "type", "type_as"})
NUM_SHOWN = 3  # operations in the note's list; more hide the first


@rule("NUM102", severity="error", is_statistic=True, explained_by=("INI103", "INI105"))
def low_precision_overflow(headroom: Headroom, *, min_headroom: float = MIN_HEADROOM) -> Iterator[Draft]:
    """A result does not fit into the narrow type it is computed in, or barely does.

    Why:
        float16 ends at 65504 and loses what is below 6e-8: squares of numbers beyond 256 are infinite, and a constant
        of 1e-8 is no protection against zeros. bfloat16 has the range of float32, eight-bit floats end at 448 or 57344.

    Measured:
        The largest number of every operation's result beside the largest of its type. An error where it is infinite
        and spoils the loss or a gradient, a warning where what reads it swallows it (a norm makes zeros of it) or it
        fits less than twice. For a step in float32 a note
        tells what would not fit into float16. torch sums the squares inside its own norms in float32; a norm that is
        written out does not.

    Remedy:
        Compute this part in float32 or bfloat16, or make the numbers smaller before they are squared or summed.

    Source:
        Micikevicius et al. 2018, arXiv:1710.03740; huggingface/transformers#9295 and #10956, feed-forward layers and
        norms that overflow in float16.
    """
    if not headroom.is_narrow:
        yield from _wide(headroom)
        return
    broken = [each for each in headroom.results if each.infinite and not each.is_edge]
    if broken:
        yield _broken(broken[0], does_harm=headroom.does_harm)
        return
    if headroom.does_harm:
        return
    tight = [each for each in headroom.results if each.share * min_headroom > 1 and not each.infinite]
    if tight:
        yield _tight(tight[0], min_headroom)


@rule("NUM103", severity="error", explained_by=("BWD101", "FWD101"), is_statistic=True)
def gradient_underflow(underflow: GradientUnderflow, *, max_lost_share: float = MAX_LOST_SHARE) -> Iterator[Draft]:
    """float16 flushes gradients to zero that a loss scale would save.

    Why:
        Below 6e-8 float16 has nothing but zero. Gradients are means over samples and places and often that small;
        parameters whose gradients vanish stand still.

    Measured:
        Norm of what the gradient loses, over its norm: the step is made again with the loss times a power of two under
        which every gradient stays finite. An error where the whole gradient is lost, a warning where that of single
        parameters is. Steps that scale the loss themselves lose nothing.

    Remedy:
        Scale the loss (torch.amp.GradScaler), or use bfloat16, which has the range of float32.

    Source:
        Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
    """
    worst = [each for each in underflow.parameters if each.lost > max_lost_share]
    if not worst:
        return
    is_whole = underflow.lost > max_lost_share
    yield Draft(
        where=tuple(each.parameter for each in worst),
        measured=underflow.lost if is_whole else worst[0].lost,
        allowed=max_lost_share,
        unit="share of the gradient's norm",
        severity="error" if is_whole else "warning",
        cause=Phrase(
            "{flushed:.0%} of the gradient's numbers are 0 in float16 and are not with the loss times {scale:.0f}; the "
            "largest is {largest:.3g} then",
            flushed=underflow.flushed if is_whole else worst[0].flushed,
            scale=underflow.scale,
            largest=underflow.largest,
        ),
        remedy=Remedy(
            "precision",
            Phrase(
                "Scale the loss: torch.amp.GradScaler(init_scale={scale:.0f}); or run in bfloat16.",
                scale=underflow.scale,
            ),
        ),
    )


def _broken(result: Result, *, does_harm: bool) -> Draft:
    return Draft(
        where=(result.where, *result.upstream),
        measured=float(result.infinite),
        allowed=0.0,
        unit="numbers that do not fit",
        severity="error" if does_harm else "note" if result.only_negative else "warning",
        cause=_cause_of_overflow(result),
        remedy=Remedy("precision", _remedy_of_overflow(result)),
    )


def _cause_of_overflow(result: Result) -> Phrase:
    if result.vanished is not None:
        return Phrase(
            "{place} meets a zero: the constant {constant:g} that was to prevent it is 0 in {dtype}",
            place=place_of(result.operation, result.where),
            constant=result.vanished,
            dtype=result.dtype,
        )
    if result.is_gradient:
        return Phrase(
            "the derivative of {place} makes {count} gradients infinite; {dtype} ends at {limit:.5g}",
            place=place_of(result.operation, result.where),
            count=result.infinite,
            dtype=result.dtype,
            limit=limit_of(result.dtype),
        )
    return Phrase(
        "{place} makes {count} of {total} numbers infinite; {dtype} ends at {limit:.5g}",
        place=place_of(result.operation, result.where),
        count=result.infinite,
        total=result.total,
        dtype=result.dtype,
        limit=limit_of(result.dtype),
    )


def _remedy_of_overflow(result: Result) -> Phrase:
    if result.vanished is not None:
        return Phrase(
            "Use a constant that {dtype} holds, such as 1e-4, or compute this part in float32: x.float().",
            dtype=result.dtype,
        )
    if result.is_gradient:
        return Phrase("Take the mean instead of the sum in the loss, or run in bfloat16.")
    if result.operation in CASTS:
        return Phrase("Scale the numbers before they are cast, or cast them to bfloat16, which has float32's range.")
    return Phrase(
        "Compute {operation} in float32 (x.float(), or torch.autocast(enabled=False) around it) or the model in "
        "bfloat16, or make its input smaller.",
        operation=result.operation,
    )


def _tight(result: Result, min_headroom: float) -> Draft:
    return Draft(
        where=(result.where,),
        measured=result.largest,
        allowed=limit_of(result.dtype) / min_headroom,
        unit="largest number",
        severity="warning",
        cause=Phrase(
            "{place} reaches {largest:.4g} before any step, and {dtype} ends at {limit:.5g}",
            place=place_of(result.operation, result.where),
            largest=result.largest,
            dtype=result.dtype,
            limit=limit_of(result.dtype),
        ),
        remedy=Remedy(
            "precision",
            Phrase(
                "Compute {operation} in float32 or the model in bfloat16, or make its input smaller.",
                operation=result.operation,
            ),
        ),
    )


def _wide(headroom: Headroom) -> Iterator[Draft]:
    """Tell what would not fit into float16; the model runs in a type that holds it."""
    large = [each for each in headroom.results if each.share * MIN_WIDE_HEADROOM > 1]
    if not large or headroom.does_harm:
        return
    listed = ", ".join(f"{place_of(each.operation, each.where)} {each.largest:.2g}" for each in large[:NUM_SHOWN])
    more = Phrase("float16 could not hold {count} results: {listed}", count=len(large), listed=listed)
    one = Phrase("float16 could not hold one result: {listed}", listed=listed)
    yield Draft(
        where=tuple(dict.fromkeys(each.where for each in large)),
        measured=large[0].largest,
        allowed=limit_of("float16"),
        unit="largest number",
        severity="note",
        cause=one if len(large) == 1 else more,
        remedy=Remedy("precision", Phrase("Train in float32 or bfloat16, or scale the data and the loss first.")),
        message=Phrase(
            "A run in float16 would not hold the numbers of {where}: {largest}, where it ends at {limit:.5g}.",
            where=repr(large[0].where),
            largest=numeral(large[0].largest),
            limit=limit_of("float16"),
        ),
    )
