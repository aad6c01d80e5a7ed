"""A family of models: a builder from a size to a model, and the data that all of them learn."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, describe
from isometry.anatomy.builders import named
from isometry.anatomy.preserve import seeded
from isometry.anatomy.task import Loss, OptimizerFactory, Task, make_task, tensors_in
from isometry.training.labels.examples import LabelledExamples, labelled_examples, shuffled

Axis = Literal["width", "epochs", "samples"]
Builder = Callable[..., Any]

MIN_TEST = 30  # examples; on fewer no difference of errors is surer than chance
PAIR = 2  # parts of test=: inputs and targets
MAX_PARTS = 5  # of a builder's tuple: model, inputs, targets, loss, optimizer_factory


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What all members learn, where their builder gives none.

    Attributes:
        inputs: As for `check`; a data set.
        targets: One for each example.
        test: Inputs and targets that no member learns; None holds a share of the data set out.
        loss: As for `check`.
        optimizer_factory: Likewise.
    """

    inputs: Any = None
    targets: Any = None
    test: tuple[Any, Tensor] | None = None
    loss: Loss | None = None
    optimizer_factory: OptimizerFactory | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was given."""
        return any(each is not None for each in (self.inputs, self.targets, self.test, self.loss))


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one kind.

    Attributes:
        builder: From the sizes to a model, a task, or a tuple `(model, inputs, targets[, loss[, optimizer_factory]])`;
            or a word that names such a function.
        data: What they learn, where the builder gives none.
    """

    builder: Builder | str
    data: Data = field(default_factory=Data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A data set and who learns what of it.

    Attributes:
        examples: All, those of the test among them.
        train: Places of the examples to learn, in a random order.
        test: Places of the others.
    """

    examples: LabelledExamples
    train: Tensor
    test: Tensor


def built(family: Family, sizes: tuple[int, ...], *, seed: int) -> Task:
    """Return the task of one member.

    Args:
        family: Of which it is one.
        sizes: What the builder is called with: a width, or nothing.
        seed: Of the global random numbers while it builds; their states are put back.

    Raises:
        BuilderError: If the builder cannot be called so, raises, or returns something else.
    """
    if isinstance(family.builder, str):
        with named(family.builder) as found:
            return built(replace(family, builder=_required(found, family.builder, sizes)), sizes, seed=seed)
    with seeded(nn.Identity(), seed):
        try:
            made = family.builder(*sizes)
        except Exception as error:
            raise BuilderError(
                f"the builder called with {_told(sizes)} raised {describe(error)}. Call it by itself in Python first."
            ) from error
    return _task_of(made, family.data, seed=seed)


def require_builder(builder: object, sizes: tuple[int, ...]) -> Builder | str:
    """Return a builder that can be called with as many sizes; of a word that is seen when it is called.

    Raises:
        BuilderError: If it is none.
    """
    return builder if isinstance(builder, str) else _required(builder, "", sizes)


def split_of(task: Task, data: Data, *, test_share: float, seed: int) -> Split:
    """Return the examples of a task, some of them held out.

    Args:
        task: Of any member of the family.
        data: A test set of its own, if there is one.
        test_share: Share that is held out where there is none, in (0, 1).
        seed: Of the choice.

    Raises:
        BuilderError: If the task has no examples with a target each.
        DomainError: If too few are held out, or none is left.
    """
    examples = labelled_examples(task, most=None, seed=seed)
    if data.test is None:
        order = shuffled(examples.count, seed=seed)
        count = round(test_share * examples.count)
        test, train = order[:count], order[count:]
    else:
        inputs, targets = _required_test(data.test)
        train = shuffled(examples.count, seed=seed)
        test = torch.arange(examples.count, examples.count + len(targets))
        try:
            joined = torch.cat([examples.targets, targets.to(examples.targets)])
            examples = LabelledExamples(_joined(examples.inputs, inputs), joined, ())
        except (KeyError, RuntimeError, ValueError) as error:
            raise BuilderError(
                f"the data of test= do not fit those that are learnt: {describe(error)}. Give both in one form."
            ) from error
    if len(test) < MIN_TEST or not len(train):
        raise DomainError(
            f"{len(test)} examples are held out and {len(train)} are left to learn, and to tell differences takes at "
            f"least {MIN_TEST} that no member learns. Give more examples, another test_share, or test=."
        )
    return Split(examples=examples, train=train, test=test)


def require_enough(split: Split, count: int) -> None:
    """Refuse more examples than there are to learn.

    Raises:
        DomainError: If there are fewer.
    """
    if count > len(split.train):
        raise DomainError(
            f"{count} examples were asked for, and there are {len(split.train)} to learn beside the "
            f"{len(split.test)} held out. Give smaller values, a smaller test_share, or test=."
        )


def _required_test(test: object) -> tuple[Any, Tensor]:
    pair: tuple[Any, ...] = tuple(cast("Any", test)) if isinstance(test, tuple | list) else ()
    rows = {len(each) if each.ndim else 0 for each in tensors_in(pair)}
    if len(pair) != PAIR or not isinstance(pair[1], Tensor) or len(rows) != 1:
        raise BuilderError(
            "test= is no pair of inputs and a tensor of targets with one row for each row of the inputs. Give "
            "test=(inputs, targets)."
        )
    return pair[0], pair[1]


def _required(builder: object, word: str, sizes: tuple[int, ...]) -> Builder:
    name = repr(word) if word else f"a {type(builder).__name__}"
    takes = "one size" if sizes else "no arguments"
    needed = f"Give a function of {takes} that returns a new model, a task, or a tuple (model, inputs, targets, loss)."
    if isinstance(builder, nn.Module | Task | tuple) or not callable(builder):
        raise BuilderError(f"the builder is {name}, and every member and every seed needs a model of its own. {needed}")
    try:
        inspect.signature(builder).bind(*sizes)
    except TypeError as error:
        raise BuilderError(f"the builder cannot be called with {_told(sizes)}: {error}. {needed}") from error
    except ValueError:
        pass  # some callables written in C have no signature; calling them tells
    return cast("Builder", builder)


def _task_of(made: object, data: Data, *, seed: int) -> Task:
    parts: list[Any] = list(made) if isinstance(made, tuple) else [made]
    has_own = isinstance(made, Task) or len(parts) > 1
    if has_own and data.is_given:
        raise BuilderError(
            "the builder returns a model with its data, and inputs, targets, test or loss were given as well. "
            "Leave out one of the two."
        )
    if isinstance(made, Task):
        return made
    if not parts or not isinstance(parts[0], nn.Module) or len(parts) > MAX_PARTS:
        raise BuilderError(
            f"the builder returned {type(made).__name__}, and a torch.nn.Module, an isometry Task, or a tuple (model, "
            "inputs, targets[, loss[, optimizer_factory]]) is needed."
        )
    if has_own:
        inputs, targets, loss, factory = (*parts[1:], *(None,) * (MAX_PARTS - len(parts)))
    else:
        inputs, targets, loss, factory = data.inputs, data.targets, data.loss, data.optimizer_factory
    factory = data.optimizer_factory if factory is None else factory
    return make_task(parts[0], inputs, targets, loss=loss, optimizer_factory=factory, seed=seed)


def _joined(first: Any, second: Any) -> Any:
    """Return nested tensors with the rows of others behind their own."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second.to(first)])
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {key: _joined(part, second[key]) for key, part in first.items()}
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return type(first)(_joined(one, other) for one, other in zip(first, second, strict=True))
    raise BuilderError(
        f"the inputs are {type(first).__name__} and those of test= {type(second).__name__}. Give both in one form."
    )


def _told(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes)) if sizes else "no arguments"
