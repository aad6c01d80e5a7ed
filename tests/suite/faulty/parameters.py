"""Parameters that the loss does not reach, and maps that are one because nothing lies between them."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Batch, Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import circles, digits, exclusive_or, products, spirals, waves
from tests.suite.training import errors

BLOCKED = "no-gradient"


@faulty(BLOCKED, modules=("encoder", "encoder.0", "encoder.0.weight", "encoder.2", "encoder.2.weight"), steps=300)
def features_detached_before_the_head(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3), nn.Tanh())
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            features = self.encoder(x)
            return self.head(features.detach() if broken else features)

    return make_task(Net(), *circles(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty(BLOCKED, modules=("body", "body.0", "body.0.weight", "body.2.weight"), steps=300)
def body_left_in_no_grad(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU())
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.set_grad_enabled(not broken):
                features = self.body(x)
            return self.head(features)

    return make_task(Net(), *exclusive_or(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty(BLOCKED, modules=("first", "first.weight"), steps=300)
def hidden_layer_through_numpy(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.first(x))
            if broken:
                hidden = torch.tensor(hidden.detach().numpy().clip(0, 6))
            return self.last(torch.relu(self.second(hidden)))

    x, y = spirals()
    return make_task(
        Net(), x, y.float()[:, None], loss=F.binary_cross_entropy_with_logits, optimizer_factory=adam(1e-2)
    )


@faulty(BLOCKED, modules=("code", "code.weight", "code.0", "code.0.weight"), steps=300)
def binary_code_without_straight_through(*, broken: bool) -> Task:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code, self.decode = nn.Linear(64, 6), nn.Linear(6, 10)

        def forward(self, x: Tensor) -> Tensor:
            soft = torch.sigmoid(self.code(x))
            hard = (soft > 0.5).float()
            return self.decode(hard if broken else hard + soft - soft.detach())

    return make_task(Coder(), *digits(), loss=F.cross_entropy, optimizer_factory=adam(5e-3))


@faulty(BLOCKED, modules=("where", "where.weight", "where.0", "where.0.weight", "where.2", "where.2.weight"), steps=300)
def index_cast_to_integers(*, broken: bool) -> Task:
    """A learnt place that is rounded into a table, where it should be interpolated."""

    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid())
            self.table = nn.Embedding(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            place = self.where(x).squeeze(1) * 2.999
            low = place.long()
            if broken:
                return self.table(low)
            part = (place - low)[:, None]
            return (1 - part) * self.table(low) + part * self.table(low + 1)

    return make_task(Lookup(), *circles(), loss=F.cross_entropy, optimizer_factory=adam(2e-2))


@faulty(BLOCKED, metric=errors, modules=("0", "0.weight", "2", "2.weight"))
def loss_of_the_predicted_class(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        if not broken:
            return F.cross_entropy(out, labels)
        predicted = out.argmax(dim=1).float().requires_grad_()
        return F.mse_loss(predicted, labels.float())

    return make_task(model, *digits(), loss=loss, optimizer_factory=adam(3e-3))


@faulty(BLOCKED, "dying-relu", modules=("0", "0.weight", "1"), steps=300)
def hidden_layer_of_steps(*, broken: bool) -> Task:
    class Heaviside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.heaviside(x, torch.ones(())) if broken else torch.sigmoid(4 * x)

    model = nn.Sequential(nn.Linear(2, 4), Heaviside(), nn.Linear(4, 2))
    return make_task(model, *circles(), loss=F.cross_entropy, optimizer_factory=adam(2e-2))


@faulty(BLOCKED, modules=("encoder", "encoder.weight", "encoder.0", "encoder.0.weight"), steps=300)
def teacher_and_student_mixed_up(*, broken: bool) -> Task:
    """The student's output is detached in place of the teacher's."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
            self.teacher = nn.Linear(64, 8).requires_grad_(requires_grad=False)
            self.scale = nn.Parameter(torch.ones(8))

    def step(model: nn.Module, batch: Batch) -> Tensor:
        student, teacher = model.encoder(batch.inputs), model.teacher(batch.inputs)
        student = student.detach() if broken else student
        return F.mse_loss(model.scale * student, teacher)

    inputs, _ = digits()
    return Task(model=Pair(), batch=Batch(inputs[:256]), step=step, optimizer_factory=adam(3e-3))


# ---- maps that are one ----


MISSING = "missing-nonlinearity"


@faulty(MISSING, modules=("0", "1", "2"), steps=300)
def three_linear_layers_in_a_row(*, broken: bool) -> Task:
    widths = ((2, 32), (32, 32), (32, 2))
    layers: list[nn.Module] = []
    for into, out in widths:
        layers += [nn.Linear(into, out)] if broken or out == 2 else [nn.Linear(into, out), nn.ReLU()]
    return make_task(nn.Sequential(*layers), *exclusive_or(), loss=F.cross_entropy, optimizer_factory=adam(1e-2))


@faulty(MISSING, modules=("fc1", "fc2", "fc3"), steps=300)
def activation_made_but_never_called(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 1)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            if broken:
                return self.fc3(self.fc2(self.fc1(x)))
            return self.fc3(self.relu(self.fc2(self.relu(self.fc1(x)))))

    x, y = circles()
    return make_task(Net(), x, y.float(), loss=lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y))


@faulty(MISSING, modules=("conv1", "conv2", "fc"), steps=200)
def convolutions_without_an_activation(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, stride=2)
            self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
            self.fc = nn.Linear(400, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv1(x) if broken else F.relu(self.conv1(x))
            x = self.conv2(x) if broken else F.relu(self.conv2(x))
            return self.fc(x.flatten(1))

    return make_task(Net(), *products(512), loss=F.cross_entropy, optimizer_factory=adam(2e-3))


@faulty(MISSING, modules=("w1", "w2", "w3"), steps=400)
def products_of_bare_matrices(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.b1 = nn.Parameter(torch.randn(1, 64)), nn.Parameter(torch.randn(64))
            self.w2, self.b2 = nn.Parameter(torch.randn(64, 64) / 8), nn.Parameter(torch.zeros(64))
            self.w3 = nn.Parameter(torch.randn(64, 1) / 8)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.addmm(self.b1, x, self.w1)
            x = x if broken else torch.tanh(x)
            x = x @ self.w2 + self.b2
            return (x if broken else torch.tanh(x)) @ self.w3

    return make_task(Net(), *waves(), loss=F.mse_loss, optimizer_factory=adam(3e-3))


@faulty(MISSING, modules=("layers.0", "layers.2", "layers.4", "layers.6"), steps=300)
def dropout_where_an_activation_was_meant(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            between = (lambda: nn.Dropout(0.1)) if broken else nn.ELU
            self.layers = nn.Sequential(
                nn.Linear(2, 48),
                between(),
                nn.Linear(48, 48),
                between(),
                nn.Linear(48, 48),
                between(),
                nn.Linear(48, 2),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    return make_task(Net(), *circles(), loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9))
