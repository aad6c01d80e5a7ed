import re

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from rich.console import Console
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError
from isometry.anatomy.task import Task, make_task
from isometry.training.optim.rate import rate_bound
from isometry.training.optim.rate_bound import RateBound, RateReport


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 4, generator=generator), torch.randint(3, (60,), generator=generator)


def regression(rate: float, **settings: float) -> tuple[Task, float]:
    """Return a linear regression with the rate at which its descent turns unstable."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 2.0, 5.0])
    curvature = float(2 * torch.linalg.eigvalsh(inputs.T @ inputs / 50)[-1])
    task = make_task(
        nn.Linear(3, 1, bias=False),
        inputs,
        torch.randn(50, 1, generator=generator),
        loss=F.mse_loss,
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=rate, **settings),
    )
    return task, 2 * (1 + settings.get("momentum", 0.0)) / curvature


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_bound_of_a_regression_is_that_of_its_inputs(momentum: float) -> None:
    task, bound = regression(0.01, momentum=momentum)

    found = rate_bound(task)

    assert found.bound == pytest.approx(bound, rel=1e-3)
    assert found.curvature == pytest.approx(2 * (1 + momentum) / bound, rel=1e-3)
    assert found.ratio == pytest.approx(0.01 / bound, rel=1e-3)


def test_nothing_that_was_given_is_changed() -> None:
    model, (inputs, targets) = network(), data()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    weights, state = [each.detach().clone() for each in model.parameters()], torch.get_rng_state()

    rate_bound(model, inputs, targets, loss=F.cross_entropy, optimizer=optimizer)

    assert all(torch.equal(old, new) for old, new in zip(weights, model.parameters(), strict=True))
    assert not optimizer.state
    assert all(each.grad is None for each in model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_an_optimiser_in_use_is_judged_in_its_own_state_and_makes_no_step() -> None:
    model, (inputs, targets) = network(), data()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    squares = [optimizer.state[each]["exp_avg_sq"] for each in model.parameters()]

    before = rate_bound(model, inputs, targets, loss=F.cross_entropy, optimizer=optimizer)
    for each in squares:
        each.mul_(100)
    after = rate_bound(model, inputs, targets, loss=F.cross_entropy, optimizer=optimizer)

    assert before.warm_up == after.warm_up == 0
    assert after.bound == pytest.approx(10 * before.bound, rel=1e-2)


def test_adam_without_a_state_steps_on_a_copy_first() -> None:
    model, (inputs, targets) = network(), data()

    found = rate_bound(
        model, inputs, targets, loss=F.cross_entropy, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3), warm_up=7
    )

    assert found.warm_up == 7
    assert found.optimizer == "Adam(lr=0.001)"
    assert found.is_stable


@pytest.mark.parametrize(
    ("ratio", "words", "is_stable"),
    [
        pytest.param(0.5, "is stable here", True, id="below"),
        pytest.param(1.1, "at the edge of stability", False, id="at the edge"),
        pytest.param(1.5, "steps along the sharpest direction grow", False, id="above the edge"),
        pytest.param(30.0, "steps along the sharpest direction grow", False, id="above"),
    ],
)
def test_the_words_follow_the_ratio(ratio: float, words: str, is_stable: bool) -> None:
    _, bound = regression(1.0)
    task, _ = regression(ratio * bound)

    found = rate_bound(task)

    assert words in found.verdict
    assert found.is_stable == is_stable


def test_a_loss_that_is_flat_sets_no_bound() -> None:
    task = Task(model=nn.Linear(2, 1), batch=torch.ones(3, 2), step=lambda model, batch: -model(batch).square().mean())

    found = rate_bound(task, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))

    assert found.ratio == 0
    assert found.is_stable
    assert "no bound" in found.verdict


def test_a_schedule_that_warms_up_from_zero_is_judged_at_the_rate_it_leads_to() -> None:
    task, bound = regression(0.1)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=10 * bound)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))

    found = rate_bound(task, optimizer=optimizer)

    assert optimizer.param_groups[0]["lr"] == 0
    assert found.ratio == pytest.approx(10, rel=1e-3)
    assert not found.is_stable
    assert "no direction curves upwards" not in found.verdict


def test_a_rate_of_zero_is_refused_and_a_group_that_stands_still_is_not() -> None:
    task, bound = regression(0.1)
    weight, other = task.model.weight, nn.Parameter(torch.ones(1))

    with pytest.raises(DomainError, match=r"rate of SGD is 0 now, .* Ask with the rate of the end of the warm-up"):
        rate_bound(task, optimizer=torch.optim.SGD([weight], lr=0.0))
    groups = [{"params": [other], "lr": 0.0}, {"params": [weight], "lr": 0.5 * bound}]
    assert rate_bound(task, optimizer=torch.optim.SGD(groups)).ratio == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("warm_up", [0, -3])
def test_an_empty_state_needs_a_step_to_fill_it(warm_up: int) -> None:
    task, _ = regression(0.1)

    with pytest.raises(DomainError, match=rf"warm_up={warm_up} was given, and AdamW\(.*Give at least 1"):
        rate_bound(task, optimizer=lambda p: torch.optim.AdamW(p, lr=0.1), warm_up=warm_up)


def test_a_word_in_the_place_of_an_optimiser_is_refused() -> None:
    with pytest.raises(BuilderError, match=r"optimizer='adam' was given, and an optimiser is needed, or a function"):
        rate_bound(regression(0.1)[0], optimizer="adam")


@pytest.mark.parametrize(("bound", "below"), [(0.1549, "0.15"), (0.196, "0.19"), (2.99e-5, "2.9e-05"), (0.5, "0.5")])
def test_the_rate_that_is_proposed_is_not_above_the_bound(bound: float, below: str) -> None:
    found = RateBound(
        curvature=1.0, rate=1.3 * bound, bound=bound, optimizer="SGD", examples=None, warm_up=0, groups=1, seconds=0.1
    )

    assert found.verdict.endswith(f"race it against {below}")


def test_the_iteration_goes_on_until_the_curvature_is_found() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(300, 60, generator=generator)
    task = make_task(
        nn.Linear(60, 1, bias=False), inputs, torch.randn(300, 1, generator=generator), loss=F.mse_loss, batch_size=300
    )
    curvature = float(2 * torch.linalg.eigvalsh(inputs.T @ inputs / 300)[-1])

    found = rate_bound(task, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))

    assert found.curvature == pytest.approx(curvature, rel=1e-3)


def digits_bound(rate: float) -> RateBound:
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits are scikit-learn's")
    pixels, labels = datasets.load_digits(return_X_y=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    return rate_bound(
        model,
        torch.tensor(pixels[:500], dtype=torch.float32) / 16,
        torch.tensor(labels[:500]),
        loss=F.cross_entropy,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=rate),
        batch_size=500,
    )


def test_a_rate_that_ruins_training_does_not_call_itself_stable() -> None:
    gentle, high, absurd = (digits_bound(rate) for rate in (1e-3, 0.3, 3.0))

    assert gentle.is_stable
    assert not high.is_stable
    assert high.ratio > 2
    assert absurd.ratio == pytest.approx(10 * high.ratio, rel=0.05)


def test_a_warm_up_that_climbs_even_at_a_gentle_rate_is_an_error() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1e-8)
    task = Task(model=model, batch=torch.ones(1, 1), step=lambda model, batch: 1e9 * model(batch).square().mean())

    with pytest.raises(ModelError, match=r"within 50 steps of Adam\(lr=0.0001\) on a copy, so that even this rate"):
        rate_bound(task, optimizer=lambda p: torch.optim.Adam(p, lr=1.0))


def broken(scale: float, size: float = 1.0) -> Task:
    model, (inputs, _) = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)), data()
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(scale)
    return make_task(model, inputs * size, torch.ones(60, 3), loss=F.mse_loss)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(broken(float("nan")), id="NaN among the weights"),
        pytest.param(broken(1e15), id="weights that overflow"),
        pytest.param(broken(1.0, 1e25), id="inputs that overflow"),
        pytest.param(broken(1.0, 1e18), id="curvature that overflows"),
    ],
)
def test_a_loss_that_is_not_finite_is_no_flat_one(task: Task) -> None:
    with pytest.raises(ModelError, match=r"the (loss|curvature of the loss) came to (nan|inf), but a finite number"):
        rate_bound(task, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))


@pytest.mark.parametrize(
    ("share", "words"),
    [
        pytest.param(0.5, "stable here: the bound is all of them times 2", id="below"),
        pytest.param(1.1, "times the bound: at the edge of stability", id="at the edge"),
        pytest.param(8.0, "times the bound: steps .* against all groups times 0.12", id="above"),
    ],
)
def test_of_several_rates_none_is_blamed_alone(share: float, words: str) -> None:
    task, bound = regression(0.1)
    other = nn.Parameter(torch.ones(1))
    groups = [{"params": [other], "lr": 1e-9}, {"params": [task.model.weight], "lr": share * bound}]

    found = rate_bound(task, optimizer=torch.optim.SGD(groups))

    assert re.search(f"the rates of the 2 groups are .*{words}", found.verdict)
    assert "1e-09" not in found.verdict
    assert ", the first of 2 groups" in str(found)
    assert "groups" not in printed(found, "vi")


def test_an_optimiser_of_another_model_is_refused() -> None:
    model, (inputs, targets) = network(), data()
    stranger = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)

    with pytest.raises(BuilderError, match=r"SGD holds no trainable parameter of Sequential .* model\.parameters"):
        rate_bound(model, inputs, targets, loss=F.cross_entropy, optimizer=stranger)


def test_a_loss_without_a_second_derivative_is_an_error_that_says_so() -> None:
    def step(model: nn.Module, batch: Tensor) -> Tensor:
        steps = model(batch).log_softmax(-1).unsqueeze(1)
        return F.ctc_loss(steps, torch.tensor([[1, 2]]), torch.tensor([6]), torch.tensor([2]))

    task = Task(model=nn.Linear(2, 3), batch=torch.ones(6, 2), step=step)

    with pytest.raises(
        ModelError, match=r"loss of Linear cannot be differentiated twice: (Runtime|NotImplemented)Error"
    ):
        rate_bound(task, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))


def printed(found: RateBound, lang: str) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(RateReport(found, lang))
    return capture.get()


def test_it_is_printed_in_both_languages() -> None:
    found = rate_bound(regression(0.01)[0])

    assert printed(found, "en").startswith("Learning rate: the rate 0.01 is stable here")
    assert "on a batch of 50, after 0 steps on a copy" in str(found)
    assert "largest curvature" in str(found)
    assert printed(found, "vi").startswith("Tốc độ học: tốc độ học 0.01")
