import copy
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from isometry._errors import ShapeError
from isometry.training.stopping.best import BestWeights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def spoil(model: nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(1)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_weights_and_buffers_come_back_bit_for_bit_in_the_same_tensors() -> None:
    model = network()
    model(torch.randn(8, 3))
    before, tensors = copy.deepcopy(model.state_dict()), list(model.parameters())
    kept = BestWeights(model)
    kept.keep()
    spoil(model)

    assert kept.restore()
    assert equal(model.state_dict(), before)
    assert all(one is other for one, other in zip(tensors, model.parameters(), strict=True))


def test_buffers_that_are_not_saved_come_back_too() -> None:
    model = network()
    model.register_buffer("mask", torch.ones(2), persistent=False)
    kept = BestWeights(model)
    kept.keep()
    spoil(model)
    kept.restore()

    assert torch.equal(model.get_buffer("mask"), torch.ones(2))


def test_a_tied_weight_is_kept_once() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    model[1].weight = model[0].weight
    kept = BestWeights(model)
    kept.keep()
    spoil(model)
    kept.restore()

    assert list(kept.state_dict()) == ["0.weight"]
    assert model[1].weight is model[0].weight


def test_special_numbers_and_types_keep_their_bits() -> None:
    model = nn.Module()
    odd = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    model.register_buffer("odd", odd.clone())
    model.register_buffer("narrow", torch.tensor([1.5], dtype=torch.bfloat16))
    model.register_buffer("number", torch.tensor(7))
    kept = BestWeights(model)
    kept.keep()
    spoil(model)
    kept.restore()

    assert torch.equal(model.get_buffer("odd").view(torch.int32), odd.view(torch.int32))
    assert (model.get_buffer("narrow").item(), model.get_buffer("number").item()) == (1.5, 7)


def test_a_copy_made_in_inference_mode_is_restored_to_weights_that_train_on() -> None:
    model = network()
    before, kept = copy.deepcopy(model.state_dict()), BestWeights(model)
    with torch.inference_mode():
        kept.keep()
    spoil(model)
    kept.restore()
    restored = equal(model.state_dict(), before)
    model(torch.randn(4, 3)).sum().backward()

    assert restored
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_without_a_copy_nothing_is_written() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())

    assert not BestWeights(model).restore()
    assert equal(model.state_dict(), before)


def test_an_interrupt_while_copying_leaves_the_copy_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    kept = BestWeights(model)
    kept.keep()
    spoil(model)
    calls = iter(range(2))

    def interrupted(tensor: torch.Tensor, **_: object) -> torch.Tensor:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return tensor.clone()

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.keep()
    kept.restore()

    assert equal(model.state_dict(), before)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod"])  # of a parallel and of a compiled model
def test_the_copy_travels_through_a_file_and_past_a_wrapper(wrapper: str) -> None:
    model, file = network(), io.BytesIO()
    kept = BestWeights(model)
    kept.keep()
    torch.save(kept.state_dict(), file)
    file.seek(0)
    other = nn.Sequential()
    other.add_module(wrapper, copy.deepcopy(model))
    spoil(other)
    resumed = BestWeights(other)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    resumed.restore()

    assert equal(other.get_submodule(wrapper).state_dict(), model.state_dict())


def test_a_buffer_that_grew_is_replaced_and_an_expanded_one_too() -> None:
    model = nn.Module()
    model.register_buffer("cache", torch.zeros(2))
    model.register_buffer("places", torch.arange(3).expand(2, 3))
    kept = BestWeights(model)
    kept.keep()
    model.register_buffer("cache", torch.ones(5))
    kept.restore()

    assert torch.equal(model.get_buffer("cache"), torch.zeros(2))
    assert torch.equal(model.get_buffer("places"), torch.arange(3).expand(2, 3))


def test_a_parameter_of_another_shape_is_refused() -> None:
    model = network()
    kept = BestWeights(model)
    kept.keep()
    model[2] = nn.Linear(4, 7)

    with pytest.raises(ShapeError, match=r"'2\.weight' has shape \(7, 4\) .* it had \(3, 4\)"):
        kept.restore()


def test_a_parameter_of_another_type_is_refused() -> None:
    model = network()
    kept = BestWeights(model)
    kept.keep()
    model.half()

    with pytest.raises(ShapeError, match=r"\(torch\.float16\); it had \(4, 3\) \(torch\.float32\)"):
        kept.restore()


def test_a_saved_copy_under_other_names_is_refused_and_leaves_the_one_before() -> None:
    model = network()
    kept = BestWeights(model)
    kept.keep()
    before = kept.state_dict()

    with pytest.raises(ShapeError, match=r"9 of 9 tensors of the model, such as '0\.weight', are not among the 9"):
        kept.load_state_dict({f"net.{name}": tensor for name, tensor in before.items()})
    assert equal(kept.state_dict(), before)


def test_a_parameter_without_a_copy_is_refused_before_anything_is_written() -> None:
    model = network()
    kept = BestWeights(model)
    kept.keep()
    spoil(model)
    spoilt = copy.deepcopy(model.state_dict())
    model.register_parameter("scale", nn.Parameter(torch.ones(1)))

    with pytest.raises(ShapeError, match="1 of 10 tensors of the model, such as 'scale'"):
        kept.restore()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in spoilt.items())


def test_of_a_model_of_buffers_alone_one_must_have_been_kept() -> None:
    model = nn.Module()
    model.register_buffer("mean", torch.zeros(2))
    with pytest.raises(ShapeError, match="1 of 1 tensors of the model, such as 'mean'"):
        BestWeights(model).load_state_dict({"average": torch.ones(2)})


def test_a_buffer_that_came_later_stays_as_it_is() -> None:
    model = network()
    kept = BestWeights(model)
    kept.keep()
    model.register_buffer("cache", torch.ones(2))

    assert kept.restore()
    assert torch.equal(model.get_buffer("cache"), torch.ones(2))


def test_the_copy_can_lie_on_another_device() -> None:
    kept = BestWeights(network(), device="cpu")
    kept.keep()

    assert {tensor.device.type for tensor in kept.state_dict().values()} == {"cpu"}
    assert kept.is_kept


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own, where it shards
@pytest.mark.usefixtures("one_process")
def test_sharded_weights_come_back_also_between_passes() -> None:
    model, inputs = network().eval(), torch.randn(5, 3)
    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    kept = BestWeights(model)
    best = model(inputs).detach()
    kept.keep()  # after a forward pass, which leaves weights whole
    model(inputs).sum().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    moved = model(inputs).detach()
    kept.restore()

    assert not torch.equal(moved, best)
    assert torch.equal(model(inputs), best)
