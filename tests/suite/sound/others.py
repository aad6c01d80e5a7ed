"""Sound tasks of other kinds: rewards, equations, ratings, mixtures, adapters."""

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, sgd, sound
from tests.suite.data import breast_cancer, digits, images
from tests.suite.training import loss_while_training


def perceptron(into: int, out: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


def own_loss(model: nn.Module, *batch: Tensor, rate: float = 3e-3) -> Task:
    """A model that returns its loss."""
    return Task(model=model, batch=batch, step=lambda model, batch: model(*batch), optimizer_factory=adam(rate))


@sound(steps=100)
def policy_gradient_with_raw_advantages() -> Task:
    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 4))

        def forward(self, states: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
            chances = torch.distributions.Categorical(logits=self.body(states))
            return -(chances.log_prob(actions) * advantages).mean() - 0.01 * chances.entropy().mean()

    states, actions = torch.randn(256, 6), torch.randint(4, (256,))
    advantages = 20 * (states[:, :4].gather(1, actions[:, None])[:, 0]) + 5 * torch.randn(256)
    return own_loss(Policy(), states, actions, advantages, rate=1e-3)


@sound(steps=100)
def clipped_ratios_with_a_value_head() -> Task:
    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
            self.actor, self.critic = nn.Linear(64, 4), nn.Linear(64, 1)
            for layer, gain in ((self.body[0], 2**0.5), (self.body[2], 2**0.5), (self.actor, 0.01), (self.critic, 1.0)):
                nn.init.orthogonal_(layer.weight, gain)
                nn.init.zeros_(layer.bias)

        def forward(self, states: Tensor, actions: Tensor, old: Tensor, gains: Tensor, returns: Tensor) -> Tensor:
            hidden = self.body(states)
            chances = torch.distributions.Categorical(logits=self.actor(hidden))
            ratio = torch.exp(chances.log_prob(actions) - old)
            gain = torch.minimum(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
            value = F.mse_loss(self.critic(hidden)[:, 0], returns)
            return -gain + 0.5 * value - 0.01 * chances.entropy().mean()

    states, actions = torch.randn(256, 6), torch.randint(4, (256,))
    gains = torch.randn(256)
    old = torch.full((256,), -math.log(4))
    return own_loss(ActorCritic(), states, actions, old, gains, states[:, 0] * 2, rate=3e-4)


@sound(steps=150)
def action_values_with_a_target_network() -> Task:
    class Dqn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = perceptron(4, 3)
            self.target = copy.deepcopy(self.online).requires_grad_(requires_grad=False)

        def forward(self, states: Tensor, actions: Tensor, rewards: Tensor, following: Tensor) -> Tensor:
            with torch.no_grad():
                goal = rewards + 0.9 * self.target(following).amax(1)
            return F.smooth_l1_loss(self.online(states).gather(1, actions[:, None])[:, 0], goal)

    states, actions = torch.randn(256, 4), torch.randint(3, (256,))
    return own_loss(Dqn(), states, actions, states[:, 0] * (actions - 1.0), torch.randn(256, 4))


@sound(steps=300)
def heat_equation_by_double_backward() -> Task:
    class Solver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, inside: Tensor, start: Tensor, edge: Tensor) -> Tensor:
            place = inside.clone().requires_grad_()
            value = self.body(place)
            (slope,) = torch.autograd.grad(value.sum(), place, create_graph=True)
            (bend,) = torch.autograd.grad(slope[:, 0].sum(), place, create_graph=True)
            residual = slope[:, 1] - 0.1 * bend[:, 0]
            first = self.body(start)[:, 0] - torch.sin(math.pi * start[:, 0])
            return residual.square().mean() + first.square().mean() + self.body(edge).square().mean()

    inside, start, edge = torch.rand(200, 2), torch.rand(50, 2), torch.rand(50, 2)
    start[:, 1], edge[:, 0] = 0.0, (edge[:, 0] > 0.5).float()
    return own_loss(Solver(), inside, start, edge)


@sound(steps=150)
def differential_equation_by_euler_steps() -> Task:
    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(20):
                x = x + 0.05 * self.field(x)
            return x

    start = torch.randn(256, 2)
    turned = start @ torch.tensor([[math.cos(1.0), math.sin(1.0)], [-math.sin(1.0), math.cos(1.0)]])
    return make_task(Field(), start, turned, loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=150)
def ratings_by_matrix_factorisation() -> Task:
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(60, 8), nn.Embedding(80, 8)
            self.user_bias, self.item_bias = nn.Embedding(60, 1), nn.Embedding(80, 1)
            for table in (self.users, self.items):
                nn.init.normal_(table.weight, std=0.1)
            for table in (self.user_bias, self.item_bias):
                nn.init.zeros_(table.weight)

        def forward(self, users: Tensor, items: Tensor) -> Tensor:
            product = (self.users(users) * self.items(items)).sum(1)
            return 3.5 + product + self.user_bias(users)[:, 0] + self.item_bias(items)[:, 0]

    users, items = torch.randint(60, (1000,)), torch.randint(80, (1000,))
    taste, kind = torch.randn(60, 2), torch.randn(80, 2)
    stars = (3.5 + (taste[users] * kind[items]).sum(1)).clamp(1, 5)
    return make_task(Factors(), (users, items), stars, loss=F.mse_loss, optimizer_factory=adam(1e-2))


@sound(steps=150)
def recommendations_by_pairs() -> Task:
    class Ranking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(60, 8), nn.Embedding(80, 8)

        def forward(self, users: Tensor, liked: Tensor, other: Tensor) -> Tensor:
            user = self.users(users)
            return -F.logsigmoid((user * (self.items(liked) - self.items(other))).sum(1)).mean()

    users = torch.randint(60, (600,))
    return own_loss(Ranking(), users, users % 20 + 20 * torch.randint(4, (600,)), torch.randint(80, (600,)), rate=1e-2)


@sound(steps=150)
def survival_by_partial_likelihood() -> Task:
    class Cox(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1, bias=False))

        def forward(self, x: Tensor, happened: Tensor) -> Tensor:
            risk = self.body(x)[:, 0]  # those who live longest come first
            return -((risk - torch.logcumsumexp(risk, 0)) * happened).sum() / happened.sum()

    x = torch.randn(256, 6)
    order = (torch.rand(256).log().neg() * torch.exp(-1.5 * x[:, 0])).argsort(descending=True)
    return own_loss(Cox(), x[order], (torch.rand(256) < 0.7).float())


@sound(steps=150)
def mixture_of_densities() -> Task:
    class Densities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh())
            self.weights, self.means, self.scales = nn.Linear(32, 5), nn.Linear(32, 5), nn.Linear(32, 5)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            h = self.body(x)
            parts = torch.distributions.Normal(self.means(h), self.scales(h).exp()).log_prob(y)
            return -torch.logsumexp(self.weights(h).log_softmax(1) + parts, 1).mean()

    y = torch.rand(512, 1) * 4 - 2
    return own_loss(Densities(), torch.sin(2 * y) + 0.1 * torch.randn(512, 1), y, rate=5e-3)


@sound(steps=150)
def experts_chosen_two_at_a_time() -> Task:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.route = nn.Linear(64, 8, bias=False)
            self.experts = nn.ModuleList([perceptron(64, 32, 32) for _ in range(8)])
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            share, chosen = self.route(x).softmax(1).topk(2, 1)
            share = share / share.sum(1, keepdim=True)
            out = x.new_zeros(len(x), 32)
            for index, expert in enumerate(self.experts):
                rows, place = (chosen == index).nonzero(as_tuple=True)
                out = out.index_add(0, rows, share[rows, place][:, None] * expert(x[rows]))
            return self.head(out)

    inputs, labels = digits()
    return make_task(Mixture(), inputs[:40], labels[:40], loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=150)
def ensemble_by_vmap() -> Task:
    class Ensemble(nn.Module):
        def __init__(self, members: int = 4) -> None:
            super().__init__()
            nets = [nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2)) for _ in range(members)]
            self.skeleton = [copy.deepcopy(nets[0])]  # in a list, so that it is no part of the model
            stacked, _ = torch.func.stack_module_state(nets)
            self.names = list(stacked)
            self.weights = nn.ParameterList([nn.Parameter(weight.detach()) for weight in stacked.values()])

        def forward(self, x: Tensor) -> Tensor:
            weights = dict(zip(self.names, self.weights, strict=True))
            call = lambda weights, x: torch.func.functional_call(self.skeleton[0], weights, (x,))  # noqa: E731
            return torch.vmap(call, in_dims=(0, None))(weights, x).transpose(0, 1)

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(out.flatten(0, 1), labels.repeat_interleave(4))

    return make_task(Ensemble(), *breast_cancer(), loss=loss, optimizer_factory=adam(3e-3))


@sound(steps=150)
def low_rank_adapters_on_a_frozen_body() -> Task:
    class Adapted(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base.requires_grad_(requires_grad=False)
            self.down = nn.Linear(base.in_features, 4, bias=False)
            self.up = nn.Linear(4, base.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + 2.0 * self.up(self.down(x))

    model = nn.Sequential(
        Adapted(nn.Linear(64, 64)), nn.ReLU(), Adapted(nn.Linear(64, 64)), nn.ReLU(), Adapted(nn.Linear(64, 10))
    )
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=150)
def new_head_on_a_frozen_backbone() -> Task:
    class Transfer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten())
            self.backbone.requires_grad_(requires_grad=False)
            self.head = nn.Linear(144, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.backbone(x)
            return self.head(features)

    return make_task(Transfer(), *images(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@sound(steps=150)
def weights_made_by_another_network() -> Task:
    class Hyper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 6 * 8 + 8))
            self.head = nn.Linear(8, 1)
            with torch.no_grad():
                self.maker[2].weight.mul_(0.3)

        def forward(self, task: Tensor, x: Tensor) -> Tensor:
            made = self.maker(task)
            hidden = torch.einsum("bi,bio->bo", x, made[:, :48].view(-1, 6, 8)) + made[:, 48:]
            return self.head(torch.tanh(hidden))

    kinds = torch.randint(4, (512,))
    x = torch.randn(512, 6)
    goal = x.gather(1, kinds[:, None])
    return make_task(Hyper(), (F.one_hot(kinds, 4).float(), x), goal, loss=F.mse_loss, optimizer_factory=adam(5e-3))


@sound(steps=100)
def two_tasks_in_one_sum() -> Task:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
            self.digit, self.size = nn.Linear(64, 10), nn.Linear(64, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.digit(h), self.size(h)[:, 0]

    inputs, labels = digits()

    def step(model: nn.Module, batch: Batch) -> Tensor:
        digit, size = model(batch.inputs)
        return F.cross_entropy(digit, batch.targets) + 0.1 * F.mse_loss(size, batch.inputs.mean(1) * 4)

    return Task(model=TwoHeads(), batch=Batch(inputs[:256], labels[:256]), step=step, optimizer_factory=sgd(0.05, 0.9))


@sound(steps=150, metric=loss_while_training)
def bayesian_weights_with_a_divergence() -> Task:
    class Bayesian(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Parameter(0.1 * torch.randn(30, 2))
            self.rho = nn.Parameter(torch.full((30, 2), -4.0))

        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            scale = F.softplus(self.rho)
            out = x @ (self.mean + scale * torch.randn_like(scale))
            prior = (0.5 * (scale**2 + self.mean**2) - scale.log()).sum()
            return F.cross_entropy(out, labels) + prior / 5000

    inputs, labels = breast_cancer()
    return own_loss(Bayesian(), inputs, labels, rate=1e-2)


@sound(steps=100)
def binary_code_with_straight_through() -> Task:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code, self.decode = nn.Linear(64, 16), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            soft = torch.sigmoid(self.code(x))
            return self.decode((soft > 0.5).float() + soft - soft.detach())

    return make_task(Coder(), *digits(), loss=F.cross_entropy, optimizer_factory=adam(5e-3))
