import pytest

from isometry.probes.running.readings import Fault
from isometry.training.watching.messages import error_of


@pytest.mark.parametrize(
    ("fault", "on_nan", "words"),
    [
        pytest.param(
            Fault(step=7, during="forward", operation="log", where="head", action="stop"),
            "stop",
            "step 7: log in 'head' made the first number that is not finite, in the forward pass. This update was not "
            "made: the weights are those after step 6. Keep log inside its domain, or lower the learning rate. "
            "isometry.watch(..., on_nan='skip' or 'rollback') goes on past such steps.",
            id="an operation with an edge",
        ),
        pytest.param(
            Fault(step=7, during="forward", operation="linear", where="head", action="stop"),
            "rollback",
            "step 7: linear in 'head' made the first number that is not finite, in the forward pass. The training has "
            "gone back to the same snapshot max_faults=2 times, to no avail. This update was not made: the weights are "
            "those of the last good step. Lower the learning rate.",
            id="what only grows",
        ),
        pytest.param(
            Fault(step=1, during="backward", operation="", where="0.bias", action="stop", reason="why"),
            "skip",
            "step 1: the gradient of '0.bias' is not finite (why). It is number 3 in a row, and more than max_faults=2 "
            "are not skipped. This update was not made: the weights are those of the last good step. Lower the "
            "learning rate.",
            id="an unknown one",
        ),
        pytest.param(
            Fault(step=2, during="update", operation="Adam", where="0.weight", action="stop"),
            "stop",
            "step 2: Adam in '0.weight' made the first number that is not finite, in the update. The weights hold it: "
            "load the last checkpoint, or watch with on_nan='rollback'. Lower the learning rate, or raise the "
            "optimiser's eps.",
            id="the optimiser",
        ),
    ],
)
def test_an_error_says_what_was_found_what_was_kept_and_what_to_do(fault: Fault, on_nan: str, words: str) -> None:
    error = error_of(fault, is_left_out=True, in_a_row=3, on_nan=on_nan)

    assert str(error) == words
    assert (error.step, error.operation, error.where) == (fault.step, fault.operation, fault.where)
