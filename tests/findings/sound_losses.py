"""Networks that train with losses of several parts, moving targets or loops: none may get an error or a warning."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.networks import classify, own_loss, sound, stack


class WassersteinCritic(nn.Module):
    """Real and generated examples in calls of their own, and a penalty on the gradient between them."""

    def __init__(self) -> None:
        super().__init__()
        self.critic, self.generator = stack(16, 64, 64, 1, activation=nn.LeakyReLU), stack(8, 64, 16)

    def forward(self, real: Tensor) -> Tensor:
        fake = self.generator(torch.randn(len(real), 8)).detach()
        between = ((real + fake) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).square().mean()
        return self.critic(fake).mean() - self.critic(real).mean() + 10 * penalty


@sound
def wasserstein_critic() -> Task:
    return own_loss(WassersteinCritic(), torch.randn(64, 16))


class Quantised(nn.Module):
    """A codebook that learns from a detached encoder, and an encoder that learns from a detached codebook."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = stack(16, 32, 8), stack(8, 32, 16)
        self.codes = nn.Parameter(torch.randn(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        latent = self.encoder(x)
        nearest = self.codes[torch.cdist(latent, self.codes).argmin(1)]
        restored = self.decoder(latent + (nearest - latent).detach())
        commitment = F.mse_loss(nearest, latent.detach()) + F.mse_loss(latent, nearest.detach()) / 4
        return F.mse_loss(restored, x) + commitment


@sound
def vector_quantised_autoencoder() -> Task:
    return own_loss(Quantised(), torch.randn(64, 16))


class Values(nn.Module):
    """Action values with a target network."""

    def __init__(self) -> None:
        super().__init__()
        self.values, self.target = stack(4, 64, 64, 2), stack(4, 64, 64, 2)

    def forward(self, seen: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            aim = 50 + self.target(seen[1]).amax(1)
        return F.mse_loss(self.values(seen[0])[:, 0], aim)


@sound
def values_with_a_target_network() -> Task:
    return own_loss(Values(), (torch.randn(64, 4), torch.randn(64, 4)))


class Unrolled(nn.Module):
    """A recurrent cell in a loop, read after the last of many steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(8, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


@sound
def recurrence_unrolled() -> Task:
    return make_task(Unrolled(), torch.randn(32, 30, 8), torch.randint(10, (32,)), loss=F.cross_entropy)


class DeeplySupervised(nn.Module):
    """Two heads at different depths, the sum of both losses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = stack(16, 64, 64), stack(64, 64, 64)
        self.near, self.far = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        middle = F.relu(self.first(batch[0]))
        late = F.relu(self.second(middle))
        return F.cross_entropy(self.near(middle), batch[1]) + F.cross_entropy(self.far(late), batch[1])


@sound
def deep_supervision() -> Task:
    return own_loss(DeeplySupervised(), (torch.randn(64, 16), torch.randint(10, (64,))))


class Denoiser(nn.Module):
    """A diffusion model's residual blocks, their ends and the output at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.stem, self.out = nn.Linear(1, 32), nn.Conv2d(3, 32, 3, 1, 1), nn.Conv2d(32, 3, 3, 1, 1)
        self.blocks = nn.ModuleList(self._block() for _ in range(4))
        nn.init.zeros_(self.out.weight)

    def _block(self) -> nn.Sequential:
        norm, conv, end = nn.GroupNorm(8, 32), nn.Conv2d(32, 32, 3, 1, 1), nn.Conv2d(32, 32, 3, 1, 1)
        nn.init.zeros_(end.weight)
        return nn.Sequential(norm, nn.SiLU(), conv, nn.GroupNorm(8, 32), nn.SiLU(), end)

    def forward(self, images: Tensor) -> Tensor:
        time, noise = torch.rand(len(images), 1), torch.randn_like(images)
        share = time[:, :, None, None]
        hidden = self.stem((1 - share) * images + share * noise)
        for block in self.blocks:
            hidden = hidden + block(hidden + F.silu(self.time(time))[:, :, None, None])
        return F.mse_loss(self.out(F.silu(hidden)), noise)


@sound
def diffusion_with_zero_ends() -> Task:
    return own_loss(Denoiser(), torch.randn(16, 3, 8, 8))


class Highway(nn.Module):
    """A gate between a layer and its input, mostly shut at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.constant_(self.gate.bias, -3.0)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.layer(x)) + (1 - gate) * x


@sound
def highway_20() -> Task:
    return classify(nn.Sequential(nn.Linear(16, 32), *[Highway() for _ in range(20)], nn.Linear(32, 10)))


class Contrastive(nn.Module):
    """Two views of each image, told apart from those of the others."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.encoder = nn.Sequential(*layers, nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))

    def forward(self, images: Tensor) -> Tensor:
        count = len(images)
        views = F.normalize(self.encoder(torch.cat([images, images + 0.1 * torch.randn_like(images)])), dim=1)
        scores = (views @ views.T / 0.1).masked_fill(torch.eye(2 * count, dtype=torch.bool), -1e9)
        return F.cross_entropy(scores, torch.arange(2 * count).roll(count))


@sound
def contrastive_views() -> Task:
    return own_loss(Contrastive(), torch.randn(32, 3, 8, 8))


def restored(outputs: Any, targets: Tensor) -> Tensor:
    """A loss of two parts on one output."""
    return F.mse_loss(outputs, targets) + 1e-3 * outputs.abs().mean()


@sound
def rare_positives_with_a_prior_in_the_bias() -> Task:
    model = stack(16, 64, 64, 1)
    nn.init.constant_(model[4].bias, -4.6)
    labels = (torch.arange(256)[:, None] < 3).float()
    return make_task(model, torch.randn(256, 16), labels, loss=F.binary_cross_entropy_with_logits)


@sound
def sparse_autoencoder() -> Task:
    inputs = torch.randn(128, 32)
    return make_task(stack(32, 128, 32), inputs, inputs.clone(), loss=restored)
