"""Many tensors in one call: the operations that torch's own optimisers are made of, and norms that do not overflow."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from isometry._errors import BuilderError, DomainError

FOREACH: Any = torch  # its foreach functions begin with an underscore, and have no public names
Key = TypeVar("Key", bound=Hashable)


def buckets(pairs: Iterable[tuple[Tensor, Key]]) -> dict[tuple[torch.device, torch.dtype, type, Key], list[Tensor]]:
    """Sort tensors by device, type, class and a key of their own; only equals can share a call.

    Args:
        pairs: Tensors with their keys.

    Returns:
        The tensors that agree in all of them, in the order they came in.
    """
    found: dict[tuple[torch.device, torch.dtype, type, Key], list[Tensor]] = {}
    for tensor, key in pairs:
        kind = Tensor if type(tensor) is Parameter else type(tensor)  # a DTensor is an instance of Parameter too
        found.setdefault((tensor.device, tensor.dtype, kind, key), []).append(tensor)
    return found


def norms_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor, in float32 at least: that of a float16 gradient may pass 65504.

    Args:
        tensors: Of one device and type; at least one.
    """
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    return whole(torch.stack(FOREACH._foreach_norm(list(tensors), 2, dtype=wide)))


def listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters that were given, of which one may come alone.

    Raises:
        BuilderError: If a module was given instead.
    """
    if isinstance(parameters, nn.Module):
        name = type(parameters).__name__
        raise BuilderError(f"the module {name} was given, and its parameters are needed. Give model.parameters().")
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def dense(parameter: Tensor, name: str) -> Tensor:
    """Return the gradient of a parameter that has one.

    Args:
        parameter: The parameter.
        name: Who asks, for the error.

    Raises:
        DomainError: If the gradient is sparse.
    """
    gradient = parameter.grad
    assert gradient is not None
    if gradient.layout != torch.strided:
        raise DomainError(
            f"{name} met a sparse gradient of shape {tuple(gradient.shape)}, and needs whole norms. "
            "Make the embedding with sparse=False, or give its table to torch.optim.SparseAdam."
        )
    return gradient


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor of which every process holds a part as the same tensor in all of them; others as they are."""
    gather = getattr(tensor, "full_tensor", None)  # that of a DTensor, which takes a second to import
    return tensor if gather is None else gather()
