from collections.abc import Iterable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from rich.console import Console
from torch import Tensor, nn

from isometry._errors import BuilderError, DomainError, ModelError
from isometry.anatomy.preserve import preserved
from isometry.anatomy.task import make_task
from isometry.training.labels.doubts import doubts_of
from isometry.training.labels.examples import labelled_examples
from isometry.training.labels.learner import Learner
from isometry.training.labels.mislabelled import find_mislabelled
from isometry.training.labels.suspects import Suspects, SuspectsReport


def blobs(count: int = 400, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return points around the corners of a simplex, some of them close to another corner."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=generator)
    points = 3 * F.one_hot(labels, classes).float() + 0.8 * torch.randn(count, classes, generator=generator)
    return points, labels


def planted(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return labels of which a share is another class, and which they are."""
    generator = torch.Generator().manual_seed(1)
    is_wrong = torch.zeros(len(labels), dtype=torch.bool)
    is_wrong[torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]] = True
    classes = int(labels.max()) + 1
    steps = torch.randint(1, classes, labels.shape, generator=generator)
    return torch.where(is_wrong, (labels + steps) % classes, labels), is_wrong


def network(out: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, out))


def found_in(points: Tensor, labels: Tensor) -> Suspects:
    return find_mislabelled(network(), points, labels, loss=F.cross_entropy, max_epochs=8)


@pytest.fixture(scope="module")
def noisy() -> tuple[Suspects, Tensor, Tensor]:
    points, labels = blobs()
    wrong, is_wrong = planted(labels, 0.2)
    return found_in(points, wrong), is_wrong, labels


def test_planted_labels_are_found_and_their_share_is_told(noisy: tuple[Suspects, Tensor, Tensor]) -> None:
    found, is_wrong, labels = noisy
    rows = [each.row for each in found.suspects]

    assert float(is_wrong[rows].double().mean()) > 0.85
    assert len(set(rows)) == len(rows) > 0.75 * int(is_wrong.sum())
    assert found.noise_rate == pytest.approx(0.2, abs=0.06)
    assert sum(each.suggested == int(labels[each.row]) for each in found.suspects) > 0.75 * len(rows)


def test_the_ranking_holds_every_example_and_begins_with_the_suspects(noisy: tuple[Suspects, Tensor, Tensor]) -> None:
    found, is_wrong, _ = noisy
    rows = [each.row for each in found.suspects]

    assert sorted(found.ranking) == list(range(400))
    assert list(found.ranking[: len(rows)]) == rows
    assert float(is_wrong[list(found.ranking[:40])].double().mean()) > 0.95


def test_right_labels_are_left_alone() -> None:
    found = found_in(*blobs())

    assert len(found.suspects) <= 1
    assert found.agreement < 1
    assert found.noise_rate is not None
    assert found.noise_rate < 0.01


def test_of_labels_at_random_nothing_is_said() -> None:
    points, labels = blobs()

    found = found_in(points, labels.roll(123))

    assert found.noise_rate is None
    assert not found.suspects
    assert "nothing can be said" in found.meaning
    assert sorted(found.ranking) == list(range(400))


@pytest.mark.parametrize("is_column", [False, True])
def test_one_output_for_on_and_off_will_do(is_column: bool) -> None:
    points, labels = blobs(classes=2)
    wrong, is_wrong = planted(labels, 0.1)
    targets = wrong.float()[:, None] if is_column else wrong.float()
    torch.manual_seed(0)
    head = nn.Linear(16, 1) if is_column else nn.Sequential(nn.Linear(16, 1), nn.Flatten(0))

    found = find_mislabelled(
        nn.Sequential(nn.Linear(2, 16), nn.ReLU(), head),
        points,
        targets,
        loss=F.binary_cross_entropy_with_logits,
        optimizer_factory=lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
        max_epochs=10,
    )

    assert float(is_wrong[[each.row for each in found.suspects]].double().mean()) > 0.85
    assert len(found.suspects) > 0.6 * int(is_wrong.sum())


class TakesLabels(nn.Module):
    """A model in the manner of transformers: labels among the inputs, a loss and logits in the output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        logits = self.body(features)
        return SimpleNamespace(logits=logits, loss=None if labels is None else F.cross_entropy(logits, labels))


def test_a_model_that_takes_its_labels_as_an_input_will_do() -> None:
    points, labels = blobs(200)
    wrong, is_wrong = planted(labels, 0.2)

    found = find_mislabelled(TakesLabels(), {"features": points, "labels": wrong}, max_epochs=12, batch_size=20)

    assert len(found.suspects) > 0.6 * int(is_wrong.sum())
    assert float(is_wrong[[each.row for each in found.suspects]].double().mean()) > 0.65


def test_nothing_that_was_given_is_changed() -> None:
    model, (points, labels) = network(), blobs(60)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()

    find_mislabelled(model, points, labels, loss=F.cross_entropy, max_epochs=1)

    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


def test_no_copy_is_asked_about_what_it_learned() -> None:
    labels = torch.randint(2, (60,), generator=torch.Generator().manual_seed(0))

    found = find_mislabelled(
        nn.Linear(60, 2, bias=False),
        torch.eye(60),
        labels,
        loss=F.cross_entropy,
        optimizer_factory=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )

    assert found.agreement < 0.7


def test_the_scores_are_the_means_of_the_epochs() -> None:
    points, labels = blobs(120)
    labels, _ = planted(labels, 0.3)
    found = find_mislabelled(network(), points, labels, loss=F.cross_entropy, max_epochs=6, folds=2)
    task = make_task(network(), points, labels, loss=F.cross_entropy)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    scores = torch.zeros(120, 4)
    with preserved(task.model, seed=0) as guard:
        for fold in range(2):
            part, rest = order[fold::2].sort()[0], order[1 - fold :: 2].sort()[0]
            examples = labelled_examples(task, most=None, seed=0)
            learner = Learner(task, guard, examples, batch_size=50, seed=fold, rows=rest)
            for _ in range(found.epochs):
                learner.learn()
                scores[part] += learner.answers(part) / found.epochs

    wanted = doubts_of(scores, labels)

    assert found.epochs > 1
    assert found.noise_rate == pytest.approx(wanted.num_wrong / 120)
    assert [each.rank for each in found.suspects] == pytest.approx(wanted.rank[wanted.is_suspect].sort()[0].tolist())
    assert [each.row for each in found.suspects] == [row for row in found.ranking if wanted.is_suspect[row]]


def test_a_network_that_has_learned_the_labels_is_refused() -> None:
    points, labels = blobs(200)
    wrong, _ = planted(labels, 0.1)
    model = nn.Sequential(nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        F.cross_entropy(model(points), wrong).backward()
        optimizer.step()

    with pytest.raises(
        ModelError, match=r"it has learned these labels, and may repeat wrong ones\. Give the untrained"
    ):
        find_mislabelled(model, points, wrong, loss=F.cross_entropy)


def test_a_network_that_begins_slowly_is_waited_for() -> None:
    points, labels = blobs(200)

    def slow(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)

    def found_by(max_epochs: int) -> Suspects:
        torch.manual_seed(2)
        model = nn.Sequential(nn.Linear(4, 16), nn.Sigmoid(), nn.Linear(16, 8), nn.Sigmoid(), nn.Linear(8, 4))
        return find_mislabelled(
            model, points, labels, loss=F.cross_entropy, optimizer_factory=slow, max_epochs=max_epochs, folds=2
        )

    early = found_by(8)

    assert early.noise_rate is None
    assert "in 8 epochs of SGD(lr=0.1). Give max_epochs" in early.meaning
    assert found_by(1000).noise_rate is not None


@pytest.mark.parametrize("count", ["max_epochs", "batch_size"])
def test_counts_below_one_are_refused(count: str) -> None:
    with pytest.raises(DomainError, match=rf"{count}=-1 was given, and at least 1 is needed"):
        find_mislabelled(network(), *blobs(60), loss=F.cross_entropy, **{count: -1})


def test_a_network_that_diverges_says_nothing() -> None:
    points, labels = blobs(100)

    found = find_mislabelled(network(), points * float("nan"), labels, loss=F.cross_entropy, max_epochs=2)

    assert found.noise_rate is None


@pytest.mark.parametrize("folds", [1, 61])
def test_folds_that_part_nothing_are_refused(folds: int) -> None:
    with pytest.raises(DomainError, match="does not part 60 examples"):
        find_mislabelled(network(), *blobs(60), loss=F.cross_entropy, folds=folds)


def test_targets_that_are_no_classes_are_refused() -> None:
    points, _ = blobs(60)

    with pytest.raises(BuilderError, match=r"type torch.float32 are no class for each example"):
        find_mislabelled(network(1), points, torch.randn(60, 1), loss=F.mse_loss)


@pytest.mark.parametrize("case", ["noisy", "clean", "nothing"])
def test_it_is_printed_in_both_languages(case: str, noisy: tuple[Suspects, Tensor, Tensor]) -> None:
    points, labels = blobs(80)
    found = noisy[0] if case == "noisy" else found_in(points, labels if case == "clean" else labels.roll(9))
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(SuspectsReport(found, "vi"))

    assert str(found).startswith("Labels: ")
    assert capture.get().startswith("Nhãn: ")
    assert "labels" not in capture.get()
