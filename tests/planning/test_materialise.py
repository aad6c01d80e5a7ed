import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, PlanError, ShapeError
from isometry.anatomy.names import names_of
from isometry.auditing.audit import audit
from isometry.fills.distributions import Constant, Normal
from isometry.fills.orthogonal import Orthogonal
from isometry.planning.entries import Draw, PlanEntry
from isometry.planning.materialise import materialise, on_meta
from isometry.planning.plan import Plan
from isometry.planning.weights_file import load_weights, save_weights

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TOKENS = {"vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BUILDERS: dict[str, Callable[[], nn.Module]] = {}


def of_transformers(model: str, config: str, **settings: object) -> None:
    def build() -> nn.Module:
        transformers = pytest.importorskip("transformers")
        return getattr(transformers, model)(getattr(transformers, config)(**settings))

    BUILDERS[model] = build


class Rotary(nn.Module):
    """A layer with a table of its own that is not saved, and no function that makes it again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("frequencies", 10.0 ** -torch.arange(4.0), persistent=False)


class Saved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("frequencies", 10.0 ** -torch.arange(4.0))


class Resettable(Rotary):
    def reset_buffers(self) -> None:
        self.frequencies.copy_(10.0 ** -torch.arange(4.0))


class Sloppy(Rotary):
    """Its function adds to what is there, so that what comes out depends on the memory that was taken."""

    def reset_buffers(self) -> None:
        self.frequencies.add_(1.0)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight
        self.table = nn.Parameter(torch.ones(3))
        self.again = self.table


of_transformers("GPT2LMHeadModel", "GPT2Config", n_embd=32, n_layer=2, n_head=4, n_positions=32, **TOKENS)
of_transformers("LlamaForCausalLM", "LlamaConfig", **SMALL, **TOKENS)
of_transformers("BertForMaskedLM", "BertConfig", **SMALL, **TOKENS)
BUILDERS |= {
    "batch norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False)),
    "recurrent": lambda: nn.LSTM(4, 8, 2),
    "attention": lambda: nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
    "a buffer with a reset": Resettable,
    "ties": Shared,
}


def plan_for(model: nn.Module) -> Plan:
    weights, zeros = Draw("normal", Normal(0.02)), Draw("zeros", Constant(0.0))
    return Plan(
        tuple(
            PlanEntry(name, "", tuple(tensors[0].shape), None, weights if tensors[0].ndim > 1 else zeros, "")
            for name, tensors in names_of(model).parameters.items()
        ),
        seed=3,
    )


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}


@pytest.mark.parametrize("built", [on_meta, lambda: torch.device("meta")], ids=["on_meta", "torch.device"])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_model_from_the_meta_device_equals_one_that_was_built_and_planned(
    name: str, built: Callable[[], torch.device]
) -> None:
    expected = BUILDERS[name]()
    plan = plan_for(expected)
    plan.apply(expected)
    with built():
        model = BUILDERS[name]()
    empty = [parameter.is_meta for parameter in model.parameters()]
    result = materialise(model, plan)
    tensors = tensors_of(model)

    assert result is model
    assert all(empty)
    assert tensors.keys() == tensors_of(expected).keys()
    assert all(torch.equal(tensors[key], tensor) for key, tensor in tensors_of(expected).items())
    assert [key for key, _ in model.named_parameters()] == [key for key, _ in expected.named_parameters()]
    assert audit(model, plan, seed=3).is_clean


def test_a_recurrent_layer_that_was_materialised_runs() -> None:
    with on_meta():
        model = nn.LSTM(4, 8)
    output, _ = materialise(model, plan_for(model))(torch.ones(3, 2, 4))

    assert output.shape == (3, 2, 8)


def test_buffers_stay_real_and_parameters_take_no_memory_on_meta() -> None:
    with on_meta():
        model = Rotary()
    after = nn.Linear(2, 2)
    materialise(model, plan_for(model))

    assert torch.equal(model.frequencies, 10.0 ** -torch.arange(4.0))
    assert not after.weight.is_meta


def test_the_registration_of_parameters_is_as_before_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="on purpose"), on_meta():
        raise ValueError("on purpose")

    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("kind", [Rotary, Sloppy])
def test_a_buffer_that_nothing_computes_again_is_named(kind: type[Rotary]) -> None:
    with torch.device("meta"):
        model = kind()
    with pytest.raises(PlanError, match=r"'frequencies' lies on the meta device.*on_meta\(\).*reset_buffers\(\)"):
        materialise(model, plan_for(model))

    assert all(parameter.is_meta for parameter in model.parameters())


def test_an_attribute_that_is_no_buffer_is_named_too() -> None:
    with torch.device("meta"):
        model = nn.Linear(4, 4)
        model.mask = torch.ones(4)
    with pytest.raises(PlanError, match="'mask' lies on the meta device"):
        materialise(model, plan_for(model))


def test_parameters_without_a_rule_are_listed() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to("meta")
    plan = Plan(plan_for(model).entries[:2])
    with pytest.raises(PlanError, match=re.escape("the plan writes nothing into '1.weight', '1.bias'")):
        materialise(model, plan)


def test_what_is_real_keeps_its_numbers() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    before = model[0].weight.detach().clone()
    materialise(model, Plan(plan_for(model).entries[2:]))

    assert torch.equal(model[0].weight, before)
    assert model[1].weight.device.type == "cpu"


def test_frozen_parameters_stay_frozen_and_types_stay() -> None:
    with on_meta():
        model = nn.Linear(4, 4, dtype=torch.bfloat16).requires_grad_(requires_grad=False)
    materialise(model, plan_for(model))

    assert not model.weight.requires_grad
    assert model.weight.dtype == torch.bfloat16


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    with torch.device("meta"):
        model = BUILDERS["batch norm"]()
    before = torch.random.get_rng_state()
    materialise(model, plan_for(model))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_seed_is_that_of_the_plan_unless_one_is_given() -> None:
    with on_meta():
        model, other = nn.Linear(4, 4), nn.Linear(4, 4)
    plan = plan_for(model)
    materialise(model, plan)
    materialise(other, plan, seed=4)

    assert audit(model, plan, seed=3).is_clean
    assert audit(other, plan, seed=4).is_clean
    assert not torch.equal(model.weight, other.weight)
    assert inspect.signature(materialise).parameters["seed"].default is None


def test_a_plan_that_does_not_suit_a_shape_leaves_the_model_without_memory() -> None:
    model = nn.Linear(4, 4, device="meta")
    made = Plan((*plan_for(model).entries[:1], PlanEntry("bias", "bias", (4,), None, Draw("x", Orthogonal()), "")))
    with pytest.raises(ShapeError, match="'bias' has shape"):
        materialise(model, made)

    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("built", [on_meta, lambda: torch.device("meta")], ids=["on_meta", "torch.device"])
def test_a_failure_while_weights_are_written_leaves_no_memory_that_nobody_wrote(
    built: Callable[[], torch.device],
) -> None:
    with built():
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    buffers = [buffer.is_meta for buffer in model.buffers()]
    with pytest.raises(DomainError):
        materialise(model, plan_for(model), seed=-1)
    with pytest.raises(RuntimeError, match="device"):
        materialise(model, plan_for(model), device="a device that there is not")

    assert all(parameter.is_meta for parameter in model.parameters())
    assert [buffer.is_meta for buffer in model.buffers()] == buffers


@pytest.mark.parametrize("built", [on_meta, lambda: torch.device("meta")], ids=["on_meta", "torch.device"])
@pytest.mark.parametrize("name", BUILDERS)
def test_weights_of_a_file_give_a_model_from_the_meta_device_its_memory(
    name: str, built: Callable[[], torch.device], tmp_path: Path
) -> None:
    expected = BUILDERS[name]()
    plan_for(expected).apply(expected)
    save_weights(expected, tmp_path / "w")
    with built():
        model = BUILDERS[name]()
    load_weights(model, tmp_path / "w")
    tensors = tensors_of(model)

    assert all(torch.equal(tensors[key], tensor) for key, tensor in tensors_of(expected).items())
    assert [key for key, _ in model.named_parameters()] == [key for key, _ in expected.named_parameters()]


def test_a_saved_buffer_is_read_though_nothing_computes_it_again(tmp_path: Path) -> None:
    save_weights(Saved(), tmp_path / "w")
    with torch.device("meta"):
        model = Saved()
    load_weights(model, tmp_path / "w")

    assert torch.equal(model.frequencies, 10.0 ** -torch.arange(4.0))


def test_a_file_that_does_not_fit_leaves_a_model_on_the_meta_device(tmp_path: Path) -> None:
    save_weights(nn.Linear(4, 5), tmp_path / "w")
    model = nn.Linear(4, 4, device="meta")
    with pytest.raises(BuilderError, match="cannot be read into Linear"):
        load_weights(model, tmp_path / "w")

    assert model.weight.is_meta
