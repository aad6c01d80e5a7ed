"""Whether the gradients of a step are finite, asked before the optimiser uses them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from isometry.anatomy.names import names_of
from isometry.probes.running.foreach import FOREACH
from isometry.training.watching.ranks import Ranks


class GradientGuard:
    """Tests one device flag per step, and takes gradients that are not finite away from the optimiser.

    An optimiser leaves a parameter without gradient as it is, so that no weight and none of its states move.

    Attributes:
        is_left_out: Whether the optimiser leaves the step out that was tested last, since a scaler told it to.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, ranks: Ranks) -> None:
        self._names = names_of(model).of_tensor
        self._optimizer = optimizer
        self._ranks = ranks
        self.is_left_out = False

    def test(self) -> tuple[str, ...]:
        """Return the parameters whose gradients are not finite, in the order of the optimiser, none if all are well.

        Gradients that overflowed because a scaler scaled the loss are its own business: it leaves the step out.
        """
        self.is_left_out = False
        parameters = self._parameters()
        given = [each.grad for each in parameters if each.grad is not None]
        if not given or self._agreed(is_well=norms_are_finite([_numbers(each) for each in given])):
            return ()
        gradients = {id(each): _numbers(each.grad) for each in parameters if each.grad is not None}
        bad = tuple(self._names.get(key, "") for key, each in gradients.items() if not bool(each.isfinite().all()))
        if self._agreed(is_well=not bad):
            return ()
        self.is_left_out = _is_left_out_by_scaler(self._optimizer)
        if self.is_left_out:
            return ()
        return bad or ("",)  # of another process

    def drop(self) -> None:
        """Take all gradients away."""
        for each in self._parameters():
            each.grad = None

    def _parameters(self) -> list[Tensor]:
        """Return what the optimiser writes; a group may have been added since the run began."""
        return [each for group in self._optimizer.param_groups for each in group["params"]]

    def _agreed(self, *, is_well: bool) -> bool:
        if self._ranks.num_ranks == 1 or not any(_is_sharded(each) for each in self._parameters()):
            return is_well  # whole gradients are the same everywhere: they were averaged
        device = self._parameters()[0].device
        return not bool(self._ranks.agree(torch.tensor(not is_well, device=device)))


def norms_are_finite(tensors: Sequence[Tensor]) -> bool:
    """Say whether the norms of some tensors are finite, with one transfer per device; if so, all numbers are."""
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for each in tensors:
        alike.setdefault((each.device, each.dtype), []).append(each)
    with torch.no_grad():
        totals = [torch.stack(list(_norms(group))).float().sum() for group in alike.values()]
    return all(math.isfinite(total.item()) for total in totals)


def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Say whether all numbers of some tensors are finite."""
    numbers = [_numbers(each) for each in tensors if each.is_floating_point() or each.is_complex()]
    return not numbers or norms_are_finite(numbers) or all(bool(each.isfinite().all()) for each in numbers)


def loss_is_finite(loss: Tensor | float) -> bool:
    """Say whether a loss is a number."""
    return math.isfinite(loss.detach().item() if isinstance(loss, Tensor) else loss)


def _norms(tensors: list[Tensor]) -> Sequence[Tensor]:
    return FOREACH._foreach_norm(tensors)


def _numbers(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor that this process holds."""
    if type(tensor) is Tensor and tensor.layout == torch.strided:
        return tensor  # most of them, in less time
    tensor = tensor.detach()
    if _is_sharded(tensor):
        tensor = cast("Any", tensor).to_local()
    return tensor if tensor.layout == torch.strided else tensor.coalesce().values()


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def _is_left_out_by_scaler(optimizer: torch.optim.Optimizer) -> bool:
    """Say whether the optimiser unscales itself and has been told that the scaled gradients overflowed."""
    found = cast("Mapping[str, Any]", vars(optimizer)).get("found_inf")
    return isinstance(found, Tensor) and bool(found)
