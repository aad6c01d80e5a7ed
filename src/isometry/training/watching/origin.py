"""Which operation made the first number of a step that is not finite."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from isometry._errors import IsometryError, describe
from isometry._phrases import Phrase
from isometry.anatomy.task import Batch, Task, tensors_in
from isometry.probes.backward_origin import name_of
from isometry.probes.origin import POINTED, origin_in
from isometry.training.watching.faults import are_finite, loss_is_finite
from isometry.training.watching.wrappers import unwrapped

MAX_HELD = 8  # forward passes of one step whose arguments are held; more are micro-batches or parts of a loss

COMPILED = frozenset({"CompiledFunction"})  # a whole graph in one node


@dataclass(frozen=True, slots=True)
class Cause:
    """Where the first number that is not finite came from; the fields are those of Fault.

    Attributes:
        during: `forward`, `loss`, `backward` or `update`.
        operation: Its name; `input` for data that were not finite before; empty if it is not known.
        where: Canonical name of the module or parameter.
        reason: Why the operation is not known; empty if it is.
    """

    during: str
    operation: str = ""
    where: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Forward:
    """The arguments of one forward pass, not copied, and the precision it ran in."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    autocast: torch.dtype | None
    outputs: tuple[Any, ...] = ()


class LastForwards:
    """Holds the arguments of a step's forward passes, and the graph's nodes of their outputs, until the step ends.

    Attributes:
        count: Forward passes of this step, those included that are not held any more.
    """

    def __init__(self, model: nn.Module) -> None:
        self._device = next((each.device.type for each in model.parameters()), "cpu")
        self._held = deque[Forward](maxlen=MAX_HELD)
        self._outputs = list[Any]()
        self.count = 0
        self._handles = (
            model.register_forward_pre_hook(self._hold, with_kwargs=True),
            model.register_forward_hook(self._note_outputs),
        )

    @property
    def held(self) -> tuple[Forward, ...]:
        """The forward passes of this step, oldest first."""
        return tuple(self._held)

    @property
    def outputs(self) -> tuple[Any, ...]:
        """Nodes of the backward graph that the outputs of this step's forward passes hang on."""
        return tuple(self._outputs)

    def __getstate__(self) -> dict[str, Any]:
        """A copy of the model takes its hooks along, bound to a copy of this; that one holds nothing, ever."""
        return {"_device": self._device, "_held": deque[Forward](maxlen=0), "_outputs": [], "count": 0, "_handles": ()}

    def forget(self) -> None:
        """Let the arguments go."""
        self._held.clear()
        self._outputs.clear()
        self.count = 0

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self.forget()

    def _hold(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling() or not (model.training and torch.is_grad_enabled()):
            return
        dtype = torch.get_autocast_dtype(self._device) if torch.is_autocast_enabled(self._device) else None
        self._held.append(Forward(args, kwargs, dtype))
        self.count += 1

    def _note_outputs(self, model: nn.Module, _: object, output: object) -> None:
        if torch.compiler.is_compiling() or not (self._held and model.training and torch.is_grad_enabled()):
            return
        nodes = [each.grad_fn for each in tensors_in(output) if each.grad_fn is not None]
        self._outputs = [*self._outputs, *nodes][-MAX_HELD * 8 :]


def find_cause(
    model: nn.Module, forwards: LastForwards, *, loss: Tensor | float | None, bad: Sequence[str], optimizer: str
) -> Cause:
    """Return where a step's first number that is not finite came from; the model is as before.

    Args:
        model: On the weights that the step was made with.
        forwards: Of the step.
        loss: Of the step, with its graph where there is one.
        bad: Parameters whose gradient is not finite, in the order of the model.
        optimizer: The class of the optimiser, which made numbers in the weights that are not finite.
    """
    try:
        return _searched(model, forwards, loss=loss, bad=bad, optimizer=optimizer)
    except Exception as error:  # noqa: BLE001 - as where there is no memory to run the model again
        told = Phrase("the search for it failed: {error}", error=describe(error))
        return Cause("backward" if bad else "loss", where=bad[-1] if bad else "", reason=told)


def cause_of_earlier(model: nn.Module, optimizer: str) -> Cause:
    """Return where a loss came from that was bad some steps ago; its batch is gone."""
    told = Phrase("it was seen at the next recorded step, when its batch was gone")
    return cause_in_weights(model, optimizer) or Cause("loss", reason=told)


def cause_in_weights(model: nn.Module, optimizer: str) -> Cause | None:
    """Return the update as the cause if a parameter holds numbers that are not finite; None if all are well."""
    broken = next((name for name, each in model.named_parameters() if not are_finite([each])), None)
    return None if broken is None else Cause("update", optimizer, broken)


def _searched(
    model: nn.Module, forwards: LastForwards, *, loss: Tensor | float | None, bad: Sequence[str], optimizer: str
) -> Cause:
    broken = cause_in_weights(model, optimizer)
    if broken is not None:
        return broken
    is_lost = loss is not None and not loss_is_finite(loss)
    if _is_run_together(model):
        told = Phrase("the processes run this model together, so it is not run again")
        return Cause("loss" if is_lost else "backward", where=bad[-1] if bad else "", reason=told)
    reason = Phrase("the forward pass was not seen: it is compiled, or goes past the model's own call")
    for forward in reversed(forwards.held):
        found = _in_model(unwrapped(model), forward, optimizer, with_backward=not is_lost)
        if found is not None and not found.reason:
            return found
        reason = found.reason if found is not None else Phrase("")
    if is_lost:
        return _in_loss(loss, forwards.outputs, reason)
    told = reason or Phrase("run again, the model and its gradients are finite, so it is in the loss")
    return Cause("backward", where=bad[-1] if bad else "", reason=told)


def _is_run_together(model: nn.Module) -> bool:
    """Say whether a forward pass of one process waits for the others."""
    is_sharded = any(hasattr(each, "to_local") for each in model.parameters())
    return is_sharded or any(isinstance(each, nn.SyncBatchNorm) for each in model.modules())


def _in_model(model: nn.Module, forward: Forward, optimizer: str, *, with_backward: bool) -> Cause | None:
    """Run a forward pass again, watched; None if it is well."""
    device = next(model.parameters()).device.type
    context = partial(torch.autocast, device, dtype=forward.autocast, enabled=forward.autocast is not None)
    batch = Batch((forward.args, dict(forward.kwargs)))
    try:
        found = origin_in(Task(model=model, batch=batch, step=_outputs_as_loss, context=context), seed=0)
    except IsometryError as error:
        return Cause("forward", reason=Phrase("run again, the model fails: {error}", error=describe(error)))
    match found.during:
        case "batch":
            return Cause("forward", "input")
        case "parameter":
            return Cause("update", optimizer, found.where)
        case "forward":
            return Cause("forward", found.operation, found.where)
        case "backward" if with_backward:
            is_given = any(_is_bad_input(each) for each in tensors_in((forward.args, forward.kwargs)))
            return Cause("forward", "input") if is_given else Cause("backward", found.operation, found.where)
        case _:
            return None


def _is_bad_input(tensor: Tensor) -> bool:
    """Say whether data hold what a model cannot work with; negative infinities may mask attention."""
    return tensor.is_floating_point() and bool((tensor.isnan() | tensor.isposinf()).any())


def _outputs_as_loss(model: nn.Module, batch: Any) -> Tensor:
    """Return a number that is finite if and only if the outputs are, and whose gradient reaches all of them."""
    args, kwargs = batch.inputs
    outputs = [each for each in tensors_in(model(*args, **kwargs)) if each.is_floating_point() and each.requires_grad]
    shares = [(each.float() / (each.numel() * len(outputs))).sum() for each in outputs if each.numel()]
    return torch.stack(shares).sum()


def _in_loss(loss: Tensor | float | None, outputs: Sequence[Any], reason: str) -> Cause:
    """Name the function between the outputs of the model and the loss that can leave the numbers."""
    if not isinstance(loss, Tensor) or loss.grad_fn is None or not outputs:
        return Cause(
            "loss", reason=reason or Phrase("the model's outputs are finite, and the loss came without its graph")
        )
    waiting, names, seen = [loss.grad_fn], list[str](), set[Any](outputs)
    while waiting:
        node: Any = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        names.append(name_of(node))
        waiting.extend(each for each, _ in node.next_functions if each is not None)
    named = [name for name in names if name not in COMPILED]
    pointed = [name for name in named if name in POINTED]
    if not named:
        return Cause("loss", reason=Phrase("it is inside of a compiled function"))
    return Cause("loss", (pointed or named)[0])
