"""What a trial of a few steps shows of networks whose training is known: the ground of its criterion and its bounds.

Two tables on scikit-learn's digits: whether the trial says that a network learns beside what a training of fifteen
epochs reaches, and which learning rates are called too high or too low beside the loss that they end at.
Run by hand: python benchmarks/trial.py > benchmarks/trial.md
"""

import math
import platform
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isometry.anatomy.task import OptimizerFactory, make_task
from isometry.checking.check import gather_for
from isometry.findings import RULES
from isometry.findings.run import run_rules
from isometry.probes.course import run_course
from isometry.probes.trial import constant_of, learns

SEEDS, STEPS, WIDTH, BATCH = 3, 20, 64, 64
TRAINED = 1437  # examples; the others tell the accuracy
FEATURES, LABELS = load_digits(return_X_y=True)
ORDER = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0))
PIXELS, DIGITS = torch.tensor(FEATURES / 16).float()[ORDER], torch.tensor(LABELS)[ORDER]


def plain(activation: type[nn.Module], depth: int, std: float | None = None, *, bias: float = 0.0) -> nn.Sequential:
    """A plain network at PyTorch's default, or gaussian of a deviation over the root of the fan."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in model:
        if isinstance(layer, nn.Linear) and std is not None:
            nn.init.normal_(layer.weight, std=std / math.sqrt(WIDTH))
            nn.init.constant_(layer.bias, 0.0 if layer is model[-1] else bias)
    return model


def normed(depth: int) -> nn.Sequential:
    blocks = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(*blocks, nn.Linear(WIDTH, 10))


def convolutions(activation: type[nn.Module], *widths: int, norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    into = 1
    for out in widths:
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out) if norm else nn.Identity(), activation()]
        into = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 10))


class Scaled(nn.Module):
    """A network behind inputs in other units."""

    def __init__(self, inner: nn.Module, scale: float, offset: float = 0.0) -> None:
        super().__init__()
        self.inner, self.scale, self.offset = inner, scale, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.scale * x + self.offset)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "4 ReLU": lambda: plain(nn.ReLU, 4),
    "8 ReLU": lambda: plain(nn.ReLU, 8),
    "12 ReLU": lambda: plain(nn.ReLU, 12),
    "15 ReLU": lambda: plain(nn.ReLU, 15),
    "20 ReLU": lambda: plain(nn.ReLU, 20),
    "30 ReLU, He": lambda: plain(nn.ReLU, 30, math.sqrt(2)),
    "10 ReLU, deviation 0.3": lambda: plain(nn.ReLU, 10, 0.3),
    "4 ReLU, deviation 10": lambda: plain(nn.ReLU, 4, 10.0),
    "3 ReLU, biases -3": lambda: plain(nn.ReLU, 3, 1.0, bias=-3.0),
    "2 sigmoid": lambda: plain(nn.Sigmoid, 2),
    "4 sigmoid": lambda: plain(nn.Sigmoid, 4),
    "6 sigmoid": lambda: plain(nn.Sigmoid, 6),
    "8 sigmoid": lambda: plain(nn.Sigmoid, 8),
    "30 sigmoid": lambda: plain(nn.Sigmoid, 30),
    "10 tanh": lambda: plain(nn.Tanh, 10),
    "20 tanh": lambda: plain(nn.Tanh, 20),
    "30 tanh": lambda: plain(nn.Tanh, 30),
    "3 tanh, deviation 20": lambda: plain(nn.Tanh, 3, 20.0),
    "30 SELU, LeCun": lambda: plain(nn.SELU, 30, 1.0),
    "20 batch norms": lambda: normed(20),
    "60 batch norms": lambda: normed(60),
    "10 ReLU convolutions": lambda: convolutions(nn.ReLU, *[16] * 10),
    "20 tanh convolutions": lambda: convolutions(nn.Tanh, *[16] * 20),
    "2 tanh, pixels to 255": lambda: Scaled(plain(nn.Tanh, 2), 255.0),
    "2 ReLU, pixels to 255": lambda: Scaled(plain(nn.ReLU, 2), 255.0),
    "2 ReLU, offset of 100": lambda: Scaled(plain(nn.ReLU, 2), 1.0, 100.0),
}


def sgd(rate: float) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def momentum(rate: float) -> OptimizerFactory:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def adam(rate: float) -> OptimizerFactory:
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


RATES: dict[str, tuple[Callable[[float], OptimizerFactory], tuple[float, ...]]] = {
    "SGD": (sgd, (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0)),
    "SGD, momentum 0.9": (momentum, (1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)),
    "Adam": (adam, (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0)),
}
TRIED: dict[str, Callable[[], nn.Module]] = {
    "3 ReLU": lambda: plain(nn.ReLU, 3),
    "4 batch norms": lambda: normed(4),
    "3 convolutions": lambda: convolutions(nn.ReLU, 16, 16, 32),
    "3 convolutions, batch norm": lambda: convolutions(nn.ReLU, 16, 16, 32, norm=True),
}


def trained(model: nn.Module, factory: OptimizerFactory, steps: int) -> tuple[float, float]:
    """Train on mini-batches; return the mean of the last losses and the accuracy on what was held out."""
    optimizer, generator = factory(model.parameters()), torch.Generator().manual_seed(1)
    losses: list[float] = []
    for _ in range(steps):
        rows = torch.randint(TRAINED, (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(PIXELS[rows]), DIGITS[rows])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    with torch.no_grad():
        right = model(PIXELS[TRAINED:]).argmax(1) == DIGITS[TRAINED:]
    return statistics.fmean(losses[-30:]), float(right.float().mean())


def judged(build: Callable[[], nn.Module], factory: OptimizerFactory) -> str:
    """Return gains over the constant predictor's loss, what the trial says, and the accuracy after 15 epochs."""
    gains: list[float] = []
    verdicts: list[bool] = []
    accuracies: list[float] = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        task = make_task(build(), PIXELS, DIGITS, loss=F.cross_entropy, optimizer_factory=factory, seed=seed)
        course = run_course(task, steps=STEPS, seed=seed)
        gains += [each.gains[1] / constant_of(each.reading) for each in course.progress] or [math.nan]
        verdicts.append(learns(course))
        torch.manual_seed(seed)
        accuracies.append(trained(build(), factory, 15 * TRAINED // BATCH)[1])
    return f"{statistics.median(gains):.0e} | {sum(verdicts)} of {SEEDS} | {statistics.median(accuracies):.2f}"


def called(build: Callable[[], nn.Module], factory: OptimizerFactory) -> str:
    """Return the loss after 300 steps, and what the rate is called."""
    torch.manual_seed(0)
    task = make_task(build(), PIXELS, DIGITS, loss=F.cross_entropy, optimizer_factory=factory)
    rules = [RULES["TRN101"], RULES["TRN102"]]
    findings, _ = run_rules(rules, gather_for(task, rules))
    torch.manual_seed(0)
    end = trained(build(), factory, 300)[0]
    words = {"TRN101": " **high**", "TRN102": " **low**"}
    return f"{end:.2f}" + "".join(words[finding.code] for finding in findings)


def main() -> None:
    torch.set_num_threads(1)
    print("# What a trial of twenty steps shows\n")
    print(
        f"`python benchmarks/trial.py`, torch {torch.__version__}, {platform.machine()}, one thread. Plain networks of"
    )
    print("width 64 on scikit-learn's digits. Gain: the loss of the outputs averaged over the samples less that of the")
    print(
        "outputs, over the constant predictor's loss, after 20 steps on one batch of 256; whether the trial says that"
    )
    print(f"the network learns; accuracy on examples held out after 15 epochs. Medians of {SEEDS} seeds.\n")
    print("| network | Adam 1e-3: gain | learns | accuracy | SGD 0.05, momentum 0.9: gain | learns | accuracy |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, build in NETWORKS.items():
        print(f"| {name} | {judged(build, adam(1e-3))} | {judged(build, momentum(0.05))} |", flush=True)
    print("\n## Which learning rates are called too high or too low\n")
    print("Loss after 300 steps on batches of 64 (a constant predictor has 2.30), and what TRN101 and TRN102 say.")
    for name, (optimizer, rates) in RATES.items():
        print(f"\n| {name} | {' | '.join(f'{rate:g}' for rate in rates)} |")
        print(f"|---|{'--:|' * len(rates)}")
        for network, build in TRIED.items():
            print(f"| {network} | {' | '.join(called(build, optimizer(rate)) for rate in rates)} |", flush=True)


if __name__ == "__main__":
    main()
