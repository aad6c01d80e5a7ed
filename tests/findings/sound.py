"""Networks that train, each as (model, inputs, targets, loss): none of them may get an error or a warning."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task

SOUND: dict[str, Callable[[], Task]] = {}


def sound(build: Callable[[], Task]) -> Callable[[], Task]:
    """Enter a builder under its name; it draws from torch's global generator, which the test seeds."""
    SOUND[build.__name__.replace("_", "-")] = build
    return build


def stack(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A plain network, without an activation behind the last layer."""
    layers: list[nn.Module] = []
    for into, out in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(into, out), activation()]
    return nn.Sequential(*layers[:-1])


def he(model: nn.Module, factor: float = 1.0) -> nn.Module:
    """Draw every matrix and kernel at `factor` times He's deviation, and set biases to zero."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=factor * math.sqrt(2 / parameter[0].numel()))
        else:
            nn.init.zeros_(parameter)
    return model


def classify(model: nn.Module, *, width: int = 16, classes: int = 10, count: int = 128) -> Task:
    """Vectors and labels."""
    return make_task(model, torch.randn(count, width), torch.randint(classes, (count,)), loss=F.cross_entropy)


def classify_images(model: nn.Module, *, channels: int = 3, size: int = 16, count: int = 32) -> Task:
    """Images and labels."""
    images = torch.randn(count, channels, size, size)
    return make_task(model, images, torch.randint(10, (count,)), loss=F.cross_entropy)


def restore(model: nn.Module, inputs: Tensor) -> Task:
    """A model that is to give back its inputs."""
    return make_task(model, inputs, inputs.clone(), loss=F.mse_loss)


class Residual(nn.Module):
    """x + scale * f(x), with a scale that may be a parameter."""

    def __init__(self, branch: nn.Module, scale: Tensor | float = 1.0) -> None:
        super().__init__()
        self.branch = branch
        self.scale = nn.Parameter(scale) if isinstance(scale, Tensor) else scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.branch(x)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def residual_net(branch: Callable[[int], nn.Module], *, depth: int, width: int = 32, scale: Any = 1.0) -> nn.Module:
    """A stem, residual blocks and a head."""
    blocks = [Residual(branch(width), scale() if callable(scale) else scale) for _ in range(depth)]
    return nn.Sequential(nn.Linear(16, width), *blocks, nn.Linear(width, 10))


def zero_last(block: nn.Sequential) -> nn.Sequential:
    """Set a block's last layer to zero."""
    nn.init.zeros_(block[-1].weight)
    nn.init.zeros_(block[-1].bias)
    return block


# ---- plain networks ----


@sound
def plain_relu_8() -> Task:
    return classify(stack(16, *[64] * 8, 10))


@sound
def he_relu_30() -> Task:
    return classify(he(stack(16, *[64] * 30, 10)))


@sound
def sigmoid_2() -> Task:
    return classify(stack(16, 64, 64, 10, activation=nn.Sigmoid))


@sound
def tanh_8() -> Task:
    return classify(stack(16, *[64] * 8, 10, activation=nn.Tanh))


@sound
def tapering_gelu() -> Task:
    return classify(stack(16, 128, 64, 32, 10, activation=nn.GELU))


@sound
def dropout_and_batch_norm() -> Task:
    blocks = [nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)) for _ in range(12)]
    return classify(nn.Sequential(nn.Linear(16, 32), *blocks, nn.Linear(32, 10)))


@sound
def selu_alpha_dropout() -> Task:
    model = stack(16, *[64] * 12, 10, activation=lambda: nn.Sequential(nn.SELU(), nn.AlphaDropout(0.05)))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]))
    return classify(model)


# ---- convex problems and zero starts ----


@sound
def linear_regression_from_zeros() -> Task:
    model = nn.Linear(16, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return make_task(model, torch.randn(64, 16), 50 + 10 * torch.randn(64, 1), loss=F.mse_loss)


@sound
def softmax_regression_from_zeros() -> Task:
    model = nn.Linear(16, 10)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return classify(model)


@sound
def softmax_regression_from_a_constant() -> Task:
    model = nn.Linear(16, 10)
    nn.init.constant_(model.weight, 0.3)
    return classify(model)


@sound
def logistic_regression_with_sigmoid() -> Task:
    model = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
    nn.init.zeros_(model[0].weight)
    return make_task(model, torch.randn(64, 16), torch.randint(2, (64, 1)).float(), loss=F.binary_cross_entropy)


@sound
def zero_head() -> Task:
    return classify(zero_last(stack(16, 64, 64, 10)))


@sound
def zero_head_on_residual_net() -> Task:
    block = lambda width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))  # noqa: E731 - one line a net
    model = residual_net(block, depth=6)
    nn.init.zeros_(model[-1].weight)
    return classify(model)


# ---- residual networks ----


@sound
def residual_50_with_batch_norm() -> Task:
    block = lambda width: nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width))  # noqa: E501, E731 - one line a net
    return classify(residual_net(block, depth=25))


@sound
def residual_50_pre_norm() -> Task:
    block = lambda width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))  # noqa: E731 - one line a net
    return classify(residual_net(block, depth=50))


@sound
def residual_50_without_norm_scaled() -> Task:
    def block(width: int) -> nn.Module:
        made = he(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)))
        made[2].weight.data /= math.sqrt(50)
        return made

    return classify(residual_net(block, depth=50))


@sound
def residual_50_zero_ends() -> Task:
    block = lambda width: zero_last(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)))  # noqa: E731 - one line a net
    return classify(residual_net(block, depth=50))


class FixupBlock(nn.Module):
    """Fixup's block: scalar biases, a scalar scale, the last layer at zero."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)
        self.biases = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(1))
        nn.init.normal_(self.first.weight, std=math.sqrt(2 / width) * depth**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.first(x + self.biases[0]) + self.biases[1])
        return F.relu(x + self.second(out + self.biases[2]) * self.scale + self.biases[3])


@sound
def fixup_50() -> Task:
    head = nn.Linear(32, 10)
    nn.init.zeros_(head.weight)
    return classify(nn.Sequential(nn.Linear(16, 32), *[FixupBlock(32, 50) for _ in range(50)], head))


@sound
def rezero_24() -> Task:
    block = lambda width: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))  # noqa: E731 - one line a net
    return classify(residual_net(block, depth=24, scale=lambda: torch.zeros(1)))


@sound
def layer_scale_24() -> Task:
    block = lambda width: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))  # noqa: E731 - one line a net
    return classify(residual_net(block, depth=24, scale=lambda: torch.full((32,), 1e-5)))


# ---- convolutions ----


@sound
def batch_norm_convnet() -> Task:
    def block(into: int, out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(into, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    body = [block(3, 16), block(16, 16), nn.MaxPool2d(2), block(16, 32), block(32, 32), nn.AdaptiveAvgPool2d(1)]
    return classify_images(nn.Sequential(*body, nn.Flatten(), nn.Linear(32, 10)))


@sound
def plain_convnet() -> Task:
    body = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(32 * 25, 64), nn.ReLU(), nn.Linear(64, 10)))


@sound
def depthwise_separable() -> Task:
    def block(into: int, out: int) -> nn.Module:
        depthwise = nn.Conv2d(into, into, 3, 1, 1, groups=into, bias=False)
        return nn.Sequential(
            depthwise, nn.BatchNorm2d(into), nn.ReLU6(), nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU6()
        )

    body = [nn.Conv2d(3, 16, 3, 2, 1), *[block(16, 16) for _ in range(6)], nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return classify_images(nn.Sequential(*body, nn.Linear(16, 10)))


@sound
def grouped_convolutions() -> Task:
    body: list[nn.Module] = [nn.Conv2d(3, 32, 3, 1, 1), nn.ReLU()]
    for _ in range(3):
        body += [nn.Conv2d(32, 32, 3, 1, 1, groups=4), nn.ReLU()]
    return classify_images(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)))


class SqueezeExcite(nn.Module):
    """A channel gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm(self.conv(x)))
        return x + out * torch.sigmoid(self.up(F.relu(self.down(out.mean((2, 3), keepdim=True)))))


@sound
def squeeze_excite() -> Task:
    blocks = [SqueezeExcite(16) for _ in range(6)]
    return classify_images(
        nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    )


class UNet(nn.Module):
    """Three levels with skips by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.middle = nn.Conv2d(32, 64, 3, 2, 1)
        self.up2, self.up1 = nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(64, 16, 2, 2)
        self.join2, self.out = nn.Conv2d(64, 64, 3, 1, 1), nn.Conv2d(32, 3, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(one))
        low = F.relu(self.middle(two))
        mixed = F.relu(self.join2(torch.cat([F.relu(self.up2(low)), two], 1)))
        return self.out(torch.cat([F.relu(self.up1(mixed)), one], 1))


@sound
def u_net() -> Task:
    images = torch.randn(16, 3, 16, 16)
    return make_task(UNet(), images, images.clone(), loss=F.mse_loss)


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
    loss = lambda logits, labels: F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # noqa: E731 - used once
    return make_task(Translator(), (source, target), target.clone(), loss=loss)


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

    return language_model(GPT2LMHeadModel(GPT2Config(vocab_size=128, n_positions=64, n_embd=64, n_layer=4, n_head=4)), 128)


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


class LowRank(nn.Module):
    """LoRA: a frozen weight and the product of a random and a zero factor."""

    def __init__(self, into: int, out: int, rank: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(into, out)
        self.base.requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.randn(rank, into) / rank)
        self.up = nn.Parameter(torch.zeros(out, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(F.linear(x, self.down), self.up)


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
    return classify(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(32, 10)))


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


def own_loss(model: nn.Module, batch: Any) -> Task:
    """A model that returns its loss."""
    return Task(model=model, batch=batch, step=lambda model, batch: model(batch))


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
        leaky = lambda: nn.LeakyReLU(0.2)  # noqa: E731 - used twice
        self.generator = stack(8, 32, 16, activation=leaky)
        self.critic = stack(16, 64, 64, 1, activation=leaky)

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
        nn.init.uniform_(self.linear.weight, -(bound := 1 / into if is_first else math.sqrt(6 / into) / 30), bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(x))


@sound
def siren() -> Task:
    hidden = [Sine(64, 64, is_first=False) for _ in range(3)]
    head = nn.Linear(64, 1)
    nn.init.uniform_(head.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    places = torch.rand(256, 2) * 2 - 1
    return make_task(nn.Sequential(Sine(2, 64, is_first=True), *hidden, head), places, torch.rand(256, 1), loss=F.mse_loss)


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
