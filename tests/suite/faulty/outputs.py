"""Output and loss that do not belong together: the commonest fault of all."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task
from tests.suite.case import adam, faulty, sgd
from tests.suite.data import (
    breast_cancer,
    diabetes,
    digit_images,
    digits,
    houses,
    images,
    raw,
    standardised,
    text,
    wine,
)
from tests.suite.training import absolutes, errors, errors_above, errors_one_by_one, log_loss, squares, unexplained

WRONG = "wrong-output-activation"


@faulty(WRONG, modules=("5", "4"))
def softmax_module_before_cross_entropy(*, broken: bool) -> Task:
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers, nn.Softmax(dim=1)) if broken else nn.Sequential(*layers)
    return make_task(model, *digits(), loss=nn.CrossEntropyLoss(), optimizer_factory=adam())


class LeNet(nn.Module):
    def __init__(self, *, ends_in_softmax: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, 10)
        self.ends_in_softmax = ends_in_softmax

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = self.fc2(x)
        return F.softmax(x, dim=1) if self.ends_in_softmax else x


@faulty(WRONG, modules=("fc2", ""))
def lenet_with_functional_softmax(*, broken: bool) -> Task:
    return make_task(
        LeNet(ends_in_softmax=broken), *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(0.05, 0.9)
    )


@faulty(WRONG, metric=log_loss, modules=("4",))
def raw_logits_into_nll_loss(*, broken: bool) -> Task:
    layers = [nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)]
    model = nn.Sequential(*layers) if broken else nn.Sequential(*layers, nn.LogSoftmax(dim=1))
    return make_task(model, *digits(), loss=F.nll_loss, optimizer_factory=adam(3e-3))


@faulty(WRONG, metric=errors, steps=60)
def probabilities_into_nll_loss(*, broken: bool) -> Task:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        probabilities = F.softmax(out, dim=-1)
        return F.nll_loss(probabilities if broken else probabilities.log(), labels)

    return make_task(model, *digits(), loss=loss, optimizer_factory=sgd(0.1))


@faulty(WRONG, metric=errors_above(0.0), modules=("3", "2"))
def sigmoid_before_bce_with_logits(*, broken: bool) -> Task:
    layers = [nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers, nn.Sigmoid()) if broken else nn.Sequential(*layers)
    inputs, labels = breast_cancer()
    return make_task(model, inputs, labels.float()[:, None], loss=nn.BCEWithLogitsLoss(), optimizer_factory=adam(3e-3))


class Tagger(nn.Module):
    """Several labels at once."""

    def __init__(self, *, squash: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 8))
        self.squash = squash

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        return torch.sigmoid(logits) if self.squash else logits


@faulty(WRONG, modules=("body.2", ""))
def many_labels_squashed_twice(*, broken: bool) -> Task:
    inputs = torch.randn(400, 16)
    tags = (inputs @ torch.randn(16, 8) > 2.0).float()
    return make_task(
        Tagger(squash=broken), inputs, tags, loss=F.binary_cross_entropy_with_logits, optimizer_factory=adam(5e-3)
    )


@faulty(WRONG, metric=errors_above(0.5), modules=("classifier", "softmax", ""))
def softmax_of_one_unit(*, broken: bool) -> Task:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(30, 24)
            self.classifier = nn.Linear(24, 1)
            self.softmax = nn.Softmax(dim=1)

        def forward(self, x: Tensor) -> Tensor:
            out = self.classifier(torch.relu(self.hidden(x)))
            return self.softmax(out) if broken else torch.sigmoid(out)

    inputs, labels = breast_cancer()
    return make_task(Classifier(), inputs, labels.float()[:, None], loss=nn.BCELoss(), optimizer_factory=adam())


@faulty(WRONG, "dying-relu", metric=squares, modules=("5", "4"), steps=300)
def relu_behind_a_regression(*, broken: bool) -> Task:
    layers = [nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)]
    model = nn.Sequential(*layers, nn.ReLU()) if broken else nn.Sequential(*layers)
    return make_task(model, *diabetes(), loss=nn.MSELoss(), optimizer_factory=adam(3e-3))


@faulty(WRONG, metric=absolutes, modules=("out", ""), steps=300)
def sigmoid_behind_house_prices(*, broken: bool) -> Task:
    class Prices(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(8, 64)
            self.out = nn.Linear(64, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.out(F.relu(self.hidden(x)))
            return torch.sigmoid(x) if broken else x

    return make_task(Prices(), *houses(), loss=F.mse_loss, optimizer_factory=adam(5e-3))


@faulty(WRONG, metric=squares, modules=("3", "2"), steps=300)
def tanh_behind_targets_up_to_five(*, broken: bool) -> Task:
    inputs = torch.randn(400, 6)
    targets = 3 * inputs[:, :1] + inputs[:, 1:2] ** 2
    layers = [nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1)]
    model = nn.Sequential(*layers, nn.Tanh()) if broken else nn.Sequential(*layers)
    return make_task(model, inputs, targets, loss=nn.SmoothL1Loss(), optimizer_factory=adam(5e-3))


@faulty(WRONG, metric=errors, modules=("head", ""), steps=40)
def sigmoid_before_cross_entropy_of_ten_classes(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 3, stride=2, padding=1)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.head(self.conv(x).relu().flatten(1))
            return x.sigmoid() if broken else x

    return make_task(Net(), *digit_images(), loss=F.cross_entropy, optimizer_factory=sgd(0.05))


@faulty(WRONG, modules=("6", "5", "4"), steps=200)
def sigmoid_behind_standardised_reconstruction(*, broken: bool) -> Task:
    inputs, _ = breast_cancer()
    layers = [nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 30)]
    model = nn.Sequential(*layers, nn.Sigmoid()) if broken else nn.Sequential(*layers)
    return make_task(model, inputs, inputs.clone(), loss=nn.MSELoss(), optimizer_factory=adam(3e-3))


@faulty(WRONG, metric=errors_one_by_one, modules=("fc", ""))
def softmax_over_the_batch(*, broken: bool) -> Task:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(13, 32)
            self.fc = nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc(F.relu(self.hidden(x)))
            return torch.log_softmax(x, dim=0 if broken else 1)

    return make_task(Net(), *wine(), loss=nn.NLLLoss(), optimizer_factory=adam(3e-3))


@faulty(WRONG, modules=("head", "decoder"), steps=200)
def language_model_with_softmax(*, broken: bool) -> Task:
    class LanguageModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(40, 32)
            self.rnn = nn.GRU(32, 64, batch_first=True)
            self.head = nn.Linear(64, 40)

        def forward(self, tokens: Tensor) -> Tensor:
            states, _ = self.rnn(self.embedding(tokens))
            logits = self.head(states)
            return logits.softmax(-1) if broken else logits

    rows = text()
    return make_task(
        LanguageModel(),
        rows[:, :-1],
        rows[:, 1:],
        loss=lambda out, y: F.cross_entropy(out.transpose(1, 2), y),
        optimizer_factory=adam(3e-3),
    )


@faulty(WRONG, metric=errors, modules=("0", "1", "2"))
def relu_before_cross_entropy(*, broken: bool) -> Task:
    layers = [nn.Linear(64, 10)]
    model = nn.Sequential(*layers, nn.ReLU()) if broken else nn.Sequential(*layers)
    with torch.no_grad():
        model[0].bias.sub_(1.0)
    return make_task(model, *digits(), loss=F.cross_entropy, optimizer_factory=sgd(0.05))


@faulty(WRONG, "wrong-targets", metric=errors, steps=60)
def divergence_of_probabilities_without_log(*, broken: bool) -> Task:
    """Distillation: kl_div wants the logarithm of its first argument."""
    teacher = torch.randn(16, 5) * 1.5
    inputs = torch.randn(400, 16)
    goal = F.softmax(inputs @ teacher, dim=1)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        soft = F.one_hot(labels, 5) * 0.9 + 0.02
        student = F.softmax(out, dim=1) if broken else F.log_softmax(out, dim=1)
        return F.kl_div(student, soft, reduction="batchmean")

    return make_task(model, inputs, goal.argmax(1), loss=loss, optimizer_factory=sgd(0.02))


@faulty(WRONG, modules=("net.4", ""), steps=250)
def poisson_counts_exponentiated_twice(*, broken: bool) -> Task:
    """poisson_nll_loss takes the logarithm of the rate unless told otherwise."""
    inputs = torch.randn(400, 5)
    counts = torch.poisson(torch.exp(0.7 * inputs[:, :1] - 1.0))

    class Rate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, x: Tensor) -> Tensor:
            out = self.net(x)
            return out.exp() if broken else out

    return make_task(Rate(), inputs, counts, loss=nn.PoissonNLLLoss(), optimizer_factory=adam(3e-3))


@faulty(WRONG, metric=absolutes, modules=("decoder", ""), steps=300)
def softmax_behind_a_vector_regression(*, broken: bool) -> Task:
    class Angles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(12, 64)
            self.decoder = nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            out = self.decoder(F.elu(self.encoder(x)))
            return F.softmax(out, dim=-1) if broken else out

    inputs = torch.randn(400, 12)
    return make_task(Angles(), inputs, inputs @ torch.randn(12, 4), loss=F.l1_loss, optimizer_factory=adam(5e-3))


@faulty(WRONG, metric=errors, modules=("classifier.3", "classifier"), steps=60)
def vgg_with_softmax_and_deep_head(*, broken: bool) -> Task:
    class Vgg(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
            )
            tail = [nn.Softmax(dim=-1)] if broken else []
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 64, 32), nn.ReLU(), nn.Linear(32, 10), *tail)

        def forward(self, x: Tensor) -> Tensor:
            return self.classifier(self.features(x))

    return make_task(Vgg(), *images(classes=10), loss=nn.CrossEntropyLoss(), optimizer_factory=sgd(0.02, 0.9))


@faulty(
    WRONG, "start-loss", "learning-rate-too-low", "unnormalised-input", metric=unexplained, modules=("2",), steps=200
)
def sigmoid_behind_raw_diabetes(*, broken: bool) -> Task:
    inputs, progress = raw("diabetes")
    goal = progress.float()[:, None]
    tail: list[nn.Module] = [nn.Sigmoid()] if broken else []
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), *tail)
    return make_task(
        model,
        standardised(inputs),
        goal if broken else standardised(goal),
        loss=F.mse_loss,
        optimizer_factory=adam(1e-2),
    )
