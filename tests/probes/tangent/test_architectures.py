"""The kernel of real architectures against the contraction of Jacobians by torch.func, and against infinite width."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils import parametrizations

from isometry._errors import ModelError
from isometry.probes.tangent.kernel import mean_tangent_kernel, tangent_kernel
from isometry.theory.duals import erf, gelu
from isometry.theory.kernels import WideNetwork, kernels_of


class Residual(nn.Module):
    """Convolutions with batch norm and a way around them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        inner = torch.relu(self.norm(self.first(images)))
        return self.head((inner + self.second(inner)).mean((2, 3)))


class SequenceFirst(nn.Module):
    """Works on (positions, examples, numbers) inside, which may be as many positions as examples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(inputs.transpose(0, 1))).cumsum(0)[-1])


class TiedWords(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(7, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embedding(tokens)).cumsum(1)))


def normalised() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 2))


def images(count: int) -> Tensor:
    return torch.randn(count, 1, 6, 6, dtype=torch.float64)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "residual network in eval mode": (Residual, images),
    "positions first, as many as examples": (SequenceFirst, lambda n: torch.randn(n, 4, 3, dtype=torch.float64)),
    "tied words": (TiedWords, lambda n: torch.randint(7, (n, 3))),
    "weight norm": (normalised, lambda n: torch.randn(n, 5, dtype=torch.float64)),
}


def contracted(model: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """Return the kernel as PyTorch's tutorial does."""
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def outputs(chosen: dict[str, Tensor], example: Tensor) -> Tensor:
        return functional_call(model, chosen, (example[None],)).flatten()

    left, right = (vmap(jacrev(outputs), (None, 0))(parameters, each) for each in (first, second))
    return sum(
        (torch.einsum("icp,jdp->icjd", left[name].flatten(2), right[name].flatten(2)) for name in parameters),
        start=torch.zeros((), dtype=torch.float64),
    )


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch.func with weight norm
@pytest.mark.parametrize("max_bytes", [2**30, 60_000], ids=["one block", "small blocks"])
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_is_the_contraction_of_jacobians(name: str, max_bytes: int) -> None:
    torch.manual_seed(0)
    build, draw = CASES[name]
    model = build().double().eval()
    first, second = draw(4), draw(3)

    torch.testing.assert_close(tangent_kernel(model, first, max_bytes=max_bytes), contracted(model, first, first))
    torch.testing.assert_close(
        tangent_kernel(model, first, second, max_bytes=max_bytes), contracted(model, first, second)
    )


def test_batch_norm_in_training_mode_is_refused() -> None:
    with pytest.raises(ModelError, match=r"Call model\.eval\(\)"):
        tangent_kernel(Residual().double(), images(4))


def dense(model: nn.Module, calls: list[dict[str, Tensor]]) -> Tensor:
    parameters = [each for each in model.parameters() if each.requires_grad]
    rows = [torch.stack([_gradient(each, parameters) for each in model(**call).logits.flatten()]) for call in calls]
    return torch.einsum("icp,jdp->icjd", torch.stack(rows), torch.stack(rows))


def _gradient(output: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(output, parameters, retain_graph=True, materialize_grads=True)
    return torch.cat([each.flatten() for each in found])


def small_gpt() -> tuple[nn.Module, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 8, "vocab_size": 5, "n_positions": 4}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    return model, {"input_ids": torch.randint(5, (3, 3))}


def small_vit() -> tuple[nn.Module, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    configuration = transformers.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=3)
    return transformers.ViTForImageClassification(configuration), {
        "pixel_values": torch.randn(3, 1, 8, 8, dtype=torch.float64)
    }


def small_bert() -> tuple[nn.Module, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    configuration = transformers.BertConfig(**sizes, vocab_size=7, max_position_embeddings=5, num_labels=3)
    words = torch.tensor([[4, 1, 0, 0], [2, 3, 6, 0], [5, 5, 1, 2]])  # 0 is padding, which is not trained
    return transformers.BertForSequenceClassification(configuration), {"input_ids": words}


@pytest.mark.slow
@pytest.mark.parametrize("build", [small_gpt, small_vit, small_bert])
def test_the_kernel_of_a_transformer_is_the_product_of_its_gradients(build: Callable[[], Any]) -> None:
    torch.manual_seed(0)
    model, call = build()
    model = model.double().eval()
    calls = [{name: each[row : row + 1] for name, each in call.items()} for row in range(3)]

    torch.testing.assert_close(tangent_kernel(model, call), dense(model, calls))


class Wide(nn.Module):
    """Two hidden layers in the NTK parametrisation."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        sizes = ((width, 4), (width, width), (8, width))
        self.weights = nn.ParameterList([torch.randn(size, generator=generator) for size in sizes])
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        first, second, last = (
            (lambda x, weight=weight: nn.functional.linear(x * math.sqrt(1.5 / weight.shape[1]), weight))
            for weight in self.weights
        )
        return last(self.activation(second(self.activation(first(inputs)))))


@pytest.mark.parametrize(
    ("activation", "dual"), [(nn.functional.gelu, gelu()), (torch.erf, erf())], ids=["gelu", "erf"]
)
def test_the_kernel_of_a_wide_network_is_that_of_its_limit(activation: Callable[[Tensor], Tensor], dual: Any) -> None:
    # Fluctuations are of order 1/√width: 0.03 here, and the mean over eight outputs takes part of them away.
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    limit = kernels_of(WideNetwork(activation=dual, num_hidden=2, weight_variance=1.5), inputs.double().numpy()).ntk
    found = mean_tangent_kernel(Wide(1024, activation), inputs)

    assert found.numpy() == pytest.approx(limit, abs=0.05 * limit.max())
