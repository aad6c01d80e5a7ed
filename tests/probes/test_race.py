import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry._errors import DomainError, ModelError
from isometry.anatomy.task import Task, make_task
from isometry.probes.race import judge, race
from isometry.probes.race_result import Evaluation, RaceSide


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def data_task(model: nn.Module | None = None, *, count: int = 50) -> Task:
    """Fifty examples whose label is that of their largest feature."""
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    return make_task(model or network(), inputs, inputs[:, :3].argmax(1), loss=F.cross_entropy)


def with_other(task: Task, model: nn.Module) -> Task:
    return replace(task, model=model)


def side(*finals: float | None, start: float = 2.0, name: str = "side") -> RaceSide:
    looks = (Evaluation(0, start, None), Evaluation(9, finals[-1], None))
    return RaceSide(name, (), looks, finals)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        pytest.param(side(2.0, 2.1, 2.2), side(0.2, 0.3, 0.1), "second", id="second far lower"),
        pytest.param(side(0.2, 0.3, 0.1), side(2.0, 2.1, 2.2), "first", id="first far lower"),
        pytest.param(side(0.5, 0.5, 0.5), side(0.5, 0.5, 0.5), "no difference", id="the same"),
        pytest.param(side(0.50, 0.51, 0.52), side(0.49, 0.50, 0.51), "no difference", id="always a little lower"),
        pytest.param(side(3.0, 3.0, 0.1), side(0.2, 0.2, 0.2), "no difference", id="not in every repeat"),
        pytest.param(side(None, None, None), side(0.5, 0.6, 0.7), "second", id="the first diverged"),
        pytest.param(side(0.5, 0.6, 0.7), side(None, None, None), "first", id="the second diverged"),
        pytest.param(side(None, None, None), side(None, None, None), "no difference", id="both diverged"),
        pytest.param(side(None, 0.5, 0.5), side(0.5, 0.5, 0.5), "no difference", id="the first diverged once"),
        pytest.param(side(-1.0, -1.1, -0.9), side(-9.0, -9.1, -8.9), "second", id="negative losses, far lower"),
        pytest.param(side(-9.0, -9.1, -8.9), side(-9.1, -9.2, -9.0), "no difference", id="negative, a little lower"),
        pytest.param(side(0.0, 0.0, 0.0), side(0.0, 0.0, 0.0), "no difference", id="both at zero"),
    ],
)
def test_a_winner_is_well_below_in_every_repeat(first: RaceSide, second: RaceSide, winner: str) -> None:
    assert judge(first, second)[0] == winner


def test_the_reason_says_that_a_side_diverged() -> None:
    assert "as built diverged" in judge(side(None, name="as built"), side(0.5))[1]


def test_both_sides_see_the_same_batches_in_the_same_order() -> None:
    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.setdefault(float(self.layer.bias.sum() > 50), []).append(x.detach().clone())
            return self.layer(x)

    seen: dict[float, list[Tensor]] = {}
    first, second = Spy(), Spy()
    nn.init.constant_(second.layer.bias, 100.0)
    task = data_task(first)
    race(task, with_other(task, second), steps=7, batch_size=16, repeats=2)

    assert len(seen[0.0]) == len(seen[1.0]) == 14
    assert all(torch.equal(one, other) for one, other in zip(seen[0.0], seen[1.0], strict=True))
    assert not torch.equal(seen[0.0][0], seen[0.0][7])


def test_no_step_sees_an_example_that_was_held_out() -> None:
    trained: set[float] = set()
    looked: set[float] = set()

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            (trained if self.training else looked).update(x[:, 0].tolist())
            return self.layer(x)

    task = data_task(Spy(), count=200)
    result = race(task, task, steps=10, batch_size=4, repeats=1)

    assert result.held_out == len(looked) == 40
    assert not trained & looked


def test_of_few_examples_none_is_held_out() -> None:
    task = data_task(count=40)
    result = race(task, task, steps=2, repeats=1)

    assert result.held_out == 0
    assert result.first.evaluations[0].accuracy is not None


def test_a_network_that_memorises_noise_has_not_lost_to_one_that_learns_nothing() -> None:
    inputs = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))
    still = nn.Sequential(nn.Linear(8, 3))
    nn.init.zeros_(still[0].weight)
    task = make_task(still, inputs, labels, loss=F.cross_entropy)
    result = race(task, with_other(task, wide), steps=400, repeats=1)

    assert result.winner == "no difference"
    assert "memorises" in result.reason


def test_a_network_against_itself_makes_no_difference() -> None:
    task = data_task(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)))
    result = race(task, task, steps=20)

    assert result.first.losses == result.second.losses
    assert result.first.finals == result.second.finals
    assert result.winner == "no difference"


def test_a_network_that_cannot_learn_loses() -> None:
    stuck = network()
    for parameter in stuck.parameters():
        nn.init.zeros_(parameter)
    task = replace(data_task(stuck, count=400), optimizer_factory=lambda each: torch.optim.Adam(each, lr=1e-2))
    result = race(task, with_other(task, network()), steps=200)

    assert result.winner == "second"
    assert result.second.evaluations[-1].accuracy is not None
    assert result.second.evaluations[-1].accuracy > 0.8


def test_the_networks_and_the_random_state_are_as_before() -> None:
    first = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    second = copy.deepcopy(first).eval()
    before = copy.deepcopy(first.state_dict())
    state = torch.random.get_rng_state()
    task = data_task(first)
    race(task, with_other(task, second), steps=5, repeats=1)

    assert torch.equal(torch.random.get_rng_state(), state)
    for model in (first, second):
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    assert first.training
    assert not second.training


def test_a_network_that_draws_in_eval_mode_leaves_the_random_state_alone() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x + torch.randn_like(x))

    task = data_task(Noisy())
    state = torch.random.get_rng_state()
    one, again = race(task, task, steps=3, repeats=1), race(task, task, steps=3, repeats=1)

    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.first.finals == again.second.finals


def test_a_side_that_diverges_stands_still_and_loses() -> None:
    wild = network()
    for parameter in wild.parameters():
        nn.init.constant_(parameter, 1e30)
    task = data_task(wild)
    result = race(task, with_other(task, network()), steps=5, repeats=1)

    assert result.first.finals == (None,)
    assert result.winner == "second"


def test_one_batch_without_examples_is_trained_on_as_it_is() -> None:
    batch = torch.randn(16, 8)
    task = Task(model=network(), batch=batch, step=lambda model, batch: model(batch).square().mean())
    result = race(task, with_other(task, network(1)), steps=4, repeats=1)

    assert (result.batch_size, result.held_out) == (None, 0)
    assert len(result.first.losses) == 4
    assert result.first.evaluations[-1].accuracy is None


def test_negative_losses_are_raced() -> None:
    task = Task(model=network(), batch=torch.randn(16, 8), step=lambda model, batch: -model(batch).sigmoid().mean())

    assert race(task, task, steps=4, repeats=1).winner == "no difference"


def test_both_sides_get_the_users_optimiser() -> None:
    made: list[torch.optim.Optimizer] = []

    def factory(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=0.5, momentum=0.9))
        return made[-1]

    task = replace(data_task(), optimizer_factory=factory)
    result = race(task, with_other(task, network(1)), steps=2, repeats=2)

    assert len(made) == 4
    assert result.optimiser == "SGD(lr=0.5, momentum=0.9)"


def test_steps_and_looks_run_in_the_tasks_context() -> None:
    depth = 0
    inside: list[bool] = []

    @contextmanager
    def context() -> Any:
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        inside.append(depth == 1)
        return model(batch).square().mean()

    task = Task(model=network(), batch=torch.randn(16, 8), step=step, context=context)
    race(task, task, steps=2, repeats=1)

    assert inside
    assert all(inside)


def test_batch_norm_gets_no_batch_of_one() -> None:
    task = data_task(nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)), count=21)

    assert race(task, task, steps=5, batch_size=4, repeats=1).winner == "no difference"


def test_looks_are_made_in_parts_of_a_batch() -> None:
    sizes: list[int] = []

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return super().forward(x)

    task = data_task(Spy(8, 3), count=200)
    race(task, task, steps=1, batch_size=16, repeats=1)

    assert max(sizes) == 16


@pytest.mark.parametrize(
    ("outputs", "labels", "is_measured"),
    [
        pytest.param((12, 3), (12,), True, id="classes"),
        pytest.param((12, 3, 5), (12, 5), True, id="classes second, as torch's losses have them"),
        pytest.param((12, 5, 3), (12, 5), True, id="classes last, as language models have them"),
        pytest.param((12, 1), (12,), False, id="one logit"),
        pytest.param((12, 3), (12, 3), False, id="as many labels as logits"),
    ],
)
def test_accuracy_is_that_of_a_classification(
    outputs: tuple[int, ...], labels: tuple[int, ...], is_measured: bool
) -> None:
    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x

    task = make_task(Free(), torch.randn(outputs), torch.zeros(labels, dtype=torch.long), loss=lambda out, _: out.sum())
    result = race(task, task, steps=1, repeats=1)

    assert (result.first.evaluations[0].accuracy is not None) == is_measured


def test_a_loss_that_differentiates_on_its_way_is_raced() -> None:
    def penalty(model: nn.Module, batch: Tensor) -> Tensor:
        inputs = batch.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
        return (slope.square().sum(1) - 1).square().mean()

    task = Task(model=nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1)), batch=torch.randn(6, 8), step=penalty)

    assert race(task, task, steps=2, repeats=1).first.finals[0] is not None


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    task = data_task()
    race(task, task, steps=3, repeats=2, on_progress=lambda done, total, _: told.append((done, total)))

    assert told == [(step, 6) for step in range(1, 7)]


def test_an_interruption_passes_through() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    task = data_task()
    with pytest.raises(KeyboardInterrupt):
        race(task, task, steps=3, on_progress=interrupt)


@pytest.mark.parametrize("settings", [{"steps": 0}, {"repeats": 0}, {"batch_size": -1}])
def test_numbers_that_make_no_race_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(DomainError, match="at least 1"):
        race(data_task(), data_task(), **settings)


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        pytest.param(lambda: Uncopyable(8, 3), "cannot be copied.*no copies", id="no copy"),
        pytest.param(lambda: nn.Sequential(nn.Linear(8, 3), Detach()), "carries no gradient", id="no gradient"),
    ],
)
def test_a_network_that_cannot_be_raced_is_named(build: Callable[[], nn.Module], words: str) -> None:
    task = data_task(build())
    with pytest.raises(ModelError, match=words):
        race(task, task, steps=1)


class Detach(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()
