"""The state of a training in memory, to go back to bit for bit."""

import copy
import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from isometry.training.stopping.best import BestWeights


class Stateful(Protocol):
    """What has a state that can be taken and given back, as schedulers and gradient scalers have."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Take a state back."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """What a training consists of beside its data.

    Attributes:
        model: The network, as the user calls it.
        optimizer: Which writes its weights.
        scheduler: Of the learning rate, if there is one.
        scaler: Of the gradients, if there is one.
        beside: What a checkpoint on disk holds too, and no rollback takes back, by name.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Stateful | None = None
    scaler: Stateful | None = None
    beside: dict[str, Stateful] = field(default_factory=dict[str, "Stateful"])

    @property
    def stateful(self) -> dict[str, Stateful]:
        """Scheduler and scaler by name, as far as there are."""
        named = {"scheduler": self.scheduler, "scaler": self.scaler}
        return {name: each for name, each in named.items() if each is not None}


class Snapshot:
    """A copy of weights, buffers, optimiser, scheduler, scaler and random states after one step.

    A later `take` overwrites it; the copies lie where the tensors lie.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self._weights = BestWeights(training.model)
        self._optimizer: OptimizerState | None = None
        self._states: dict[str, dict[str, Any]] = {}
        self._random: RandomState | None = None
        self.step = 0

    @property
    def is_taken(self) -> bool:
        """Whether there is a state to go back to."""
        return self._optimizer is not None

    def take(self, step: int) -> None:
        """Copy everything as it is after a step; where that fails, what was kept before stays whole."""
        optimizer = OptimizerState.of(self._training.optimizer)
        states = {name: copied(each.state_dict()) for name, each in self._training.stateful.items()}
        random_state = RandomState.now(self._training.model)
        self._weights.keep()
        self._optimizer, self._states, self._random = optimizer, states, random_state
        self.step = step

    def restore(self) -> None:
        """Put everything back bit for bit; it can be done again later."""
        assert self._optimizer is not None
        assert self._random is not None
        self._weights.restore()
        self._optimizer.restore(self._training.optimizer)
        for name, each in self._training.stateful.items():
            each.load_state_dict(copied(self._states[name]))
        self._random.restore()


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """What an optimiser remembers, copied.

    Not its state_dict: on the way back that would cast float32 states of bfloat16 weights.

    Attributes:
        state: Of each parameter.
        groups: The settings of each group.
    """

    state: Mapping[Tensor, Any]
    groups: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> "OptimizerState":
        """Return a copy of what it remembers now."""
        settings = ({key: value for key, value in each.items() if key != "params"} for each in optimizer.param_groups)
        state = cast("Mapping[Tensor, Any]", optimizer.state)
        return cls({each: copied(held) for each, held in state.items()}, tuple(copied(each) for each in settings))

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Put it back; it can be done again later."""
        optimizer.state.clear()
        optimizer.state.update({each: copied(held) for each, held in self.state.items()})
        for group, settings in zip(optimizer.param_groups, self.groups, strict=False):
            _refill(group, copied(settings))


@dataclass(frozen=True, slots=True)
class RandomState:
    """The global random states of torch, CUDA, NumPy and `random`.

    Attributes:
        torch_state: Of torch on the processor.
        cuda_states: Of the devices that the model lies on, by their number.
        numpy_state: Of NumPy's old global generator.
        python_state: Of the module `random`.
    """

    torch_state: Tensor
    cuda_states: Mapping[int, Tensor]
    numpy_state: Any
    python_state: Any

    @classmethod
    def now(cls, model: nn.Module) -> "RandomState":
        """Return the states as they are."""
        cards = {each.device.index for each in model.parameters() if each.device.type == "cuda"}
        return cls(
            torch.get_rng_state(),
            {card: torch.cuda.get_rng_state(card) for card in sorted(cards)},
            np.random.get_state(),  # noqa: NPY002 - the global state is what a training loop may draw from
            random.getstate(),
        )

    def restore(self) -> None:
        """Put them back."""
        torch.set_rng_state(self.torch_state)
        for card, state in self.cuda_states.items():
            torch.cuda.set_rng_state(state, card)
        np.random.set_state(self.numpy_state)  # noqa: NPY002 - see above
        random.setstate(self.python_state)


def copied(value: Any) -> Any:
    """Return a copy of a state whose tensors are copied bit for bit, and keep no graph."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in {dict, OrderedDict}:  # other kinds, such as a Counter, may not be made of pairs
        return type(value)((key, copied(each)) for key, each in cast("dict[Any, Any]", value).items())
    if type(value) in {list, tuple}:
        return type(value)(copied(each) for each in value)
    return copy.deepcopy(value)


def _refill(group: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Write settings back; a learning rate that is a tensor stays the same one, since compiled steps hold it."""
    for key in [key for key in group if key != "params" and key not in settings]:
        del group[key]
    for key, value in settings.items():
        held = group.get(key)
        if isinstance(held, Tensor) and isinstance(value, Tensor) and held.shape == value.shape:
            held.detach().copy_(value)
        else:
            group[key] = value
