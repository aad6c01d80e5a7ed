"""Why a task cannot be recorded: said before the forward pass where it is plain, and after it where it failed."""

import inspect
from collections.abc import Collection

import torch
from torch import Tensor, nn

from isometry._errors import ModelError, Refusal, RefusedError, describe
from isometry._phrases import Phrase
from isometry.anatomy.flow import data_flow
from isometry.anatomy.known_failures import known_failure
from isometry.anatomy.recorder import Recorder
from isometry.anatomy.tape import Tape
from isometry.anatomy.task import Task, tensors_in

MAX_SHAPES_SHOWN = 4  # shapes in an error message; more hide the one that matters


_KNOWN = {  # by words of torch's own message
    "more than 1 value per channel": (
        "A batch norm in training mode takes the mean over the batch, and one number is its own mean: give more "
        "samples (drop_last=True in the DataLoader), or use another norm."
    ),
    "more than 1 spatial element": (
        "An instance norm takes the mean over the places, and there is one place only: give larger inputs, or use "
        "another norm."
    ),
    "all elements of input should be between 0 and 1": (
        "binary_cross_entropy takes probabilities and got raw numbers: use binary_cross_entropy_with_logits, or end "
        "the model with a sigmoid."
    ),
    "all elements of target should be between 0 and 1": (
        "binary_cross_entropy takes targets in [0, 1]: map labels such as 1 and 2, or -1 and 1, to 0 and 1."
    ),
    "is out of bounds.": (
        "A label is outside of [0, classes): the last layer needs as many outputs as there are classes, and labels "
        "count from 0."
    ),
    "multi-target not supported": (
        "It takes one label of each sample, in shape (N,): use targets.squeeze(1), or targets.argmax(1) for one-hot "
        "labels."
    ),
    "expected target dtype to be Long": (
        "It takes labels as whole numbers: convert them with .long(); for numbers to be predicted take mse_loss."
    ),
    "Found dtype Long but expected Float": "This loss takes floating-point targets: convert them with .float().",
    "must be the same as input size": (
        "Outputs and targets of this loss need one shape: outputs.squeeze(-1) or targets.unsqueeze(-1)."
    ),
    "to match target batch_size": (
        "The outputs have another number of rows than the targets: a flatten or view may have mixed samples with "
        "features."
    ),
}


def refuse_what_cannot_be_measured(task: Task) -> None:
    """Raise for a model without parameters or with lazy ones, and for a batch without examples.

    Raises:
        ModelError: With what was found and what to do.
    """
    model = task.model
    parameters = list(model.parameters())
    if not parameters:
        raise ModelError(
            f"the model {type(model).__name__} has no parameters, so there is nothing to train. "
            "Check that its layers are attributes or in an nn.ModuleList."
        )
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, nn.UninitializedParameter)]
    if lazy:
        raise ModelError(
            f"{lazy[0]!r} is lazy and has no shape yet, and a shape is needed. "
            "Run the model once on a batch inside the builder: model(inputs)."
        )
    first = next(tensors_in(task.batch), None)
    if first is not None and first.numel() == 0:
        raise ModelError(
            f"the batch is empty: its first tensor has shape {tuple(first.shape)}, and at least one example is "
            "needed. Check what the builder returns as inputs."
        )


def refuse_frozen(trainable: Collection[str], model: nn.Module) -> None:
    """Raise for a model of which nothing is to be trained.

    Args:
        trainable: The names of the parameters that require a gradient.
        model: The model.

    Raises:
        RefusedError: If there are none.
    """
    if not trainable:
        names = tuple(name for name, _ in model.named_parameters())
        raise RefusedError(
            "no parameter of the model requires a gradient, and training needs at least one. "
            "Set requires_grad_(True) on what is to be trained.",
            _no_gradient(
                names,
                Phrase("none of them requires a gradient"),
                Phrase("Set requires_grad_(True) on what is to be trained."),
            ),
        )


def _no_gradient(names: Collection[str], cause: Phrase, remedy: Phrase) -> Refusal:
    return Refusal(
        code="PAR101",
        where=tuple(names),
        cause=cause,
        remedy=remedy,
        measured=float(len(names)),
        allowed=0.0,
        unit="parameters",
    )


def refuse_constant_loss(loss: Tensor, tape: Tape, trainable: Collection[str]) -> None:
    """Raise for a loss that no parameter leads to; one that is cut off by an operation is left to the rules.

    Args:
        loss: The loss of a recorded step.
        tape: The step's record.
        trainable: The names of the parameters that require a gradient.

    Raises:
        RefusedError: If no operation before the loss used a parameter.
    """
    if not loss.requires_grad and not any(tape.operations[node].parameters for node in data_flow(tape).nodes):
        raise RefusedError(
            "the loss is a constant: no parameter leads to it, and training needs a loss that is computed from the "
            "model's output. Compute it with torch operations; torch.tensor(...), .item() and NumPy cut the way.",
            _no_gradient(
                trainable,
                Phrase("the loss is a constant: no parameter leads to it"),
                Phrase("Compute the loss with torch operations; torch.tensor(...), .item() and NumPy cut the way."),
            ),
        )


def failure_of(error: BaseException, recorder: Recorder, task: Task) -> ModelError:
    """Return what to raise for a forward pass that failed: in which layer, on which shapes and why, and what to do.

    Args:
        error: What the model or its loss raised.
        recorder: What watched it.
        task: What was run.
    """
    module = recorder.innermost_module
    path = recorder.innermost_path
    place = "outside of its layers (in the step or the loss)"
    if module is not None:
        place = f"in {path!r} ({_short(module)})" if path else f"in the model itself ({type(module).__name__})"
    call = ""
    if recorder.last_call is not None:
        name, operands = recorder.last_call
        shapes = [tuple(operand.shape) for operand in operands]
        call = f" at {name}({', '.join(str(shape) for shape in shapes[:MAX_SHAPES_SHOWN])})"
    told = f"the model failed on its batch {place}{call}: {describe(error)}. {_advice(error, recorder, task)}"
    refusal = known_failure(error, recorder)
    return ModelError(told) if refusal is None else RefusedError(told, refusal)


def _advice(error: BaseException, recorder: Recorder, task: Task) -> str:
    message, inputs = str(error), list(tensors_in(task.batch))
    weights = list(task.model.parameters())
    devices = {tensor.device for tensor in inputs}, {tensor.device for tensor in weights}
    if devices[0] and devices[0] != devices[1] and "device" in message:
        return f"The batch is on {_listed(devices[0])} and the model on {_listed(devices[1])}: move both to one device."
    if recorder.last_call is not None and recorder.last_call[0] == "embedding":
        return (
            "An embedding reads whole numbers in [0, num_embeddings): convert its input with .long(), or give "
            "--input 8x128:int64, and check the largest id."
        )
    if isinstance(error, TypeError):
        return _advice_on_arguments(message, recorder, task.model)
    known = next((advice for words, advice in _KNOWN.items() if words in message), "")
    if "type" in message and inputs and not known:
        return _advice_on_types(inputs, weights)
    if recorder.innermost_module is None:
        return known or "Check the loss: its outputs, its targets, and what it returns."
    return known or "Check the shapes and types of the batch against that layer."


def _advice_on_types(inputs: list[Tensor], weights: list[nn.Parameter]) -> str:
    held, needed = ({tensor.dtype for tensor in tensors} for tensors in (inputs, weights))
    advice = f"The batch holds {_listed(held)} and the parameters {_listed(needed)}"
    return f"{advice}: convert the inputs in the builder, for instance with inputs.to({next(iter(needed))})."


def _advice_on_arguments(message: str, recorder: Recorder, model: nn.Module) -> str:
    if "must be Tensor" in message:
        return "Convert the inputs to tensors in the builder, for instance with torch.as_tensor(inputs)."
    if recorder.innermost_module is model:
        takes = inspect.signature(model.forward)
        return (
            f"Its forward takes {takes}: give a tuple of positional arguments or a dictionary of keyword arguments, "
            "and targets apart, behind the inputs."
        )
    return "Check what is passed there."


def _listed(things: set[torch.device] | set[torch.dtype]) -> str:
    return " and ".join(sorted(str(thing).removeprefix("torch.") for thing in things))


def _short(module: nn.Module) -> str:
    text = repr(module)
    return text if "\n" not in text else type(module).__name__
