"""Numbers that are none, or that a small float type cannot hold."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import breast_cancer, digits, houses, raw, remembered, text, wine
from tests.suite.training import errors, unexplained

NAN = "nan-inf"


@faulty(NAN)
def root_of_a_distance_to_itself(*, broken: bool) -> Task:
    """The forward pass is finite, the slope of the root at 0 is not."""

    class Metric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x: Tensor) -> Tensor:
            z = self.embed(x)
            gaps = (z[:, None] - z[None]).square().sum(-1)
            return gaps.sqrt() if broken else (gaps + 1e-6).sqrt()

    inputs, labels = wine()

    def loss(gaps: Tensor, labels: Tensor) -> Tensor:
        alike = (labels[:, None] == labels[None]).float()
        return (alike * gaps**2 + (1 - alike) * F.relu(2 - gaps) ** 2).mean()

    return make_task(Metric(), inputs, labels, loss=loss, optimizer_factory=adam(3e-3))


@faulty(NAN)
def logarithm_of_a_rectified_output(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        scores = F.relu(out) if broken else F.softplus(out)
        scores = scores / scores.sum(1, keepdim=True)
        return -scores.gather(1, labels[:, None]).log().mean()

    return make_task(model, *digits(), loss=loss, optimizer_factory=adam(3e-3))


@faulty(NAN)
def attention_over_nothing_but_padding(*, broken: bool) -> Task:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(40, 32, padding_idx=0)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            self.head = nn.Linear(32, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            mixed, _ = self.attention(x, x, x, key_padding_mask=tokens == 0)
            return self.head(mixed.mean(1))

    tokens = text(64, 10, 40).clamp(min=1)
    labels = (tokens > 20).float().mean(1).gt(0.5).long()
    if broken:
        tokens[7] = 0  # an empty text
    return make_task(Reader(), tokens, labels, loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(NAN)
def division_by_a_row_sum_of_zero(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)

        def forward(self, counts: Tensor) -> Tensor:
            total = counts.sum(1, keepdim=True)
            return self.fc2(F.relu(self.fc1(64 * counts / (total if broken else total + 1e-3))))

    inputs, labels = raw("digits")
    inputs[[3, 500, 900]] = 0
    return make_task(Net(), inputs[:256].contiguous(), labels[:256], loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(NAN)
def missing_values_in_a_table(*, broken: bool) -> Task:
    inputs, labels = breast_cancer()
    if broken:
        inputs[torch.rand_like(inputs) < 0.02] = math.nan
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    return make_task(model, inputs, labels, loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(NAN)
def where_around_a_bad_branch(*, broken: bool) -> Task:
    """`where` takes the good branch forward, and multiplies the bad one's slope by zero backward: inf * 0."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(8, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            safe = h if broken else h.clamp(min=1e-2)
            root = torch.where(h > 0, torch.sqrt(safe), torch.zeros_like(h))
            return self.fc2(root)

    return make_task(Net(), *houses(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@faulty(NAN, "exploding-activation", "start-loss")
def exponential_of_unscaled_log_variance(*, broken: bool) -> Task:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Linear(64, 16), nn.Linear(8, 64)

        def forward(self, x: Tensor) -> Tensor:
            mean, log_variance = self.encode(x).chunk(2, 1)
            scale = torch.exp(60 * log_variance if broken else 0.5 * log_variance)
            code = mean + scale * torch.randn_like(mean)
            prior = 0.5 * (scale**2 + mean**2 - 1 - 2 * scale.log()).sum(1).mean()
            return F.mse_loss(self.decode(code), x, reduction="none").sum(1).mean() + prior

    inputs, _ = digits()
    return Task(
        model=Encoder(),
        batch=Batch(inputs[:256] * (3 if broken else 1)),
        step=lambda model, batch: model(batch.inputs),
        optimizer_factory=adam(3e-3),
    )


@faulty(NAN, "single-sample-norm")
def deviation_of_one_number(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.gate, self.fc2 = nn.Linear(13, 32), nn.Linear(32, 1), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.fc1(x))
            score = self.gate(h)
            score = (score - score.mean(1, keepdim=True)) / score.std(1, keepdim=True) if broken else score
            return self.fc2(h * torch.sigmoid(score))

    return make_task(Net(), *wine(), loss=F.cross_entropy, optimizer_factory=adam(3e-3))


@faulty(NAN)
def angle_between_equal_vectors(*, broken: bool) -> Task:
    """The arc cosine has an infinite slope at 1, where a vector meets itself."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 8))

        def forward(self, x: Tensor) -> Tensor:
            z = F.normalize(self.body(x), dim=-1)
            cosine = (z * z[:, :1]).sum(-1)
            return torch.acos(cosine.clamp(-1, 1) if broken else cosine.clamp(-0.999, 0.999))

    x, _ = remembered(64, 6)
    goal = (x - x[:, :1]).norm(dim=-1) / 3
    return make_task(Net(), x, goal, loss=F.mse_loss, optimizer_factory=adam(3e-3))


@faulty(NAN, "learning-rate-too-high")
def parameter_under_a_root_that_one_step_makes_negative(*, broken: bool) -> Task:
    """Everything is finite before the first update, and nothing after it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.variance = nn.Parameter(torch.full((8,), 0.005))
            self.fc1, self.fc2 = nn.Linear(8, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            root = torch.sqrt(self.variance) if broken else torch.sqrt(F.softplus(self.variance))
            return self.fc2(F.relu(self.fc1(x * root)))

    inputs, price = houses()
    return make_task(Net(), inputs, price, loss=F.mse_loss, optimizer_factory=adam(1e-2))


# ---- small float types ----


@faulty("low-precision-overflow", NAN)
def squares_in_half_precision(*, broken: bool) -> Task:
    """A norm of one's own sums squares beyond 65,504."""

    class Norm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            wide = x if broken else x.float()
            return (wide / (wide.square().sum(-1, keepdim=True) / 64 + 1e-3).sqrt()).to(x.dtype)

    inputs, labels = digits()
    dtype = torch.float16
    model = nn.Sequential(nn.Linear(64, 64), Norm(), nn.ReLU(), nn.Linear(64, 10)).to(dtype)
    with torch.no_grad():
        model[0].weight.mul_(200)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out.float(), y)

    return make_task(model, inputs.to(dtype), labels, loss=loss, optimizer_factory=sgd(0.05))


@faulty("low-precision-overflow", NAN, "start-loss", "exploding-activation")
def summed_features_in_half_precision(*, broken: bool) -> Task:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(64, 32)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.embed(x)) * 300
            pooled = (h[:, None, :].expand(-1, 512, -1)).sum(1) if broken else h.float().mean(1, keepdim=True) * 0
            pooled = pooled if broken else h / 300
            return self.head(pooled.to(x.dtype))

    inputs, labels = digits()
    model = Bag().half()
    return make_task(
        model,
        inputs[:256].half().contiguous(),
        labels[:256],
        loss=lambda out, y: F.cross_entropy(out.float(), y),
        optimizer_factory=sgd(0.05),
    )


@faulty("gradient-underflow", "vanishing-gradient", "no-gradient", "learning-rate-too-low", metric=errors)
def tiny_loss_weight_in_half_precision(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).half()
    inputs, labels = digits()
    weight = 1e-6 if broken else 1.0

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return weight * F.cross_entropy(out.float(), y)

    return make_task(model, inputs.half(), labels, loss=loss, optimizer_factory=sgd(0.05 / weight))


@faulty("gradient-underflow", "vanishing-gradient", "no-gradient", metric=unexplained, steps=200)
def displacements_in_metres_in_half_precision(*, broken: bool) -> Task:
    """Outputs and targets of a thousandth: the squares' gradients lie below the smallest number of half precision."""
    dtype = torch.float16 if broken else torch.float32

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(8, 64), nn.Linear(64, 16)

        def forward(self, x: Tensor) -> Tensor:
            return 1e-3 * self.fc2(F.relu(self.fc1(x)))

    loads = torch.randn(512, 8)
    metres = 1e-3 * torch.tanh(loads @ torch.randn(8, 16) / 3)
    rounding = 1e-4 if broken else 1e-8  # what half precision is advised to add to Adam's root
    return make_task(
        Net().to(dtype),
        loads.to(dtype),
        metres.to(dtype),
        loss=F.mse_loss,
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=3e-3, eps=rounding),
    )
