"""Sequence, fine-tuned, generative and contrastive networks that train: none may get an error or a warning."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.networks import (
    Function,
    LowRank,
    classify,
    own_loss,
    restore,
    sound,
    stack,
)

# ---- sequences ----


class Recurrent(nn.Module):
    """A recurrent layer that reads tokens, and a head on its last state."""

    def __init__(self, kind: type[nn.Module], *, layers: int = 1) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.core = kind(16, 32, layers, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.core(self.embed(tokens))[0][:, -1])


def tokens_to_label(model: nn.Module) -> Task:
    """Rows of tokens and one label each."""
    return make_task(model, torch.randint(20, (32, 24)), torch.randint(10, (32,)), loss=F.cross_entropy)


@sound
def lstm() -> Task:
    return tokens_to_label(Recurrent(nn.LSTM, layers=2))


@sound
def gru() -> Task:
    return tokens_to_label(Recurrent(nn.GRU))


@sound
def rnn() -> Task:
    return tokens_to_label(Recurrent(nn.RNN))


class Translator(nn.Module):
    """An encoder-decoder transformer with one embedding for both sides and the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 32)
        nn.init.normal_(self.embed.weight, std=32**-0.5)
        self.core = nn.Transformer(32, 4, 3, 3, 64, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        scale = math.sqrt(32)
        return F.linear(self.core(self.embed(source) * scale, self.embed(target) * scale), self.embed.weight)


@sound
def transformer_encoder_decoder() -> Task:
    source, target = torch.randint(20, (8, 12)), torch.randint(20, (8, 10))
    return make_task(Translator(), (source, target), target.clone(), loss=each_token)


def each_token(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over all places of a sequence."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


@sound
def transformer_encoder() -> Task:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    pool = Function(lambda x: x.mean(1))
    model = nn.Sequential(nn.Embedding(20, 32), nn.TransformerEncoder(layer, 6), pool, nn.Linear(32, 10))
    return tokens_to_label(model)


def language_model(model: nn.Module, vocabulary: int) -> Task:
    """A causal language model of transformers on random tokens."""
    tokens = torch.randint(vocabulary, (4, 32))
    return make_task(model, {"input_ids": tokens, "labels": tokens})


@sound
def gpt2_of_four_layers() -> Task:
    from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415 - slow to import

    return language_model(
        GPT2LMHeadModel(GPT2Config(vocab_size=128, n_positions=64, n_embd=64, n_layer=4, n_head=4)), 128
    )


@sound
def llama_of_four_layers() -> Task:
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415 - slow to import

    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4
    )
    return language_model(LlamaForCausalLM(config), 128)


@sound
def mixtral_with_idle_experts() -> Task:
    from transformers import MixtralConfig, MixtralForCausalLM  # noqa: PLC0415 - slow to import

    config = MixtralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=1,
    )  # fmt: skip
    tokens = torch.randint(64, (1, 4))
    return make_task(MixtralForCausalLM(config), {"input_ids": tokens, "labels": tokens})


class Experts(nn.Module):
    """Hard routing: most experts see no example of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(16, 8)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10)) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        weights, choice = self.router(x).softmax(-1).max(-1)
        rows = [weights[row] * self.experts[int(choice[row])](x[row : row + 1]) for row in range(len(x))]
        return torch.cat(rows)


@sound
def experts_some_idle() -> Task:
    return classify(Experts(), count=6)


# ---- fine-tuning, ties and frozen parts ----


@sound
def lora_with_zero_up() -> Task:
    return classify(nn.Sequential(LowRank(16, 64), nn.ReLU(), LowRank(64, 64), nn.ReLU(), LowRank(64, 10)))


@sound
def frozen_backbone() -> Task:
    body = stack(16, 64, 64, 64)
    body.requires_grad_(requires_grad=False)
    return classify(nn.Sequential(body, nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)))


@sound
def frozen_backbone_new_head() -> Task:
    body = stack(16, 64, 64, 64)
    body.requires_grad_(requires_grad=False)
    return classify(nn.Sequential(body, nn.ReLU(), nn.Linear(64, 10)))


@sound
def low_rank_pair() -> Task:
    low = nn.Sequential(nn.Linear(64, 4, bias=False), nn.Linear(4, 64))
    return classify(nn.Sequential(nn.Linear(16, 64), nn.ReLU(), low, nn.ReLU(), nn.Linear(64, 10)))


class TiedAutoencoder(nn.Module):
    """The decoder's weight is the encoder's, transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(64, 16)
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.T, self.bias)


@sound
def tied_autoencoder() -> Task:
    return restore(TiedAutoencoder(), torch.randn(64, 64))


@sound
def shared_layer_called_twice() -> Task:
    shared = nn.Linear(32, 32)
    return classify(
        nn.Sequential(nn.Linear(16, 32), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(32, 10))
    )


# ---- generative, contrastive and other losses ----


@sound
def autoencoder_with_sigmoid_output() -> Task:
    model = nn.Sequential(stack(64, 32, 8, 32, 64), nn.Sigmoid())
    pixels = torch.rand(64, 64)
    return make_task(model, pixels, pixels.clone(), loss=F.binary_cross_entropy)


class VariationalAutoencoder(nn.Module):
    """Encoder of mean and log variance, decoder, and its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = stack(64, 64, 16), stack(8, 64, 64)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encode(x).chunk(2, -1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum(-1) / 2
        return F.binary_cross_entropy_with_logits(self.decode(latent), x) + 1e-3 * divergence.mean()


@sound
def variational_autoencoder() -> Task:
    return own_loss(VariationalAutoencoder(), torch.rand(64, 64))


class Siamese(nn.Module):
    """One encoder for both views, contrasted within the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = stack(16, 64, 64, 32)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        one, other = (F.normalize(self.encoder(view), dim=-1) for view in pair)
        return F.cross_entropy(one @ other.T / 0.1, torch.arange(len(one)))


@sound
def siamese() -> Task:
    views = torch.randn(64, 16)
    return own_loss(Siamese(), (views, views + 0.1 * torch.randn(64, 16)))


class Discriminator(nn.Module):
    """Real and generated examples; the generator is not trained in this step."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = stack(8, 32, 16, activation=nn.LeakyReLU)
        self.critic = stack(16, 64, 64, 1, activation=nn.LeakyReLU)

    def forward(self, real: Tensor) -> Tensor:
        fake = self.generator(torch.randn(len(real), 8)).detach()
        scores = self.critic(torch.cat([real, fake]))
        wanted = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
        return F.binary_cross_entropy_with_logits(scores, wanted)


@sound
def gan_discriminator() -> Task:
    return own_loss(Discriminator(), torch.randn(64, 16))


class Sine(nn.Module):
    """SIREN's layer with its own initialisation."""

    def __init__(self, into: int, out: int, *, is_first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(into, out)
        bound = 1 / into if is_first else math.sqrt(6 / into) / 30
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


@sound
def siren() -> Task:
    hidden = [Sine(64, 64, is_first=False) for _ in range(3)]
    head = nn.Linear(64, 1)
    nn.init.uniform_(head.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    places = torch.rand(256, 2) * 2 - 1
    return make_task(
        nn.Sequential(Sine(2, 64, is_first=True), *hidden, head), places, torch.rand(256, 1), loss=F.mse_loss
    )


@sound
def regression_on_normalised_targets() -> Task:
    return make_task(stack(8, 64, 64, 1), torch.randn(128, 8), torch.randn(128, 1), loss=F.mse_loss)


@sound
def actor_critic() -> Task:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.actor, self.critic = stack(8, 64, 64), nn.Linear(64, 4), nn.Linear(64, 1)

        def forward(self, seen: Tensor) -> Tensor:
            hidden = torch.tanh(self.body(seen))
            policy, value = self.actor(hidden).log_softmax(-1), self.critic(hidden)
            advantage = (torch.randn_like(value) - value).detach()
            return F.mse_loss(value, torch.randn_like(value)) - (policy[:, :1] * advantage).mean()

    return own_loss(Agent(), torch.randn(64, 8))


@sound
def momentum_teacher() -> Task:
    class Teacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = stack(16, 64, 32), stack(16, 64, 32)
            self.predictor = stack(32, 64, 32)

        def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
            with torch.no_grad():
                target = self.teacher(views[1])
            return 2 - 2 * F.cosine_similarity(self.predictor(self.student(views[0])), target).mean()

    return own_loss(Teacher(), (torch.randn(64, 16), torch.randn(64, 16)))


@sound
def bfloat16_network() -> Task:
    model = stack(16, 64, 64, 64, 10).bfloat16()
    return make_task(model, torch.randn(128, 16).bfloat16(), torch.randint(10, (128,)), loss=F.cross_entropy)


@sound
def weight_norm_network() -> Task:
    model = stack(16, 64, 64, 10)
    for layer in (model[0], model[2]):
        nn.utils.parametrizations.weight_norm(layer)
    return classify(model)
