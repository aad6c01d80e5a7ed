"""What users name on the command line: builders that work, and those that make every mistake once."""

import atexit
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from isometry.anatomy.task import Task

HERE = Path(__file__)
WIDTH, CLASSES, COUNT = 8, 4, 64


def stack(depth: int = 2, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(COUNT, WIDTH, generator=generator), torch.randint(0, CLASSES, (COUNT,), generator=generator)


INPUTS, TARGETS = data()


class Small(nn.Module):
    """A class that is built without arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = stack()

    def forward(self, inputs: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.layers(inputs) * scale


# --- builders that work


instance = stack()
pair = (stack(), INPUTS)
triple = (stack(), INPUTS, TARGETS)
quadruple = (stack(), INPUTS, TARGETS, F.cross_entropy)


def quintuple() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, nn.CrossEntropyLoss(), lambda parameters: torch.optim.SGD(parameters, lr=0.1)


def task() -> Task:
    return Task(model=stack(), batch=INPUTS, step=lambda model, batch: model(batch).square().mean())


def loader() -> tuple[Any, ...]:
    return stack(), DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=16), None, F.cross_entropy


def loader_of_inputs() -> tuple[Any, ...]:
    return stack(), DataLoader(TensorDataset(INPUTS), batch_size=16)


def keywords() -> tuple[Any, ...]:
    return Small(), {"inputs": INPUTS, "scale": 2.0}


def arguments_and_keywords() -> tuple[Any, ...]:
    return Small(), ((INPUTS,), {"scale": 2.0})


def reader() -> nn.Module:
    return nn.Sequential(nn.Embedding(10, WIDTH), stack())


def deep_sigmoid() -> tuple[Any, ...]:
    return stack(30, nn.Sigmoid), INPUTS, TARGETS, F.cross_entropy


class Tied(nn.Module):
    """A deep sigmoid network whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, WIDTH)
        self.body = nn.Sequential(*stack(12, nn.Sigmoid)[:-1])
        self.head = nn.Linear(WIDTH, 12, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(ids)))


def tied() -> tuple[Any, ...]:
    ids = torch.randint(0, 12, (COUNT,), generator=torch.Generator().manual_seed(2))
    return Tied(), ids, ids.roll(1), F.cross_entropy


class Talking(Small):
    """A model that prints, as many do while they are being written."""

    def forward(self, inputs: Tensor, *, scale: float = 1.0) -> Tensor:
        print("from the model")
        return super().forward(inputs, scale=scale)


def talking() -> tuple[Any, ...]:
    print("from the builder")
    os.system("echo from a child")
    atexit.register(print, "from the end")
    return Talking(), INPUTS


# --- mistakes in the builder


def raising() -> nn.Module:
    return {}["width"]


def exiting() -> nn.Module:
    sys.exit(3)


def interrupted() -> nn.Module:
    raise KeyboardInterrupt


def with_arguments(width: int, *, depth: int) -> nn.Module:
    return nn.Linear(width, depth)


def nothing() -> None:
    stack()


def number() -> int:
    return 42


def a_list() -> list[Any]:
    return [stack(), INPUTS]


def swapped() -> tuple[Any, ...]:
    return INPUTS, stack()


def a_class() -> tuple[Any, ...]:
    return Small, INPUTS


def six() -> tuple[Any, ...]:
    return (*quintuple(), None)


def a_word_for_a_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, "cross_entropy"


def a_class_for_a_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, nn.CrossEntropyLoss


def a_word_for_an_optimizer() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, F.cross_entropy, "adam"


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """A data set without a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield INPUTS[0], TARGETS[0]


def stream() -> tuple[Any, ...]:
    return stack(), DataLoader(Stream(), batch_size=16), None, F.cross_entropy


def loader_of_three() -> tuple[Any, ...]:
    return stack(), DataLoader(TensorDataset(INPUTS, INPUTS, TARGETS), batch_size=16), None, F.cross_entropy


class Missing(torch.utils.data.Dataset[Tensor]):
    """A data set that fails when it is read."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Tensor:
        raise FileNotFoundError(f"no image {index}")


def unreadable_data() -> tuple[Any, ...]:
    return stack(), DataLoader(Missing(), batch_size=16)


# --- mistakes between model and batch


def wrong_width() -> tuple[Any, ...]:
    return stack(), INPUTS[:, 1:]


def doubles() -> tuple[Any, ...]:
    return stack(), INPUTS.double()


def whole_numbers() -> tuple[Any, ...]:
    return stack(), INPUTS.long()


def an_array() -> tuple[Any, ...]:
    return stack(), INPUTS.numpy()


def unknown_keyword() -> tuple[Any, ...]:
    return Small(), {"input_ids": INPUTS}


def floats_into_an_embedding() -> tuple[Any, ...]:
    return reader(), INPUTS


def too_large_ids() -> tuple[Any, ...]:
    return reader(), torch.full((4, 3), 10)


def on_meta() -> tuple[Any, ...]:
    return stack(), INPUTS.to("meta")


def empty() -> tuple[Any, ...]:
    return stack(), INPUTS[:0], TARGETS[:0], F.cross_entropy


def empty_task() -> Task:
    return Task(model=stack(), batch=INPUTS[:0], step=lambda model, batch: model(batch).square().mean())


def without_parameters() -> tuple[Any, ...]:
    return nn.Sequential(nn.ReLU()), INPUTS


def all_frozen() -> tuple[Any, ...]:
    return stack().requires_grad_(False), INPUTS


def lazy() -> tuple[Any, ...]:
    return nn.Sequential(nn.LazyLinear(4)), INPUTS


def nan_in_the_batch() -> tuple[Any, ...]:
    inputs = INPUTS.clone()
    inputs[3, 2] = float("nan")
    return stack(), inputs, TARGETS, F.cross_entropy


# --- mistakes in the loss


def vector_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none")


def number_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, lambda outputs, targets: F.cross_entropy(outputs, targets).item()


def constant_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, lambda outputs, targets: torch.tensor([F.cross_entropy(outputs, targets).item()])


def failing_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS[:5], F.cross_entropy


def exiting_loss() -> tuple[Any, ...]:
    return stack(), INPUTS, TARGETS, lambda *_: sys.exit("no loss today")


def only_labels() -> tuple[Any, ...]:
    class Labels(Small):
        def forward(self, inputs: Tensor, *, scale: float = 1.0) -> Tensor:
            return super().forward(inputs, scale=scale).argmax(-1)

    return Labels(), INPUTS


def detached() -> tuple[Any, ...]:
    class Detached(Small):
        def forward(self, inputs: Tensor, *, scale: float = 1.0) -> Tensor:
            return super().forward(inputs, scale=scale).detach()

    return Detached(), INPUTS, TARGETS, F.cross_entropy


def failing_optimizer() -> tuple[Any, ...]:
    def make(_: Any) -> torch.optim.Optimizer:
        raise ValueError("no rate was given")

    return (*deep_sigmoid(), make)


def mapping_loader() -> tuple[Any, ...]:
    class Rows(torch.utils.data.Dataset[Mapping[str, Tensor]]):
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, index: int) -> Mapping[str, Tensor]:
            return {"inputs": INPUTS[index]}

    return Small(), DataLoader(Rows(), batch_size=16)
