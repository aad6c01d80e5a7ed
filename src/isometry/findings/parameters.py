"""Rules on parameters that do not learn (PAR)."""

from collections.abc import Iterator

from isometry.findings.rule import Draft, rule
from isometry.probes.reach import GradientReach
from isometry.report.finding import Remedy

LOST = "what the layers make of the batch leaves torch before the loss, through numpy, a list or a number"
KEEP = Remedy("model", "Stay with tensor operations from the batch to the loss; numpy() and tolist() cut the gradient.")
USE = Remedy("model", "Use them in the loss, or freeze them with requires_grad_(False).")
ONE_ZERO = Remedy("init", "Let at most one of two factors start at zero: isometry fix.")
FLAT = Remedy("model", "Look behind them for a step, a rounding, a clamp or a mask, and give it a slope.")


@rule("PAR101", severity="error", explained_by=("NUM101", "INI101", "FWD103", "BWD101"))
def no_gradient(reach: GradientReach) -> Iterator[Draft]:
    """A trainable parameter gets no gradient.

    Why:
        It stays as it was initialised while everything else learns around it.

    Measured:
        Parameters with requires_grad that autograd finds no way to, with the operation that cuts the way (detach,
        no_grad, a step function, a cast to integers, a way through numpy); and weights whose gradient is exactly
        zero, unless a weight of zeros on the way learns first, as at the end of a residual branch or in LoRA. A cut
        beside the trunk (a target network) and parameters that this batch did not use are notes.

    Remedy:
        Remove the detach or the operation without a derivative, or freeze the parameter with requires_grad_(False).

    Source:
        PyTorch documentation, Autograd mechanics; for products of two zeros Hu et al. 2021, arXiv:2106.09685,
        section 4.1, where one factor only is zero.
    """
    cut = reach.of("cut")
    if cut:
        yield Draft(
            where=tuple(parameter.name for parameter in cut),
            measured=float(len(cut)),
            allowed=0.0,
            unit="parameters",
            cause=f"no gradient passes {cut[0].blocked_by}",
            remedy=Remedy("model", f"Let the gradient through {cut[0].blocked_by}, or freeze what lies before it."),
            severity=None if reach.is_trunk_cut else "note",
        )
    yield from _zeros(reach)
    unused = reach.of("unused")
    if unused:
        yield Draft(
            where=tuple(parameter.name for parameter in unused),
            measured=float(len(unused)),
            allowed=0.0,
            unit="parameters",
            cause=LOST if reach.is_input_lost else "the loss of this batch does not depend on them",
            remedy=KEEP if reach.is_input_lost else USE,
            severity=None if reach.is_input_lost else "note",
        )


def _zeros(reach: GradientReach) -> Iterator[Draft]:
    """Yield the weights whose gradient is exactly zero and stays so."""
    stuck = [each for each in reach.of("zero") if not each.opens_later and each.is_weight]
    both_zero = [each.name for each in stuck if each.is_zero]
    if stuck:
        on_trunk = [each.name for each in stuck if each.name in reach.on_trunk]
        yield Draft(
            where=tuple(both_zero or on_trunk or [each.name for each in stuck]),
            measured=float(len(stuck)),
            allowed=0.0,
            unit="parameters",
            cause="two weights of zeros in a row keep each other at zero"
            if both_zero
            else "their gradient is exactly zero: something behind them is flat",
            remedy=ONE_ZERO if both_zero else FLAT,
            severity=None if both_zero or on_trunk else "note",
        )
