"""A copy of a model's weights at its best, to be put back at the end."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from isometry._errors import ShapeError
from isometry.anatomy.names import canonical


class BestWeights:
    """Keeps one copy of all parameters and buffers of a model; a tied tensor once.

    A copy is made whole before it takes the place of the one before, so that an interrupt leaves no mixture.
    Memory: one copy of the model, and two while a new one is made.
    """

    def __init__(self, model: nn.Module, *, device: torch.device | str | None = None) -> None:
        """Keep nothing yet.

        Args:
            model: Whose weights.
            device: Where the copy lies; where each tensor lies if left out.
        """
        self._model = model
        self._device = device
        self._copies: dict[str, Tensor] = {}

    @property
    def is_kept(self) -> bool:
        """Whether there is a copy."""
        return bool(self._copies)

    def keep(self) -> None:
        """Copy the weights as they are now, bit for bit."""
        self._copies = {name: self._copied(tensor) for name, _, tensor in _tensors(self._model)}

    def restore(self) -> bool:
        """Write the copy into the model's own tensors, which stay the same objects.

        Returns:
            Whether there was a copy.

        Raises:
            ShapeError: If a parameter has another shape than when it was kept, or was not kept.
        """
        self._require_all()
        with torch.no_grad():
            for name, path, tensor in _tensors(self._model) if self._copies else ():
                self._write(name, path, tensor)
        return self.is_kept

    def state_dict(self) -> dict[str, Tensor]:
        """Return the copy, canonical names to tensors: it can be saved with safetensors or torch.save."""
        return dict(self._copies)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take a saved copy for the one to put back; the model stays as it is until then.

        Args:
            state: What `state_dict` gave; an empty one is no copy.

        Raises:
            ShapeError: If it lacks a parameter of the model; the copy before stays.
        """
        copies, self._copies = self._copies, {name: self._copied(tensor) for name, tensor in state.items()}
        try:
            self._require_all()
        except ShapeError:
            self._copies = copies
            raise

    def _copied(self, tensor: Tensor) -> Tensor:
        there = tensor.device if self._device is None else torch.device(self._device)
        return tensor.detach().to(device=there, copy=True)

    def _require_all(self) -> None:
        """Refuse copies that are of another model, or of this one before it was changed."""
        tensors = [(name, tensor) for name, _, tensor in _tensors(self._model)] if self._copies else []
        missing = [name for name, each in tensors if name not in self._copies and isinstance(each, nn.Parameter)]
        if tensors and not any(name in self._copies for name, _ in tensors):
            missing = [name for name, _ in tensors]
        if missing:
            raise ShapeError(
                f"{len(missing)} of {len(tensors)} tensors of the model, such as {missing[0]!r}, are not among the "
                f"{len(self._copies)} that were kept, such as {next(iter(self._copies))!r}. Give the state of this "
                f"model's own weights, and change parameters before the training begins."
            )

    def _write(self, name: str, path: str, tensor: Tensor) -> None:
        copy = self._copies.get(name)
        if copy is None:  # a buffer registered since then, such as a cache
            return
        if copy.shape == tensor.shape and copy.dtype == tensor.dtype and not _is_expanded(tensor):
            tensor.detach().copy_(copy)
        elif isinstance(tensor, nn.Parameter):
            raise ShapeError(
                f"{name!r} has shape {tuple(tensor.shape)} ({tensor.dtype}); it had {tuple(copy.shape)} ({copy.dtype}) "
                f"when the best weights were kept. Change parameters before the training begins."
            )
        else:  # a buffer that grows, such as a cache, or that cannot be written in place
            holder, _, last = path.rpartition(".")
            setattr(self._model.get_submodule(holder), last, copy.to(device=tensor.device, copy=True))


def _is_expanded(tensor: Tensor) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))


def _tensors(model: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Yield canonical name, path and tensor of each parameter and buffer, each tensor once."""
    for module in model.modules():
        if any(kind.__name__ == "FSDPModule" for kind in type(module).__mro__):
            cast(Any, module).reshard()  # a forward pass leaves the outermost module's weights whole
    seen: set[str] = set()
    named: Any = (*model.named_parameters(), *model.named_buffers())
    for path, tensor in named:
        name = canonical(path)
        name = path if name in seen else name  # a layer that is itself called `module`
        seen.add(name)
        yield name, path, tensor
