"""Which parameters decay: networks with a trap each, and real ones beside the rules by name and by shape of others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers.trainer_pt_utils import get_parameter_names

from isometry._errors import ShapeError
from isometry.planning import roles
from isometry.planning.roles import ROLES
from isometry.training.optim.decay import DECLARED, choices_of
from tests.anatomy.architectures import ARCHITECTURES
from tests.findings.networks import LowRank
from tests.suite import architectures_graph, architectures_text, architectures_vision
from tests.suite.architecture import ARCHITECTURES as MORE

assert all((architectures_graph, architectures_text, architectures_vision))  # importing them fills the table

NAMES = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]  # of transformers' Trainer


def decaying(model: nn.Module, inputs: Any = None) -> set[str]:
    return {choice.name for choice in choices_of(model, inputs=inputs) if choice.decays}


def by_name(model: nn.Module) -> set[str]:
    """Return what transformers' Trainer decays."""
    return set(get_parameter_names(model, [nn.LayerNorm], NAMES))


def by_shape(model: nn.Module) -> set[str]:
    """Return what timm decays: more than one axis, and not called bias."""
    return {name for name, each in model.named_parameters() if each.ndim > 1 and not name.endswith(".bias")}


class Length(nn.Module):
    """Llama's norm under a name and with a gain that tell nothing; its gain may have axes of length 1."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1 if x.ndim > 2 else -1, keepdim=True) + 1e-6) * self.alpha


class Experts(nn.Module):
    """Stacked matrices with stacked biases, all experts in use."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.shift = nn.Parameter(torch.randn(3, 8, 5)), nn.Parameter(torch.zeros(3, 5))
        self.down, self.offset = nn.Parameter(torch.randn(3, 5, 8)), nn.Parameter(torch.zeros(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(torch.bmm(x.expand(3, -1, -1), self.up) + self.shift[:, None])
        return (torch.bmm(hidden, self.down) + self.offset[:, None]).sum(0)


class Tokens(nn.Module):
    """A class token, positions, a temperature and a layer scale around a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 6, 8))
        self.mix, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        self.scale, self.heat = nn.Parameter(torch.ones(8)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(x + self.scale * torch.tanh(self.mix(x)))[:, 0] * self.heat.exp()


def weight_normed() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 1))


TRAPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]] = {
    "a norm of one's own": (
        lambda: nn.Sequential(nn.Linear(8, 8), Length(8), nn.Linear(8, 3)),
        (5, 8),
        {"0.weight", "2.weight"},
    ),
    "gains along channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Length(1, 8, 1, 1), nn.Conv2d(8, 1, 1)),
        (2, 3, 6, 6),
        {"0.weight", "2.weight"},
    ),
    "a gain for each pixel": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm((4, 4, 4)), nn.Flatten(), nn.Linear(64, 2)),
        (2, 3, 6, 6),
        {"0.weight", "3.weight"},
    ),
    "biases of two axes": (lambda: nn.Sequential(nn.Linear(8, 8), Experts()), (4, 8), {"0.weight", "1.up", "1.down"}),
    "tokens and scales": (Tokens, (4, 5, 8), {"mix.weight", "head.weight"}),
    "weight norm": (weight_normed, (4, 8), {"0.parametrizations.weight.original1", "2.weight"}),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, 2)),
        (4, 8),
        {"0.parametrizations.weight.original", "2.weight"},
    ),
    "low rank": (
        lambda: nn.Sequential(LowRank(16, 12), nn.ReLU(), nn.Linear(12, 3)),
        (4, 16),
        {"0.base.weight", "0.down", "0.up", "2.weight"},
    ),
    "a learnt slope": (
        lambda: nn.Sequential(nn.Linear(8, 8), nn.PReLU(8), nn.Linear(8, 1)),
        (5, 8),
        {"0.weight", "2.weight"},
    ),
    "a recurrence": (lambda: nn.LSTM(5, 4), (6, 2, 5), {"weight_ih_l0", "weight_hh_l0"}),
    "torch's attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (3, 5, 8),
        {"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"},
    ),
}


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.parametrize("has_batch", [True, False], ids=["by a forward pass", "by structure"])
def test_what_mixes_units_decays_and_nothing_else(name: str, has_batch: bool) -> None:
    make, shape, expected = TRAPS[name]

    assert decaying(make(), torch.randn(shape) if has_batch else None) == expected


class Raw(nn.Module):
    """A layer around a parameter, and what is done with the two."""

    def __init__(self, *shape: int, forward: Callable[[nn.Linear, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.raw, self._forward = nn.Linear(8, 8), nn.Parameter(torch.randn(shape)), forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.layer, self.raw, x)


@pytest.mark.parametrize(
    ("model", "inputs", "with_batch", "without"),
    [
        pytest.param(
            Raw(4, 8, forward=lambda layer, raw, x: (layer(x) * torch.sigmoid(raw)).sum(1)),
            torch.randn(3, 4, 8),
            roles.OTHER,
            roles.HIDDEN,
            id="gates of two axes",
        ),
        pytest.param(
            Raw(4, 8, forward=lambda layer, raw, x: layer(torch.tanh(x) + raw)),
            torch.randn(3, 4, 8),
            roles.POSITION,
            roles.HIDDEN,
            id="positions of two axes",
        ),
        pytest.param(
            Raw(4, 8, forward=lambda layer, raw, x: torch.tanh(layer(x) + raw)),
            torch.randn(3, 4, 8),
            roles.POSITION,
            roles.HIDDEN,
            id="positions behind a layer",
        ),
        pytest.param(
            Raw(9, 8, forward=lambda layer, raw, x: torch.tanh(layer(x) + raw[: x.shape[1]])),
            torch.randn(3, 4, 8),
            roles.POSITION,
            roles.HIDDEN,
            id="the first of the positions behind a layer",
        ),
        pytest.param(
            Raw(9, 8, forward=lambda layer, raw, x: layer(nn.functional.embedding(x, raw))),
            torch.tensor([[0, 1, 2, 1], [2, 8, 0, 1]]),
            roles.EMBEDDING,
            roles.HIDDEN,
            id="an embedding",
        ),
        pytest.param(
            Raw(9, 8, forward=lambda layer, raw, x: layer(raw[x])),
            torch.tensor([[0, 1, 2, 1], [2, 8, 0, 1]]),
            roles.EMBEDDING,
            roles.HIDDEN,
            id="rows taken by index",
        ),
        pytest.param(
            Raw(1, 8, 5, forward=lambda layer, raw, x: torch.relu(layer(x)) @ raw[0]),
            torch.randn(3, 8),
            roles.HEAD,
            roles.POSITION,
            id="a stack of one matrix",
        ),
    ],
)
def test_a_forward_pass_tells_what_a_shape_does_not(
    model: nn.Module, inputs: Tensor, with_batch: str, without: str
) -> None:
    seen = {choice.name: choice for choice in choices_of(model, inputs=inputs)}
    blind = {choice.name: choice for choice in choices_of(model)}

    assert (seen["raw"].role, blind["raw"].role) == (with_batch, without)
    assert seen["raw"].decays != blind["raw"].decays
    assert seen["layer.weight"].decays
    assert not seen["raw"].is_guess


@pytest.mark.parametrize("shape", [(8, 1), (1, 8), (8, 1, 1)])
def test_a_parameter_of_one_long_axis_among_several_is_a_guess_until_a_batch_shows_what_it_does(
    shape: tuple[int, ...],
) -> None:
    model = Raw(*shape, forward=lambda layer, raw, x: layer(x) @ raw.view(8, 1))
    inputs = torch.randn(3, 8)
    blind, seen = choices_of(model)[0], choices_of(model, inputs=inputs)[0]

    assert (blind.name, blind.role, blind.decays, blind.is_guess) == ("raw", roles.OTHER, False, True)
    assert (seen.decays, seen.is_guess) == (True, False)


def test_a_vector_and_the_magnitudes_of_weight_norm_are_no_guess() -> None:
    assert not choices_of(nn.Sequential(Length(8)))[0].is_guess
    assert not any(choice.is_guess for choice in choices_of(weight_normed()))


def test_what_a_model_declares_goes_before_what_it_does() -> None:
    class Declared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.third = nn.Parameter(torch.randn(4, 4))
            self.third._no_weight_decay = True

        def no_weight_decay(self) -> set[str]:
            return {"second.weight"}

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x)) @ self.third

    model = nn.Sequential(Declared())

    for inputs in (None, torch.randn(2, 4)):
        choices = {choice.name: choice for choice in choices_of(model, inputs=inputs)}
        assert {name for name, choice in choices.items() if choice.decays} == {"0.first.weight"}
        assert choices["0.second.weight"].reason == choices["0.third"].reason == DECLARED


def test_biases_of_the_experts_that_the_data_choose_are_no_table() -> None:
    torch.manual_seed(0)
    choices = {choice.name: choice for choice in choices_of(MORE["GptOssForCausalLM"](), decay_embeddings=True)}

    assert choices["model.layers.0.mlp.experts.down_proj_bias"].role == roles.BIAS
    assert not choices["model.layers.0.mlp.experts.down_proj_bias"].decays
    assert choices["model.embed_tokens.weight"].decays


def test_a_parameter_without_a_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"'0.weight' has no shape yet. Run the model on a batch first"):
        choices_of(nn.Sequential(nn.LazyLinear(3)))


# What the two rules decay beyond ours (left) and ours beyond each of them, in real models, and why ours is right.
# Tables apart, which decay by choice.
DIFFERENCES: dict[str, tuple[set[str], set[str], str]] = {
    "gpt2": (set(), set(), "two names for a norm, and every bias is called so"),
    "llama": (set(), set(), "its norms are called layernorm and norm"),
    "resnet": (
        {
            "resnet.embedder.embedder.normalization.weight",
            "resnet.encoder.stages.0.layers.0.layer.0.normalization.weight",
        },
        set(),
        "gains of batch norms that are called normalization, which transformers' rule decays",
    ),
    "mamba": (
        {"backbone.layers.0.mixer.A_log", "backbone.layers.0.mixer.D", "backbone.norm_f.weight"},
        set(),
        "decay rates of the state, a skip scale, and a norm called norm_f",
    ),
    "vit": ({"vit.embeddings.cls_token"}, set(), "a token"),
    "convnext": ({"convnext.encoder.stages.0.layers.0.layer_scale_parameter"}, set(), "a layer scale"),
    "clip": ({"logit_scale", "vision_model.embeddings.class_embedding"}, set(), "a temperature and a token"),
    "wav2vec2": (
        {"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0"},
        set(),
        "the magnitudes of weight norm",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_real_models_decay_as_by_others_rules_but_for_what_was_judged(name: str) -> None:
    model = ARCHITECTURES[name].make().train()
    choices = choices_of(model, inputs=ARCHITECTURES[name].batch())
    ours = {choice.name for choice in choices if choice.decays}
    tables = {choice.name for choice in choices if choice.is_table}
    theirs = (by_name(model) | by_shape(model)) - tables
    beyond, missing, _ = DIFFERENCES[name]

    assert beyond <= theirs - ours
    assert not beyond or {_ending(each) for each in theirs - ours} == {_ending(each) for each in beyond}
    assert ours - theirs == missing


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


FOUND_BY_NAME = {  # whole models on which transformers' rule leaves every matrix out, or takes a bias in
    "GptOssForCausalLM": ("model.layers.0.mlp.experts.gate_up_proj_bias", False, True),
    "RobertaPreLayerNormForMaskedLM": ("roberta_prelayernorm.encoder.layer.0.output.dense.weight", True, True),
    "Swinv2ForImageClassification": (
        "swinv2.encoder.layers.0.blocks.0.attention.self.continuous_position_bias_mlp.0.weight",
        True,
        True,
    ),
    "ConvNextV2ForImageClassification": ("convnextv2.encoder.stages.0.layers.0.grn.weight", False, True),
    "SwiftFormerForImageClassification": ("swiftformer.encoder.network.0.blocks.0.layer_scale_1", False, True),
    "GAT": ("convs.0.att_src", False, True),
    "RecurrentGemmaForCausalLM": ("model.layers.0.temporal_block.rg_lru.input_gate_bias", False, True),
}


@pytest.mark.parametrize("name", FOUND_BY_NAME)
def test_names_and_shapes_mislead_where_roles_do_not(name: str) -> None:
    torch.manual_seed(0)
    task = MORE[name]()
    parameter, ours, in_shape = FOUND_BY_NAME[name]
    choices = {choice.name: choice for choice in choices_of(task)}

    assert choices[parameter].decays == ours
    assert (parameter in by_shape(task.model)) == in_shape
    assert ours != in_shape or parameter not in by_name(task.model)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MORE))
@pytest.mark.filterwarnings("ignore")  # of the libraries that make the models
def test_no_gain_or_bias_of_a_real_model_decays_and_every_layer_of_torch_does(name: str) -> None:
    torch.manual_seed(0)
    task = MORE[name]()
    choices = choices_of(task)
    layers = {id(each.weight) for each in task.model.modules() if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d)}
    left_out = [each for each in choices if not each.decays and id(each.parameter) in layers]

    assert [each.name for each in choices if each.decays and each.parameter.ndim < 2] == []
    assert [each.name for each in left_out if not each.is_table] == []  # a head that is tied to a table is one
    assert {choice.role for choice in choices} <= ROLES.keys()
