"""The sentences of the findings, one template per code, so that another language can stand beside them."""

from isometry._phrases import Phrase
from isometry.report.numerals import amount, quantity

MESSAGES: dict[str, str] = {
    "BWD101": "The gradient falls by {measured} decades from the last hidden layer to the first ({allowed} allowed).",
    "BWD102": "The gradient grows by {measured} decades from the last hidden layer to the first ({allowed} allowed).",
    "DAT101": "{where} are not normalised: {quantity} ({allowed} allowed).",
    "DAT102": "{where} are the same for all samples.",
    "DAT103": "The loss makes {measured} comparisons for {allowed} targets.",
    "DAT104": "The norm {where} normalises over {measured} numbers ({allowed} allowed).",
    "FWD101": "The signal falls by {measured} decades from the first hidden layer to the last ({allowed} allowed).",
    "FWD102": "The signal grows by {measured} decades from the first hidden layer to the last ({allowed} allowed).",
    "FWD103": "{measured} of the units behind {where} are zero on every sample ({allowed} allowed).",
    "FWD104": "{measured} of the outputs behind {where} are saturated ({allowed} allowed).",
    "FWD105": "The share of the signal that tells samples apart falls by {measured} decades ({allowed} allowed).",
    "FWD106": "Behind {where} nothing nonlinear comes before the next layer, as at {measured} of the gaps.",
    "FWD107": "The weights of every attention are even to {measured}, relative ({allowed} would tell keys apart).",
    "FWD108": "The logits of the attention in {where} have grown to {measured} ({allowed} allowed).",
    "INI101": "{where} is constant: all of its entries are one number.",
    "INI102": "Only {measured} of the {allowed} units of {where} are distinct.",
    "INI103": "{where} holds numbers that nobody wrote; such tensors: {measured}.",
    "INI104": "{where} is not what the plan writes: {measured} where {allowed} is expected.",
    "INI105": "{where} holds a number of {measured} standard deviations ({allowed} allowed).",
    "INI106": "{where} has {measured} weights that are copies of others, which nobody tied.",
    "INI107": "{measured} of the {allowed} units of {where} are copies of others.",
    "INI108": "{where} and what it is multiplied with are both zero.",
    "INI109": "{where} is written {measured} times; {allowed} is enough.",
    "INI110": "{where} is all zeros, and no plan says so.",
    "INI111": "{where} is constant, and no plan says so.",
    "INI112": "The weights of {where} are drawn for another fan, and the signal is off by {measured} decades "
    "({allowed} allowed).",
    "LOS101": "The loss starts at {measured}; up to {allowed} is a sensible start.",
    "LOS102": "The outputs of {where} are not what the loss takes.",
    "LOS103": "The loss does not take {measured} of {where}.",
    "LOS104": "The loss is a sum with {measured} times a mean's gradient ({allowed} allowed).",
    "NUM101": "{measured} numbers are NaN or infinite in {where}.",
    "NUM102": "{where} comes to the end of its type of floats: {quantity}.",
    "NUM103": "float16 loses {measured} of the gradient, most of all that of {where} ({allowed} allowed).",
    "PAR101": "{measured} trainable parameters get no gradient, first {where}.",
    "PAR102": "The optimiser does not hold {measured} parameters that get a gradient, first {where}.",
    "TRN101": "A learning rate of {measured} undoes what it learns; {allowed} learns.",
    "TRN102": "A learning rate of {measured} moves nothing; {allowed} learns.",
    "TRN103": "The loss swings by {measured} of its level and gets no lower ({allowed} allowed).",
    "TRN104": "The loss stays at {measured}; a constant prediction comes to {allowed}.",
    "TRN105": "The network overfits: {where} has risen from {allowed} to {measured}.",
    "TRN106": "The loss jumped from {allowed} to {measured} in a single step.",
}
# The sentences where exactly one was measured.
ONE: dict[str, str] = {
    "DAT104": "The norm {where} normalises over a single number ({allowed} are the least).",
    "INI102": "Only one of the {allowed} units of {where} is distinct.",
    "INI106": "{where} has a weight that is a copy of another, which nobody tied.",
    "INI107": "One of the {allowed} units of {where} is a copy of another.",
    "NUM101": "One number is NaN or infinite in {where}.",
    "PAR101": "One trainable parameter gets no gradient: {where}.",
    "PAR102": "The optimiser does not hold one parameter that gets a gradient: {where}.",
}


def message(
    code: str, *, where: tuple[str, ...], measured: float | None, allowed: float | None, unit: str = ""
) -> Phrase:
    """Return the sentence of a finding.

    Args:
        code: The finding's code.
        where: Names of modules or parameters; the first is put in.
        measured: The number that was seen.
        allowed: The bound it was held against.
        unit: The unit of both.
    """
    first = repr(where[0]) if where else "the model"
    template = ONE[code] if measured == 1 and code in ONE else MESSAGES[code]
    return Phrase(
        template,
        where=first,
        measured=_number(measured, unit),
        allowed=_number(allowed, unit),
        quantity="?" if measured is None else quantity(measured, unit),
    )


def _number(value: float | None, unit: str) -> str:
    return "?" if value is None else amount(value, unit)
