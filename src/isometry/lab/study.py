"""One run of an experiment: with which settings, and on the lab's own networks or on somebody's model."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from isometry._errors import LabError
from isometry._phrases import Phrase
from isometry.anatomy.builders import load_task, seed_everything
from isometry.anatomy.task import Task
from isometry.lab.engine.trial import Progress, Trial
from isometry.lab.experiment import EXPERIMENTS, ON_TASK, Claim, Experiment, Measured, OnTask, OwnTask
from isometry.lab.figure import Figure
from isometry.lab.settings import as_config, assigned, changes, from_config

PRESETS = ("quick", "paper")
MEASURE = "isometry.lab.runner:measure"
CODE_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """Somebody's model, as a command line names it.

    Attributes:
        word: `/path/to/file.py:name` or `package.module:name`.
        code: Hash of the file or module: a model that was changed is measured anew. What it imports is not looked at.
        input_words: Shape of inputs that the builder does not give; None without.
    """

    word: str
    code: str
    input_words: str | None = None

    @property
    def name(self) -> str:
        """The word without the folder."""
        place, _, name = self.word.rpartition(":")
        return f"{Path(place).name}:{name}"

    @property
    def is_current(self) -> bool:
        """Whether the file is as it was; that of a module which is not imported is not looked at."""
        place = self.word.rpartition(":")[0]
        is_found = place in sys.modules or Path(place).is_file()
        return not is_found or code_of(self.word) == self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An experiment with its settings, and with a model if it is not to run on the lab's own networks.

    Attributes:
        experiment: The experiment.
        settings: Its own, or those that it has for models of others.
        model: The model; None for the lab's own networks.
        version: Of isometry that measures, or has measured.
    """

    experiment: Experiment[Any]
    settings: Any
    model: OwnModel | None = None
    version: str = field(default_factory=lambda: metadata.version("isometry"))

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    @property
    def question(self) -> Phrase:
        """What it answers, in one sentence."""
        return self._form.question

    @property
    def changes(self) -> tuple[str, ...]:
        """What is set otherwise than usual, as words for a command line."""
        usual = self._form.settings if isinstance(self._form, OnTask) else self._form.quick
        return tuple(changes(self.settings, usual))

    @property
    def label(self) -> str:
        """What tells its files from those of other studies of the experiment; empty for the usual settings."""
        if self.model is None and not self.changes:
            return ""
        if self.model is None and self.settings == self.experiment.paper:
            return "paper"
        words = (*self.changes, *(str(part) for part in (astuple(self.model) if self.model else ())))
        return hashlib.blake2b("\n".join(words).encode()).hexdigest()[:8]

    def trial(self, seed: int) -> Trial:
        """Return what a worker is to do for one seed."""
        config = {"experiment": self.name, "settings": as_config(self.settings), "seed": seed}
        if self.model is not None:
            config |= {"model": self.model.word, "code": self.model.code, "input": self.model.input_words}
        return Trial(
            function=MEASURE,
            config=config | {"isometry": self.version},
            name=f"{self.name}, seed {seed}",
        )

    def measure(self, seed: int, progress: Progress) -> Measured:
        """Measure with one seed.

        Args:
            seed: Of all that is drawn.
            progress: Told the share that is done.

        Returns:
            What it measured.

        Raises:
            NotApplicableError: If the model or its data lack what the experiment needs.
        """
        if self.model is None:
            return self.experiment.measure(self.settings, seed, progress)
        return ON_TASK[self.name].measure(self.settings, OwnTask(load_own(self.model, seed), seed), progress)

    def judge(self, measured: Sequence[Measured]) -> tuple[Claim, ...]:
        """Return what it had to show, from what each seed measured."""
        return self._form.judge(self.settings, measured)

    def draw(self, measured: Sequence[Measured]) -> tuple[Figure, ...]:
        """Return its pictures, likewise."""
        return self._form.draw(self.settings, measured)

    @property
    def _form(self) -> Experiment[Any] | OnTask[Any]:
        return self.experiment if self.model is None else ON_TASK[self.name]


def usual_study(experiment: Experiment[Any], preset: str, assignments: Sequence[str] = ()) -> Study:
    """Return the study of a preset with some settings set otherwise.

    Args:
        experiment: Which.
        preset: `quick` or `paper`.
        assignments: Words such as `width=64`; see `assigned`.

    Raises:
        LabError: If the preset or a setting is unknown, or a value is not of its kind.
    """
    if preset not in PRESETS:
        raise LabError(f"there is no preset {preset!r}. Choose one of: {', '.join(PRESETS)}.")
    settings = experiment.quick if preset == "quick" else experiment.paper
    return Study(experiment=experiment, settings=assigned(settings, assignments, owner=experiment.name))


def study_on(experiment: Experiment[Any], model: OwnModel, assignments: Sequence[str] = ()) -> Study:
    """Return the study of somebody's model.

    Args:
        experiment: Which.
        model: The model.
        assignments: Words such as `steps=50`; see `assigned`.

    Raises:
        LabError: If the experiment runs on no model but the lab's, or a setting or its value is none.
    """
    if experiment.name not in ON_TASK:
        raise LabError(
            f"{experiment.name} runs on the lab's own networks alone. On a model of yours run: "
            f"{', '.join(sorted(ON_TASK))}."
        )
    settings = assigned(ON_TASK[experiment.name].settings, assignments, owner=f"{experiment.name} on a model")
    return Study(experiment=experiment, settings=settings, model=model)


def own_model(word: str, input_words: str | None = None) -> tuple[OwnModel, Task]:
    """Return a model of somebody's as workers can find it, and the task that it is, to be sure that there is one.

    Args:
        word: `path/to/file.py:name` or `package.module:name`.
        input_words: A shape such as `8x3x32x32`, used if the builder gives no inputs.

    Raises:
        BuilderError: If the word leads nowhere, or to something else than a task.
    """
    place, colon, name = word.rpartition(":")
    if place.endswith(".py"):
        word = f"{Path(place).resolve()}{colon}{name}"  # workers may stand in other folders
    seed_everything(0)
    task = load_task(word, input_words=input_words)
    return OwnModel(word=word, code=code_of(word), input_words=input_words), task


def load_own(model: OwnModel, seed: int) -> Task:
    """Return somebody's model, built with a seed, and what it is trained on.

    Args:
        model: The model.
        seed: Of all random numbers that the builder may draw from.

    Returns:
        The task.

    Raises:
        BuilderError: If it cannot be built.
        LabError: If its file has been changed since it was to be measured.
    """
    seed_everything(seed)
    task = load_task(model.word, input_words=model.input_words, seed=seed)
    if code_of(model.word) != model.code:
        raise LabError(f"{model.word!r} was changed while it was measured. Run the experiment again.")
    return task


def study_of(config: Mapping[str, Any]) -> Study:
    """Return the study that a trial belongs to.

    Raises:
        UnknownNameError: If there is no such experiment.
        LabError: If its settings do not exist any more.
    """
    experiment = EXPERIMENTS[config["experiment"]]
    if "model" not in config:
        settings = from_config(experiment.quick, config["settings"], owner=experiment.name)
        return Study(experiment=experiment, settings=settings, version=config["isometry"])
    model = OwnModel(word=config["model"], code=config["code"], input_words=config["input"])
    usual = ON_TASK[experiment.name].settings
    settings = from_config(usual, config["settings"], owner=experiment.name)
    return Study(experiment=experiment, settings=settings, model=model, version=config["isometry"])


def code_of(word: str) -> str:
    """Return the hash of the file that a word was loaded from."""
    place = word.rpartition(":")[0]
    path = place if place.endswith(".py") else sys.modules[place].__file__
    assert path is not None, "a module with a builder in it has a file"
    return hashlib.blake2b(Path(path).read_bytes()).hexdigest()[:CODE_LENGTH]
