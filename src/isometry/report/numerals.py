"""Numbers as short text for people: the same in the terminal and on the page."""

import math

from isometry._phrases import Phrase
from isometry.report.language import say

PLAIN_FROM = 1e-3  # smaller magnitudes are written with a power of ten
PLAIN_BELOW = 1e6
MINUTE_SECONDS = 60.0
LONG_SECONDS = 120.0
KIBI = 1024
SHARE = "share of "  # how the units of shares begin
QUANTITIES = frozenset(
    {  # units that name what was measured, and stand before the number
        "largest logit",
        "largest magnitude",
        "largest number",
        "learning rate",
        "log of the sum of probabilities",
        "loss",
        "loss scale",
        "mean count",
        "mean over spread",
        "relative deviation",
        "root mean square",
        "sum of a sample's probabilities",
        "swing over level",
        "update over weight",
    }
)
SINGULAR = {
    "comparisons": "comparison",
    "copied units": "copied unit",
    "copied weights": "copied weight",
    "decades": "decade",
    "different samples": "different sample",
    "different targets": "different target",
    "distinct modules": "distinct module",
    "distinct units": "distinct unit",
    "numbers": "number",
    "numbers that are not finite": "number that is not finite",
    "numbers that do not fit": "number that does not fit",
    "outputs": "output",
    "parameters": "parameter",
    "standard deviations": "standard deviation",
    "steps that are not finite": "step that is not finite",
    "tensors": "tensor",
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def numeral(value: float, *, digits: int = 3) -> str:
    """A number in at most `digits` significant digits; whole numbers below a million are written out.

    Args:
        value: Any number, also one that is not finite.
        digits: Significant digits, counts.

    Returns:
        Text such as `0.25`, `3072`, `4.3e-22`, `inf` or `nan`.

    Example:
        >>> numeral(4.2789e-22)
        '4.28e-22'
    """
    mantissa, mark, exponent = column_numeral(value, digits=digits).partition("e")
    return _without_trailing_zeros(mantissa) + mark + exponent


def column_numeral(value: float, *, digits: int) -> str:
    """Return a number with `digits` significant digits, also where they are zeros, so that a column lines up."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if PLAIN_FROM <= abs(value) < PLAIN_BELOW:
        return f"{value:.{max(0, digits - 1 - int(exponent))}f}"
    return f"{mantissa}e{int(exponent)}"


def power_of_ten(exponent: int) -> str:
    """Return the label of a decade, such as `10⁻²²`."""
    return "10" + str(exponent).translate(SUPERSCRIPTS)


def percentage(share: float) -> str:
    """Return a share in [0, 1] as a percentage with one decimal, such as `93.1 %`."""
    return f"{100 * share:.1f} %"


def amount(value: float, unit: str) -> str:
    """Return a number in its unit, without the unit: a share as a percentage, such as `93.1 %` or `100 %`."""
    return f"{numeral(100 * value)} %" if unit.startswith(SHARE) else numeral(value)


def quantity(value: float, unit: str) -> Phrase:
    """Return a number with its unit, such as `19 decades`, `1 distinct unit` or `93.1 % (share of units)`.

    Args:
        value: The number.
        unit: Its unit in the plural, or what was measured; empty if it has none.

    Example:
        >>> quantity(0.5, "share of units")
        '50 % (share of units)'
    """
    if not unit:
        return Phrase(amount(value, unit))
    words = Phrase(SINGULAR.get(unit, unit) if value == 1 else unit)
    if unit.startswith(SHARE):
        return Phrase("{number} ({unit})", number=amount(value, unit), unit=words)
    if unit in QUANTITIES:
        return Phrase("{unit} {number}", unit=words, number=amount(value, unit))
    return Phrase("{number} {unit}", number=amount(value, unit), unit=words)


def duration(seconds: float) -> str:
    """Return a length of time, such as `350 ms`, `1.24 s` or `2 min 5 s`."""
    if not math.isfinite(seconds) or seconds >= LONG_SECONDS:
        return _minutes(seconds)
    return f"{numeral(seconds)} s" if seconds >= 1 or seconds == 0 else f"{numeral(1000 * seconds)} ms"


def memory(num_bytes: int) -> str:
    """Return an amount of memory in binary units, such as `1.3 GiB`."""
    size = float(num_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < KIBI:
            return f"{numeral(size)} {unit}"
        size /= KIBI
    return f"{numeral(size)} GiB"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun in the right number, such as `1 error` or `3 errors`."""
    return f"{count} {say(noun if count == 1 else f'{noun}s')}"


def finite(value: float | None) -> float | None:
    """Return the number itself, or None if it is missing or not finite."""
    return value if value is not None and math.isfinite(value) else None


def _minutes(seconds: float) -> str:
    if not math.isfinite(seconds):
        return f"{seconds} s"
    minutes, rest = divmod(round(seconds), int(MINUTE_SECONDS))
    return f"{minutes} min {rest} s"


def _without_trailing_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
