"""Sound generative and contrastive tasks, whose step is no plain supervised one."""

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, sound
from tests.suite.data import digit_images, digits, wine


def perceptron(into: int, out: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


def own_loss(model: nn.Module, *batch: Tensor, rate: float = 3e-3) -> Task:
    """A model that returns its loss."""
    return Task(model=model, batch=batch, step=lambda model, batch: model(*batch), optimizer_factory=adam(rate))


@sound(steps=200)
def variational_autoencoder_with_summed_pixels() -> Task:
    """The evidence bound is a sum over pixels and codes by definition, and a mean over samples."""

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = perceptron(64, 16), perceptron(8, 64)

        def forward(self, x: Tensor) -> Tensor:
            mean, log_variance = self.encode(x).chunk(2, 1)
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            restored = F.binary_cross_entropy_with_logits(self.decode(code), x, reduction="none").sum(1)
            prior = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
            return (restored + prior).mean()

    inputs, _ = digits()
    return own_loss(Vae(), (inputs[:256] + 1) / 2)


@sound(steps=200)
def noise_prediction_of_a_diffusion_model() -> Task:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 64))
            self.into, self.body, self.out = nn.Linear(64, 64), perceptron(64, 64), nn.Linear(64, 64)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

        def forward(self, x: Tensor, noise: Tensor, time: Tensor) -> Tensor:
            kept = torch.cos(time * math.pi / 2)
            angles = time * 2.0 ** torch.arange(8)
            hidden = self.into(kept * x + (1 - kept**2).sqrt() * noise)
            hidden = hidden + self.time(torch.cat([angles.sin(), angles.cos()], 1))
            return F.mse_loss(self.out(F.silu(hidden + self.body(hidden))), noise)

    inputs, _ = digits()
    return own_loss(Denoiser(), inputs[:256], torch.randn(256, 64), torch.rand(256, 1))


@sound(steps=150)
def normalising_flow_of_couplings() -> Task:
    class Coupling(nn.Module):
        def __init__(self, *, flip: bool) -> None:
            super().__init__()
            self.net, self.flip = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 4)), flip
            nn.init.zeros_(self.net[2].weight)
            nn.init.zeros_(self.net[2].bias)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b = x.chunk(2, 1)[::-1] if self.flip else x.chunk(2, 1)
            scale, shift = self.net(a).chunk(2, 1)
            b = b * torch.exp(torch.tanh(scale)) + shift
            return torch.cat([b, a] if self.flip else [a, b], 1), torch.tanh(scale).sum(1)

    class Flow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Coupling(flip=bool(i % 2)) for i in range(6)])

        def forward(self, x: Tensor) -> Tensor:
            volume = 0.0
            for layer in self.layers:
                x, change = layer(x)
                volume = volume + change
            return (0.5 * x.square().sum(1) + 2 * math.log(2 * math.pi) - volume).mean()

    base = torch.randn(512, 2)
    return own_loss(Flow(), torch.cat([base, 0.3 * torch.randn(512, 2) + base.square() - 1], 1))


@sound(steps=200)
def vector_quantised_codes() -> Task:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = perceptron(64, 8), perceptron(8, 64)
            self.codes = nn.Embedding(32, 8)
            nn.init.uniform_(self.codes.weight, -1 / 32, 1 / 32)

        def forward(self, x: Tensor) -> Tensor:
            latent = self.encode(x)
            code = self.codes(torch.cdist(latent, self.codes.weight).argmin(1))
            through = latent + (code - latent).detach()
            commitment = F.mse_loss(code, latent.detach()) + 0.25 * F.mse_loss(latent, code.detach())
            return F.mse_loss(self.decode(through), x) + commitment

    inputs, _ = digits()
    return own_loss(Quantised(), inputs[:256])


@sound(steps=100)
def discriminator_of_real_and_made() -> Task:
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(256, 1))

        def forward(self, real: Tensor, made: Tensor) -> Tensor:
            real, made = self.body(real), self.body(made)
            return F.softplus(-real).mean() + F.softplus(made).mean()

    pictures, _ = digit_images()
    return own_loss(Critic(), pictures[:128], torch.tanh(torch.randn(128, 1, 8, 8)), rate=1e-3)


@sound(steps=100)
def generator_against_a_frozen_discriminator() -> Task:
    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
            self.judge = perceptron(64, 1).requires_grad_(requires_grad=False)

        def forward(self, noise: Tensor) -> Tensor:
            return F.softplus(-self.judge(self.make(noise))).mean()

    return own_loss(Generator(), torch.randn(128, 16), rate=1e-3)


@sound(steps=100)
def critic_with_a_gradient_penalty() -> Task:
    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

        def forward(self, real: Tensor, made: Tensor) -> Tensor:
            between = (0.4 * real + 0.6 * made).requires_grad_()
            (slope,) = torch.autograd.grad(self.body(between).sum(), between, create_graph=True)
            penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
            return self.body(made).mean() - self.body(real).mean() + 10 * penalty

    inputs, _ = digits()
    return own_loss(Critic(), inputs[:128], torch.randn(128, 64), rate=1e-3)


@sound(steps=100)
def contrastive_views_with_a_low_temperature() -> Task:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.project = nn.Sequential(nn.Linear(64, 64), nn.ReLU()), perceptron(64, 16)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            a, b = (F.normalize(self.project(self.body(x)), dim=1) for x in (one, other))
            scores = a @ b.T / 0.1
            labels = torch.arange(len(a))
            return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)) / 2

    inputs, _ = digits()
    noise = 0.3 * torch.randn(2, 128, 64)
    return own_loss(Encoder(), inputs[:128] + noise[0], inputs[:128] + noise[1], rate=1e-3)


@sound(steps=100)
def pictures_and_words_with_a_learnt_temperature() -> Task:
    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pictures, self.words = perceptron(64, 16), nn.EmbeddingBag(30, 16)
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, pictures: Tensor, words: Tensor) -> Tensor:
            a, b = F.normalize(self.pictures(pictures), dim=1), F.normalize(self.words(words), dim=1)
            scores = self.log_scale.exp() * a @ b.T
            labels = torch.arange(len(a))
            return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)) / 2

    inputs, _ = digits()
    return own_loss(Clip(), inputs[:64], torch.randint(30, (64, 6)), rate=1e-3)


@sound(steps=100)
def triplets_with_a_margin() -> Task:
    class Embedder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = perceptron(13, 8)

        def forward(self, anchor: Tensor, near: Tensor, far: Tensor) -> Tensor:
            return F.triplet_margin_loss(*(F.normalize(self.body(x), dim=1) for x in (anchor, near, far)), margin=0.5)

    inputs, labels = wine()
    groups = [inputs[labels == label] for label in range(3)]
    return own_loss(Embedder(), groups[0][:40], groups[0].roll(1, 0)[:40], groups[1][:40])


@sound(steps=100)
def siamese_signatures() -> Task:
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
            self.head = nn.Linear(16, 1)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.head((self.body(one) - self.body(other)).abs())[:, 0]

    inputs, labels = digits()
    alike = (labels[:512] == labels[512:1024]).float()
    return make_task(
        Siamese(), (inputs[:512], inputs[512:1024]), alike, loss=F.binary_cross_entropy_with_logits,
        optimizer_factory=adam(3e-3),
    )  # fmt: skip


@sound(steps=100)
def student_of_a_momentum_teacher() -> Task:
    """Self-distillation: the teacher has the student's weights, no gradient, and a centred, sharpened output."""

    class Dino(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 16))
            self.teacher = copy.deepcopy(self.student).requires_grad_(requires_grad=False)
            self.register_buffer("centre", torch.zeros(16))

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            with torch.no_grad():
                goal = F.softmax((self.teacher(other) - self.centre) / 0.04, dim=1)
            return -(goal * F.log_softmax(self.student(one) / 0.1, dim=1)).sum(1).mean()

    inputs, _ = digits()
    noise = 0.2 * torch.randn(2, 128, 64)
    return own_loss(Dino(), inputs[:128] + noise[0], inputs[:128] + noise[1], rate=1e-3)


@sound(steps=150)
def views_without_negatives_decorrelated() -> Task:
    """Barlow twins: the cross-correlation of two views is to be the identity."""

    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16))
            self.norm = nn.BatchNorm1d(16, affine=False)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            correlation = self.norm(self.body(one)).T @ self.norm(self.body(other)) / len(one)
            diagonal = correlation.diagonal()
            return (diagonal - 1).square().sum() + 0.005 * (correlation.square().sum() - diagonal.square().sum())

    inputs, _ = digits()
    noise = 0.3 * torch.randn(2, 256, 64)
    return own_loss(Twins(), inputs[:256] + noise[0], inputs[:256] + noise[1])
