"""Real architectures are read as a person would count them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.anatomy.reading import Anatomy, read
from isometry.anatomy.record import Step, record_step
from isometry.anatomy.task import Task
from tests.anatomy.architectures import ARCHITECTURES, Architecture


def loss_of(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    outputs = model(**batch)
    if isinstance(outputs, Tensor):
        return outputs.square().mean()
    return outputs.loss if getattr(outputs, "loss", None) is not None else outputs.logits.square().mean()


def measured(architecture: Architecture) -> tuple[Step, Anatomy]:
    torch.manual_seed(0)
    step = record_step(Task(model=architecture.make().train(), batch=architecture.batch(), step=loss_of))
    return step, read(step.tape)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_layers_branches_and_heads_are_those_counted_by_hand(architecture: Architecture) -> None:
    step, anatomy = measured(architecture)
    named = {name for operation in step.tape.operations for use in operation.parameters for name in use.names}
    learning = {name for name, group in step.gradients.items() if group[0] is not None}

    assert len(anatomy.layers) == architecture.layers
    assert len(anatomy.branches) == architecture.branches
    assert tuple(layer.name for layer in anatomy.heads) == architecture.heads
    assert learning <= named


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("gpt2", [f"transformer.h.{i}.{part}.c_proj" for i in range(2) for part in ("attn", "mlp")]),
        ("llama", [f"model.layers.{i}.{part}" for i in range(2) for part in ("self_attn.o_proj", "mlp.down_proj")]),
        ("bert", [f"bert.encoder.layer.{i}.{part}output.dense" for i in range(2) for part in ("attention.", "")]),
    ],
)
def test_the_last_layer_of_every_branch_is_found(name: str, ends: list[str]) -> None:
    _, anatomy = measured(ARCHITECTURES[name])

    assert [layer.name for layer in anatomy.layers if layer.ends_branch] == ends


@pytest.mark.parametrize(
    ("name", "activation"),
    [("gpt2", "composed"), ("bert", "gelu"), ("t5", "relu"), ("vit", "gelu"), ("resnet", "relu")],
)
def test_the_activation_behind_a_first_matrix_is_found(name: str, activation: str) -> None:
    _, anatomy = measured(ARCHITECTURES[name])

    found = [layer.activation_after for layer in anatomy.layers if layer.activation_after and not layer.is_head]

    assert {each.name.split(" ")[0] for each in found} == {activation}
    assert all(each.is_repeatable for each in found)


def test_an_encoder_and_its_decoder_are_two_trunks() -> None:
    _, anatomy = measured(ARCHITECTURES["t5"])

    assert sorted(len(trunk) for trunk in anatomy.trunks) == [1 + 2 * 2, 1 + 2 * 3 + 1]


@pytest.mark.parametrize("name", ["gpt2", "bert", "llama"])
def test_the_trunk_runs_from_the_embedding_over_every_sum_to_the_head(name: str) -> None:
    _, anatomy = measured(ARCHITECTURES[name])
    sums = {branch.sum for branch in anatomy.branches}
    heads = {layer.operation for layer in anatomy.heads}

    assert all(sums <= set(trunk) for trunk in anatomy.trunks)
    assert all(trunk[-1] in heads for trunk in anatomy.trunks)
