"""Trains one member of a family with one seed, and measures its errors: a pure function of what it is given."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isometry._errors import LabError
from isometry.anatomy.task import tensors_in
from isometry.lab.apparatus.own_data import OwnData, Schooling, train
from isometry.lab.curve.family import Family, Split, built, require_enough, split_of
from isometry.lab.engine.trial import Progress
from isometry.lab.study import code_of
from isometry.probes.training import describe_optimizer
from isometry.training.labels.answers import CUTS, Kind, class_of, error_of_constant, kind_of
from isometry.training.labels.examples import shuffled
from isometry.training.labels.learner import Learner

MOST = 10.0  # variances of the targets: an answer that is off by more is as bad; else single ones hide all others
MAX_TRAIN = 2000  # learnt examples that are looked at after an epoch
NUM_LOOKS = 40  # epochs that may be the best one: each to begin with, later ever fewer, for to look takes time too
WILD = 10.0  # times the loss of the first step: a training that ends above it has diverged
MATRIX = 2  # axes of a parameter that decays: biases and the scales of norms do not

Measured = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One member with one seed.

    Attributes:
        sizes: What the builder is called with.
        looks: Epochs after which it is measured, growing; it is trained up to the last.
        num_train: Examples that it learns, counts; None for all.
        batch_size: Examples of a step, counts.
        decay: Each step takes `rate * decay` of every weight of two axes or more away, dimensionless.
        test_share: Of the data set, where there is no test set.
        seed: Of weights and orders, and over samples of which examples are learnt.
        split_seed: Of the test set.
    """

    sizes: tuple[int, ...]
    looks: tuple[int, ...]
    num_train: int | None
    batch_size: int
    decay: float
    test_share: float
    seed: int
    split_seed: int


def measure(config: Mapping[str, Any], progress: Progress) -> Measured:
    """Train a member whose builder can be named: the function of its trial.

    Args:
        config: `builder`, a word; `code`, the hash of its file; and the fields of `Job`.
        progress: Told the share that is done.

    Returns:
        What `train_member` does.

    Raises:
        LabError: If the builder's file has been changed meanwhile.
    """
    fields: dict[str, Any] = dict(config)
    builder, code = str(fields.pop("builder")), fields.pop("code")
    fields["sizes"], fields["looks"] = tuple(fields["sizes"]), tuple(fields["looks"])
    found = train_member(Family(builder), Job(**fields), progress)
    if code_of(builder) != code:
        raise LabError(f"{builder!r} was changed while it was measured. Sweep again.")
    return found


def config_of(job: Job, builder: str, code: str) -> dict[str, Any]:
    """Return the configuration that `measure` takes."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(job).items()} | {
        "builder": builder,
        "code": code,
    }


def train_member(family: Family, job: Job, progress: Progress) -> Measured:
    """Build a member, train it, and measure it.

    Args:
        family: Of which it is one.
        job: How it is built and trained.
        progress: Told the share that is done.

    Returns:
        At each look: `train_error`; `test_errors`, of each held-out example; `best_errors`, of each at the epoch up to
        there that the other half of them chose; `best_epochs`, the mean of the two; `has_diverged`. And what was
        trained on what.

    Raises:
        BuilderError: If there is no member to build, or nothing for it to learn.
        DomainError: If too few examples are held out, or fewer are to be learnt than there are.
    """
    task = built(family, job.sizes, seed=job.seed)
    split = split_of(task, family.data, test_share=job.test_share, seed=job.split_seed)
    rows = split.train
    if job.num_train is not None:
        require_enough(split, job.num_train)
        rows = rows[shuffled(len(rows), seed=job.seed)[: job.num_train]]
    watch = _Watch(split, job, progress, rows=rows)
    own = OwnData(examples=split.examples, train=rows, held_out=split.test, kind="numbers")
    schooling = Schooling(num_epochs=job.looks[-1], batch_size=job.batch_size, seed=job.seed)
    train(task, own, schooling, look=watch)
    return {
        "train_error": watch.train_error,
        "test_errors": [each.tolist() for each in watch.test_errors],
        "best_errors": [each.tolist() for each in watch.best_errors],
        "best_epochs": watch.best_epochs,
        "has_diverged": watch.has_diverged,
        "kind": watch.kind,
        "num_train": len(rows),
        "optimizer": watch.optimizer,
        "loss": task.loss_in_use,
        "data": _digest(split),
    }


class _Watch:
    """Looks at a member after each epoch."""

    def __init__(self, split: Split, job: Job, progress: Progress, *, rows: Tensor) -> None:
        self._split, self._job, self._progress = split, job, progress
        self._rows, self._num_steps = rows[:MAX_TRAIN], 0
        self._epochs = {*job.looks, *np.geomspace(1, job.looks[-1], NUM_LOOKS).round().astype(int).tolist()}
        self._unit = 1.0  # of errors: ones, and of numbers their variance
        self.kind: Kind = "numbers"
        self.optimizer = ""
        self.train_error: list[float] = []
        self.test_errors: list[Tensor] = []
        self.best_errors: list[Tensor] = []
        self.best_epochs: list[float] = []
        self.has_diverged: list[bool] = []
        self._best = _Best(len(split.test))

    def __call__(self, learner: Learner, epoch: int) -> None:
        if epoch == 0:
            self._begin(learner)
        elif epoch in self._epochs:
            self._look(learner, epoch)
            self._progress(epoch / self._job.looks[-1])
        self._num_steps = len(learner.training.losses)

    def _begin(self, learner: Learner) -> None:
        """Learn of all examples, which are the same for every member, what targets are and in which unit they err."""
        targets, some = self._split.examples.targets, self._split.train[:MAX_TRAIN]
        answers = learner.answers(some)
        self.kind = kind_of(answers, targets[some].cpu())
        if self.kind == "numbers":
            self._unit = error_of_constant(answers, targets[self._split.train].cpu(), self.kind) or 1.0
        self.optimizer = describe_optimizer(learner.training.optimizer)
        if self._job.decay:
            _decay(learner.training.optimizer, self._job.decay)

    def _look(self, learner: Learner, epoch: int) -> None:
        targets = self._split.examples.targets
        answers = [learner.answers(rows) for rows in (self._rows, self._split.test)]
        given = [targets[rows].cpu() for rows in (self._rows, self._split.test)]
        cut = cut_of(answers[0], given[0]) if self.kind == "labels" else CUTS[0]
        learnt, held_out = (
            (errors_of(each, right, self.kind, cut=cut) / self._unit).clamp(max=MOST)
            for each, right in zip(answers, given, strict=True)
        )
        self._best.see(held_out, epoch)
        if epoch in self._job.looks:
            losses = learner.training.losses
            self.train_error.append(float(learnt.mean()))
            self.test_errors.append(held_out)
            self.best_errors.append(self._best.errors.clone())
            self.best_epochs.append(sum(self._best.epochs) / 2)
            self.has_diverged.append(
                not bool(answers[1].isfinite().all()) or _are_wild(losses[0], losses[self._num_steps :])
            )


class _Best:
    """The errors at the best epoch, which each half of the held-out examples chooses for the other.

    So that stopping is not praised for what the choice itself brings.
    """

    def __init__(self, count: int) -> None:
        self.errors = torch.full((count,), torch.inf, dtype=torch.float64)
        self.epochs = [0, 0]
        self._least = [float("inf")] * 2
        self._halves = [torch.arange(count) % 2 == half for half in (0, 1)]

    def see(self, errors: Tensor, epoch: int) -> None:
        """Take the errors of all held-out examples after an epoch."""
        for half, (chooser, other) in enumerate((self._halves, self._halves[::-1])):
            mean = float(errors[chooser].mean())
            if mean < self._least[half]:
                self._least[half], self.epochs[half] = mean, epoch
                self.errors[other] = errors[other].double()


def cut_of(answers: Tensor, targets: Tensor) -> float:
    """Return where labels that are on part best from those that are off: of logits 0, of probabilities a half."""
    is_on = targets.reshape(answers.shape) > 0
    return min(CUTS, key=lambda each: float(((answers > each) != is_on).double().mean()))


def errors_of(answers: Tensor, targets: Tensor, kind: Kind, *, cut: float = CUTS[0]) -> Tensor:
    """Return the error of each example: the share of its wrong answers, or the mean square of what it is off by.

    Args:
        answers: Of the model.
        targets: One row for each row of them.
        kind: What the targets are.
        cut: Above it a label is answered as on, in the unit of the answers.

    Answers that are not finite are wrong; an example without a target has none.
    """
    if kind == "classes":
        logits, given = class_of(answers, targets)
        is_wrong = (logits.argmax(-1) != given) | ~logits.isfinite().all(-1)
        wrong = is_wrong.double().masked_fill(given < 0, torch.nan)
        return wrong.reshape(len(wrong), -1).nanmean(1).nan_to_num(0.0)
    if kind == "labels":
        wrong = (((answers > cut) != (targets.reshape(answers.shape) > 0)) | ~answers.isfinite()).double()
        return wrong.reshape(len(wrong), -1).mean(1)
    gaps = (answers.double() - targets.reshape(answers.shape).double()).square()
    return gaps.reshape(len(gaps), -1).mean(1).nan_to_num(torch.inf, torch.inf)


def _are_wild(first: float, losses: Sequence[float]) -> bool:
    """Say whether losses of an epoch are no numbers, or far above that of the first step."""
    return bool(losses) and not fmean(losses) <= first + (WILD - 1) * abs(first)


def _decay(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Let every step of an optimiser take a share of the weights away, whatever else it does."""

    def shrink(optimizer: torch.optim.Optimizer, *_: object) -> None:
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.ndim >= MATRIX:
                        parameter.mul_(1 - float(group["lr"]) * decay)

    optimizer.register_step_post_hook(shrink)


def _digest(split: Split) -> str:
    """Return what tells whether two members were given the same data."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (*tensors_in(split.examples.inputs), split.examples.targets, split.train, split.test):
        digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
