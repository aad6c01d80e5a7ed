import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from rich.console import Console
from torch import Tensor, nn

from isometry._errors import BuilderError, ModelError
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


def test_a_warm_up_that_diverges_is_an_error_with_the_rate() -> None:
    task, _ = regression(0.1)

    with pytest.raises(ModelError, match=r"within 50 steps of RMSprop\(lr=1e\+30\) on a copy, so the rate is far too"):
        rate_bound(task, optimizer=lambda p: torch.optim.RMSprop(p, lr=1e30))


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
