"""What is to be trained: a model, a batch, and a step from both to a scalar loss."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from isometry._errors import BuilderError, ModelError
from isometry._phrases import Phrase
from isometry.anatomy.rare_rows import broken_rows, extreme_rows

Loss = Callable[[Any, Any], Tensor]
Step = Callable[[nn.Module, Any], Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

BROKEN_EXAMPLE = "Example {row} of the data set holds numbers that are not finite; the batch was made to hold it."
DEFAULT_BATCH_SIZE = 256  # examples; enough for shares of dead units to be told apart, small enough for a laptop


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch of a task made from inputs and targets; a Task with a step of its own may hold anything instead."""

    inputs: object
    targets: object = None


@dataclass(frozen=True, slots=True)
class Examples:
    """A whole data set, from which a check takes one batch and a race takes many.

    Attributes:
        count: Number of examples.
        take: From a list of indices in [0, count) to the batch of these examples.
        tensors: What of it lies in memory, with an example a row; none if it is not known.
    """

    count: int
    take: Callable[[Sequence[int]], object]
    tensors: tuple[Tensor, ...] = ()

    def random_batch(self, size: int, *, seed: int) -> object:
        """Return a batch of at most `size` examples, drawn without replacement.

        A few make room for examples with numbers that are not finite, and with labels that no other has, where the
        data set lies in memory: a training run meets them, a batch by chance does not.
        """
        rows = self._rows(size, seed=seed)
        telling = dict.fromkeys((*broken_rows(self.tensors, rows), *extreme_rows(self.tensors, rows)))
        last = list(telling)[: len(rows) - 1]
        return self.take(rows[: len(rows) - len(last)] + last)

    def broken_in_batch(self, size: int, *, seed: int) -> tuple[int, ...]:
        """Return the examples with numbers that are not finite for which others made room in `random_batch`."""
        return tuple(broken_rows(self.tensors, self._rows(size, seed=seed)))

    def _rows(self, size: int, *, seed: int) -> list[int]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))
        return order[:size].tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A model to be trained, with what one step of its training needs.

    Attributes:
        model: The network, on any device, in the mode it is to be measured in.
        batch: Whatever `step` takes as its second argument.
        step: From model and batch to a scalar loss that carries a gradient.
        optimizer_factory: From parameters to an optimiser; None if the user gave none.
        context: Makes the context each step runs in, such as autocast.
        is_fresh: Whether the weights are newly initialised; False (pretrained) forbids initialisation remedies.
        protected: Patterns (as in fnmatch) of parameters that no remedy may touch.
        examples: The whole data set, if there is one.
        loss_name: Which loss `step` computes, for reports.
        warnings: Sentences about how the task was understood.

    Example:
        >>> model = nn.Linear(3, 1)
        >>> task = Task(model=model, batch=torch.ones(2, 3), step=lambda model, batch: model(batch).square().mean())
        >>> task.compute_loss().shape
        torch.Size([])
    """

    model: nn.Module
    batch: Any
    step: Step
    optimizer_factory: OptimizerFactory | None = None
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    is_fresh: bool = True
    protected: tuple[str, ...] = ()
    examples: Examples | None = None
    loss_name: str = "the task's own loss"
    warnings: tuple[str, ...] = field(default=())

    @property
    def loss_in_use(self) -> str:
        """Which loss the last step computed, where the outputs decide that; else what `loss_name` says."""
        return getattr(self.step, "used", "") or self.loss_name

    def compute_loss(self) -> Tensor:
        """Return the loss of the task's batch, a scalar.

        Raises:
            ModelError: If the step returns anything but a scalar tensor.
        """
        with self.context():
            loss = cast("object", self.step(self.model, self.batch))  # a user's step may return anything
        if not isinstance(loss, Tensor):
            raise ModelError(
                f"the loss is a {type(loss).__name__}, but a scalar tensor is needed. Return the loss as a tensor."
            )
        if loss.numel() != 1:
            raise ModelError(
                f"the loss has shape {tuple(loss.shape)}, but a scalar is needed. "
                "Reduce it over the batch, for instance with reduction='mean'."
            )
        return loss.reshape(())


def make_task(
    model: nn.Module,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
) -> Task:
    """Return the task of a model called on inputs, with a loss of its outputs and targets.

    Args:
        model: The network.
        inputs: A tensor, a tuple of positional arguments, a mapping of keyword arguments, a pair of both, or a
            DataLoader of (inputs, targets). Inputs that share their first length with a targets tensor are a data
            set, of which the batch is a random part.
        targets: What `loss` compares the outputs with.
        loss: From outputs and targets to a scalar. Without one: the output's own `.loss`, else the mean square of
            its `.logits`, else the mean square of its first floating tensor.
        optimizer_factory: From parameters to an optimiser.
        batch_size: Largest number of examples taken from a data set, counts.
        seed: Seed of that choice.

    Raises:
        BuilderError: If there are no inputs, or the loss or the factory cannot be called.
    """
    for noun, part in (("loss", loss), ("optimizer_factory", optimizer_factory)):
        _require_function(noun, part)
    model = getattr(model, "_orig_mod", model)  # a compiled module hides its operations; its original does not
    if inputs is None:
        raise BuilderError(
            "the model came without inputs, and a batch is needed. Return (model, inputs) from the builder, "
            "or give a shape such as --input 8x3x32x32."
        )
    if isinstance(inputs, DataLoader):
        examples = _examples_of_loader(inputs)
        batch_size = inputs.batch_size or batch_size
    else:
        examples = _examples_of_tensors(inputs, targets)
    batch = examples.random_batch(batch_size, seed=seed) if examples else Batch(inputs, targets)
    broken = examples.broken_in_batch(batch_size, seed=seed) if examples else ()
    warnings: tuple[str, ...] = tuple(Phrase(BROKEN_EXAMPLE, row=row) for row in dict.fromkeys(broken))
    if loss is None and targets is not None:
        warnings = ("Targets were given without a loss, so they are not used.", *warnings)
    return Task(
        model=model,
        batch=batch,
        step=_Supervised(loss),
        optimizer_factory=optimizer_factory,
        examples=examples,
        loss_name=_name_of_loss(loss),
        warnings=warnings,
    )


def as_task(
    model: nn.Module | Task,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    optimizer_factory: OptimizerFactory | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    seed: int = 0,
) -> Task:
    """Return a Task as it is, and what `make_task` makes of anything else."""
    if isinstance(model, Task):
        return model
    return make_task(
        model, inputs, targets, loss=loss, optimizer_factory=optimizer_factory, batch_size=batch_size, seed=seed
    )


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Return the model's outputs for inputs in any of the accepted forms."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple):
        match inputs:
            case (tuple() as args, Mapping() as kwargs):
                return model(*args, **kwargs)
            case _:
                return model(*inputs)
    return model(inputs)


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Yield every tensor inside nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(thing, Tensor):
        yield thing
    elif thing is None or isinstance(thing, int | float | str):
        return  # most arguments of most operations, before what takes longer to tell
    elif isinstance(thing, Mapping):
        for part in thing.values():
            yield from tensors_in(part)
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from tensors_in(part)
    elif is_dataclass(thing) and not isinstance(thing, type):
        for item in fields(thing):
            yield from tensors_in(getattr(thing, item.name))


def map_tensors(thing: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy of nested tuples, lists, mappings and dataclasses with every tensor replaced by `change` of it."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, Mapping):
        return {key: map_tensors(part, change) for key, part in thing.items()}
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(map_tensors(part, change) for part in thing))
    if isinstance(thing, list | tuple):
        return type(thing)(map_tensors(part, change) for part in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        parts = {item.name: map_tensors(getattr(thing, item.name), change) for item in fields(thing) if item.init}
        return replace(thing, **parts)
    return thing


def with_model(task: Task, model: nn.Module) -> Task:
    """Return the same task for another model."""
    return replace(task, model=model)


@dataclass(slots=True)
class _Supervised:
    """The step of a task made from a loss of outputs and targets."""

    loss: Loss | None
    used: str = ""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        outputs = call_model(model, batch.inputs)
        if self.loss is not None:
            return self.loss(outputs, batch.targets)
        loss, self.used = _loss_of_output(outputs)
        return loss


def _loss_of_output(outputs: Any) -> tuple[Tensor, str]:
    """Return the loss that outputs imply where the user gave none, and its name."""
    own = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    if isinstance(own, Tensor) and own.numel() == 1:
        return own, "the output's own .loss"
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
    if isinstance(logits, Tensor):
        return logits.float().square().mean(), "mean square of the logits"
    floating = next((tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()), None)
    if floating is None:
        raise ModelError(
            f"the model returned {type(outputs).__name__} without a floating tensor, so there is nothing to "
            "measure. Give a loss of the model's outputs."
        )
    return floating.float().square().mean(), "mean square of the output"


def _name_of_loss(loss: Loss | None) -> str:
    if loss is None:
        return "the output's own .loss, else the mean square of the output"
    return str(getattr(loss, "__name__", type(loss).__name__))


def _examples_of_tensors(inputs: Any, targets: Any) -> Examples | None:
    if not isinstance(targets, Tensor) or targets.ndim == 0:
        return None
    tensors = list(tensors_in(inputs))
    count = len(targets)
    if not tensors or not count or any(tensor.ndim == 0 or len(tensor) != count for tensor in tensors):
        return None

    def take(indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(indices, device=targets.device)
        return Batch(map_tensors(inputs, lambda tensor: tensor[rows.to(tensor.device)]), targets[rows])

    return Examples(count, take, (*tensors, targets))


def _examples_of_loader(loader: DataLoader[Any]) -> Examples:
    dataset: Dataset[Any] = loader.dataset
    count = len(dataset) if hasattr(dataset, "__len__") else 0  # pyright: ignore[reportArgumentType] - just asked
    if count == 0 or loader.collate_fn is None:
        raise BuilderError(
            "the DataLoader's data set has no length, and batches are drawn by index. "
            "Give one batch instead: inputs, targets = next(iter(loader))."
        )
    collate = loader.collate_fn

    def take(indices: Sequence[int]) -> Batch:
        return _batch_of(collate([dataset[index] for index in indices]))

    return Examples(count, take, dataset.tensors if isinstance(dataset, TensorDataset) else ())


def _batch_of(collated: Any) -> Batch:
    """Return the batch that a DataLoader makes: inputs, a pair of inputs and targets, or a mapping for the model."""
    if isinstance(collated, Tensor | Mapping):
        return Batch(collated)
    parts: list[Any] = list(collated) if isinstance(collated, list | tuple) else []
    if len(parts) not in {1, 2}:
        raise BuilderError(
            f"the DataLoader gives {len(parts) or type(collated).__name__} parts, but inputs, or inputs and targets, "
            "are needed. Give one batch as (model, inputs, targets, loss) instead, with a tuple for several inputs."
        )
    return Batch(*parts)


def _require_function(noun: str, part: object) -> None:
    if isinstance(part, type) and issubclass(part, nn.Module):
        raise BuilderError(
            f"{noun} is the class {part.__name__}, but a function is needed. Make an instance: {part.__name__}()."
        )
    if part is not None and not callable(part):
        raise BuilderError(
            f"{noun} is {part!r}, which cannot be called, but a function is needed, such as "
            + ("F.cross_entropy." if noun == "loss" else "lambda parameters: torch.optim.SGD(parameters, lr=0.1).")
        )
