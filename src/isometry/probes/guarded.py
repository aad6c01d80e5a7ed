"""Operations that can leave the numbers, kept inside their domain, to be put in the place of the bare ones."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from isometry.anatomy.recorder import Call

EDGE = 1e-6  # distance that an operand is kept from the edge of a domain
LARGEST_EXPONENT = 50.0  # exp of it is 5e21, whose square float32 still holds


def _divided(call: Call) -> Tensor:
    operand, *others = call.inputs
    if others:
        return operand / _away_from_zero(others[0])
    numbers = [each for each in call.args if isinstance(each, int | float)]
    number = numbers[0] if numbers else 1.0
    # `1 / x` is recorded as `x / 1` is; only the former leaves the numbers.
    return operand / EDGE if number == 0 else number / _away_from_zero(operand)


def _away_from_zero(divisor: Tensor) -> Tensor:
    return torch.where(divisor.abs() < EDGE, torch.full_like(divisor, EDGE), divisor)


GUARDED: Mapping[str, Callable[[Call], Tensor]] = {
    "log": lambda call: call.inputs[0].clamp_min(EDGE).log(),
    "log2": lambda call: call.inputs[0].clamp_min(EDGE).log2(),
    "log10": lambda call: call.inputs[0].clamp_min(EDGE).log10(),
    "log1p": lambda call: call.inputs[0].clamp_min(EDGE - 1).log1p(),
    "sqrt": lambda call: call.inputs[0].clamp_min(EDGE).sqrt(),
    "rsqrt": lambda call: call.inputs[0].clamp_min(EDGE).rsqrt(),
    "reciprocal": lambda call: _away_from_zero(call.inputs[0]).reciprocal(),
    "div": _divided,
    "exp": lambda call: call.inputs[0].clamp_max(LARGEST_EXPONENT).exp(),
    "acos": lambda call: call.inputs[0].clamp(EDGE - 1, 1 - EDGE).acos(),
    "asin": lambda call: call.inputs[0].clamp(EDGE - 1, 1 - EDGE).asin(),
}
