"""Tasks from inputs in every form, and the batches drawn from whole data sets."""

from collections import UserDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from isometry._errors import BuilderError, ModelError
from isometry.anatomy.record import record_step
from isometry.anatomy.task import Batch, Task, make_task, map_tensors, tensors_in
from tests.anatomy.layers import anatomy_of

Pair = namedtuple("Pair", ["a", "b"])


@dataclass(frozen=True)
class Graph:
    x: Tensor
    edges: Tensor


class Own(Tensor):
    """A subclass of Tensor, as data libraries have them."""


class AnyInputs(nn.Module):
    """Takes its inputs in any form."""

    def __init__(self, read: Callable[..., Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self._read = read

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.linear(self._read(*args, **kwargs))


X = torch.ones(4, 3)
FORMS: dict[str, tuple[Any, Callable[..., Tensor]]] = {
    "tensor": (X, lambda x: x),
    "tuple": ((X, X), lambda x, y: x + y),
    "mapping": ({"x": X, "y": X}, lambda x, y: x + y),
    "encoding": (UserDict(x=X), lambda x: x),
    "pair of both": (((X,), {"y": X}), lambda x, y: x + y),
    "list": ([X, X], lambda things: things[0] + things[1]),
    "named tuple": ((Pair(X, X),), lambda pair: pair.a + pair.b),
    "dataclass": (Graph(X, torch.tensor([0])), lambda graph: graph.x),
    "subclass": (X.as_subclass(Own), lambda x: x),
    "with None": ((X, None), lambda x, _: x),
}


@pytest.mark.parametrize(("inputs", "read"), FORMS.values(), ids=FORMS.keys())
def test_inputs_come_in_every_form(inputs: Any, read: Callable[..., Tensor]) -> None:
    task = make_task(AnyInputs(read), inputs)
    step = record_step(task)

    assert step.gradients["linear.weight"][0] is not None


@given(size=st.integers(1, 30), seed=st.integers(0, 5))
def test_a_batch_is_a_part_of_the_data_with_its_own_targets(size: int, seed: int) -> None:
    x = torch.arange(20.0)[:, None].expand(20, 3)
    inputs = {"graph": Graph(x, x), "more": [x, Pair(x, None)]}
    task = make_task(nn.Linear(3, 1), inputs, torch.arange(20), loss=F.cross_entropy, batch_size=size, seed=seed)
    rows = list(tensors_in(task.batch.inputs))

    assert len(task.batch.targets) == len(set(task.batch.targets.tolist())) == min(size, 20)
    assert len(rows) == 4
    assert all(torch.equal(part[:, 0], task.batch.targets.float()) for part in rows)


def test_inputs_of_another_length_are_one_batch() -> None:
    batch = make_task(nn.Linear(3, 1), torch.ones(7, 3), torch.ones(5), loss=F.mse_loss).batch

    assert (len(batch.inputs), len(batch.targets)) == (7, 5)


def test_a_loader_gives_batches_of_its_own_size() -> None:
    loader = DataLoader(TensorDataset(torch.ones(20, 3), torch.zeros(20, dtype=torch.int64)), batch_size=6)
    task = make_task(nn.Linear(3, 2), loader, loss=F.cross_entropy)

    assert isinstance(task.batch, Batch)
    assert (len(task.batch.inputs), task.examples and task.examples.count) == (6, 20)


def test_a_model_without_inputs_is_refused() -> None:
    with pytest.raises(BuilderError, match="came without inputs"):
        make_task(nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param(lambda m, x: m(x), r"shape \(4, 2\)", id="no scalar"),
        pytest.param(lambda *_: 3.0, "a float", id="no tensor"),
        pytest.param(lambda *_: None, "a NoneType", id="nothing"),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused(step: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        record_step(Task(model=nn.Linear(3, 2), batch=X, step=step))


@given(values=st.recursive(st.integers(0, 5), lambda each: st.lists(each) | st.dictionaries(st.text("ab"), each)))
def test_mapping_by_the_identity_changes_nothing(values: Any) -> None:
    assert map_tensors(values, lambda tensor: tensor) == values


def with_integers() -> nn.Module:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.codes = nn.Parameter(torch.ones(3, dtype=torch.int8), requires_grad=False)
            self.register_buffer("table", torch.arange(3, dtype=torch.int8))
            self.register_buffer("nothing", torch.empty(0))
            self.register_buffer("scale", torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x * (self.codes * self.table).float() * self.scale)

    return Quantised()


def test_integer_parameters_and_empty_buffers_are_no_obstacle() -> None:
    (layer,) = anatomy_of(with_integers(), X).layers

    assert layer.weight == ("linear.weight",)


def test_an_embedding_with_sparse_gradients_has_a_gradient_like_any_other() -> None:
    sparse, dense = nn.Embedding(5, 3, sparse=True), nn.Embedding(5, 3)
    dense.load_state_dict(sparse.state_dict())
    found = [record_step(make_task(model, torch.tensor([1, 1, 3]))).gradients["weight"][0] for model in (sparse, dense)]

    assert found[0] is not None
    assert found[1] is not None
    assert torch.allclose(found[0], found[1])


def test_a_graph_of_its_own_class_is_recorded() -> None:
    class Data:
        def __init__(self) -> None:
            self.x, self.edge_index = X, torch.tensor([[0, 1], [1, 2]])

    model = AnyInputs(lambda data: data.x.index_add(0, data.edge_index[0], data.x[data.edge_index[1]]))

    assert record_step(make_task(model, Data())).gradients["linear.bias"][0] is not None
