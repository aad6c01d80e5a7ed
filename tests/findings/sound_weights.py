"""Networks whose weights look odd on purpose, and whose parameters wait: none of them may get an error or a warning."""

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.findings.networks import classify, classify_images, own_loss, sound, stack

# ---- copies by design ----


@sound
def encoder_of_cloned_layers() -> Task:
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Linear(16, 32), nn.TransformerEncoder(layer, 3), nn.Flatten(), nn.Linear(6 * 32, 10))
    return make_task(model, torch.randn(32, 6, 16), torch.randint(10, (32,)), loss=F.cross_entropy)


@sound
def upsampling_whose_filters_come_four_times() -> Task:
    last = nn.Conv2d(16, 12, 3, padding=1)
    last.weight.data.copy_(last.weight.data[:3].repeat_interleave(4, 0))
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), last, nn.PixelShuffle(2), nn.Conv2d(3, 3, 1))
    return make_task(model, torch.randn(8, 3, 8, 8), torch.rand(8, 3, 16, 16), loss=F.mse_loss)


@sound
def looks_linear_at_the_start() -> Task:
    """Mirrored weights behind a concatenated rectifier: Balduzzi et al. 2017, arXiv:1702.08591."""

    class Mirrored(nn.Module):
        def __init__(self, into: int, out: int) -> None:
            super().__init__()
            half = torch.randn(out, into) / math.sqrt(into)
            self.weight = nn.Parameter(torch.cat([half, -half], 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(torch.cat([x.relu(), (-x).relu()], 1), self.weight)

    return classify(nn.Sequential(nn.Linear(16, 32), Mirrored(32, 32), Mirrored(32, 32), nn.Linear(32, 10)))


@sound
def decoder_warm_started_from_the_encoder() -> Task:
    encoder = stack(16, 32, 16, activation=nn.Tanh)
    return make_task(
        nn.Sequential(encoder, nn.Tanh(), copy.deepcopy(encoder)),
        torch.randn(64, 16),
        torch.randn(64, 16),
        loss=F.mse_loss,
    )


@sound
def cloned_units_under_dropout() -> Task:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
    model[0].weight.data[32:], model[0].bias.data[32:] = model[0].weight.data[:32], model[0].bias.data[:32]
    model[3].weight.data[:, 32:] = model[3].weight.data[:, :32]
    return classify(model)


# ---- what reads a part, waits or stops ----


class Student(nn.Module):
    """A network and its slow copy, which is a parameter of the model and gets no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.predictor = nn.Sequential(stack(16, 64, 32), nn.ReLU()), stack(32, 32, 32)
        self.target = copy.deepcopy(self.online)

    def forward(self, x: Tensor) -> Tensor:
        guess = F.normalize(self.predictor(self.online(x + 0.1 * torch.randn_like(x))), dim=1)
        with torch.no_grad():
            goal = F.normalize(self.target(x + 0.1 * torch.randn_like(x)), dim=1)
        return 2 - 2 * (guess * goal).sum(1).mean()


@sound
def student_of_its_own_average() -> Task:
    return own_loss(Student(), torch.randn(64, 16))


@sound
def codes_moved_by_averages() -> Task:
    """A codebook that is a parameter, chosen by argmin and read behind a detach."""

    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = stack(16, 64, 8), stack(8, 64, 16)
            self.codes = nn.Parameter(torch.randn(32, 8))

        def forward(self, x: Tensor) -> Tensor:
            z = self.encoder(x)
            chosen = torch.cdist(z, self.codes).argmin(1)
            picked = self.codes.detach()[chosen]
            straight = z + (picked - z).detach()
            return F.mse_loss(self.decoder(straight), x) + 0.25 * F.mse_loss(z, picked)

    return own_loss(Codes(), torch.randn(64, 16))


@sound
def critic_of_a_detached_generator() -> Task:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator, self.critic = stack(8, 64, 16), stack(16, 64, 1, activation=lambda: nn.LeakyReLU(0.2))

        def forward(self, x: Tensor) -> Tensor:
            made = self.generator(torch.randn(len(x), 8)).detach()
            real, fake = self.critic(x), self.critic(made)
            return F.softplus(-real).mean() + F.softplus(fake).mean()

    return own_loss(Pair(), torch.randn(64, 16))


@sound
def experts_of_which_one_is_idle() -> Task:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(16, 4)
            self.experts = nn.ModuleList(stack(16, 32, 10) for _ in range(4))
            self.router.bias.data[3] = -50.0

        def forward(self, x: Tensor) -> Tensor:
            weights, chosen = self.router(x).softmax(1).topk(2)
            out = torch.zeros(len(x), 10)
            for index, expert in enumerate(self.experts):
                share = (weights * (chosen == index)).sum(1, keepdim=True)
                out = out + share * expert(x)
            return out

    return classify(Mixture())


@sound
def binary_code_with_a_straight_way() -> Task:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(16, 32), nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            soft = torch.tanh(self.encode(x))
            return self.decode(soft + (soft.sign() - soft).detach())

    return classify(Code())


@sound
def fixed_features_hidden_in_a_list() -> Task:
    """What lies in a list stays out of the checkpoint; it is in eval mode, and meant to stay as it is."""

    class Perceptual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fixed = [nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()]
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))

        def forward(self, x: Tensor) -> Tensor:
            return (self.fixed[0](self.body(x)) - self.fixed[0](x)).square().mean()

    return own_loss(Perceptual(), torch.randn(8, 3, 8, 8))


@sound
def latent_steps_that_are_differentiated() -> Task:
    """Noise made inside, of which a gradient is asked: an energy of Langevin dynamics."""

    class Energy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = stack(16, 64, 1, activation=nn.SiLU)

        def forward(self, x: Tensor) -> Tensor:
            guess = torch.randn_like(x).requires_grad_()
            (slope,) = torch.autograd.grad(self.body(guess).sum(), guess)
            guess = (guess - 0.1 * slope).detach()
            return self.body(x).mean() - self.body(guess).mean() + 0.1 * self.body(x).square().mean()

    return own_loss(Energy(), torch.randn(64, 16))


# ---- numbers that training leaves ----


@sound
def pruned_and_decayed() -> Task:
    """Trained weights of which nobody said so: a unit of numbers too small for full precision, and an outlier."""
    model = stack(16, 64, 64, 10)
    model[2].weight.data[5] *= 1e-41
    model[2].weight.data[7, 3] = 30.0
    model[4].weight.data[:, 5] *= 1e-41
    return Task(
        model=model,
        batch=(torch.randn(64, 16), torch.randint(10, (64,))),
        step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
    )


@sound
def filters_with_the_backward_fan() -> Task:
    layers: list[nn.Module] = []
    for into, out in ((3, 16), (16, 32), (32, 32)):
        layer = nn.Conv2d(into, out, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return classify_images(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)))


@sound
def rectified_counts() -> Task:
    model = nn.Sequential(stack(16, 64, 3), nn.ReLU())
    nn.init.constant_(model[0][2].bias, 0.5)
    return make_task(model, torch.randn(128, 16), torch.rand(128, 3), loss=F.mse_loss)
