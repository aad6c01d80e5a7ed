"""What a training that is stopped says: what was found, what was kept, and what to do."""

from isometry._errors import NonFiniteError
from isometry.probes.origin import POINTED
from isometry.probes.running.readings import Fault

ORDER = (
    "run.step(loss) was called before the optimiser's step, as often as the model was. Call it after: "
    "loss.backward(), optimizer.step(), run.step(loss)."
)
PLACES = {"forward": "the forward pass", "loss": "the loss", "backward": "the backward pass", "update": "the update"}


def error_of(fault: Fault, *, is_left_out: bool, in_a_row: int, on_nan: str) -> NonFiniteError:
    """Return the error of a fault that stops the training.

    Args:
        fault: What happened.
        is_left_out: Whether the optimiser's update was left out, so that the weights are those before it.
        in_a_row: Faults that came one after the other, this one included; counts.
        on_nan: What was to be done with them.
    """
    last_good = f"after step {fault.step - 1}" if on_nan == "stop" else "of the last good step"
    kept = (
        f"This update was not made: the weights are those {last_good}."
        if is_left_out
        else "The gradients were finite, and the update was made."
    )
    if fault.during == "update" and on_nan != "rollback":
        kept = "The weights hold it: load the last checkpoint, or watch with on_nan='rollback'."
    parts = [f"step {fault.step}: {_found(fault)}.", *_patience(in_a_row, on_nan), kept, _advice(fault, on_nan)]
    return NonFiniteError(" ".join(parts), step=fault.step, operation=fault.operation, where=fault.where)


def _found(fault: Fault) -> str:
    place = PLACES[fault.during]
    at = f" in {fault.where!r}" if fault.where else ""
    if fault.operation == "input":
        return "the data given to the model hold numbers that are not finite"
    if fault.operation:
        return f"{fault.operation}{at} made the first number that is not finite, in {place}"
    nearest = f"the gradient of {fault.where!r} is not finite" if fault.where else f"{place} is not finite"
    return f"{nearest} ({fault.reason})"


def _patience(in_a_row: int, on_nan: str) -> list[str]:
    if on_nan == "skip":
        return [f"It is number {in_a_row} in a row, and more than max_faults={in_a_row - 1} are not skipped."]
    if on_nan == "rollback":
        returns = in_a_row - 1
        return [f"The training has gone back to the same snapshot max_faults={returns} times, to no avail."]
    return []


def _advice(fault: Fault, on_nan: str) -> str:
    others = "" if on_nan != "stop" else " isometry.watch(..., on_nan='skip' or 'rollback') goes on past such steps."
    if fault.operation == "input":
        return f"Clean the data, or leave such batches out.{others}"
    if fault.during == "update":
        return "Lower the learning rate, or raise the optimiser's eps."
    keep = f"keep {fault.operation} inside its domain, or " if fault.operation in POINTED else ""
    advice = f"{keep}lower the learning rate."
    return f"{advice[0].upper()}{advice[1:]}{others}"
