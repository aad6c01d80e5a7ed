"""A task whose steps run with the results of some operations exchanged, for experiments on what a model would do."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from isometry.anatomy.names import names_of
from isometry.anatomy.preserve import Guard
from isometry.anatomy.record import module_calls
from isometry.anatomy.recorder import Observer, Recorder
from isometry.anatomy.task import Step, Task, tensors_in


def with_substitution(task: Task, observer: Observer) -> Task:
    """Return the same task whose every step shows an observer each operation, which may put another result in place.

    Args:
        task: The task; nothing in it is changed.
        observer: As for `record`: called with each operation as it returns; operations have the indices that they have
            on the task's own tape, as long as its steps do not depend on chance.
    """
    return replace(task, step=_Substituted(task.step, observer))


@dataclass(frozen=True, slots=True)
class _Substituted:
    step: Step
    observer: Observer

    @property
    def used(self) -> str:
        return getattr(self.step, "used", "")

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        recorder = Recorder(names_of(model), guard=Guard(model), observers=(self.observer,))
        recorder.expect(tensors_in(batch))
        with module_calls(recorder), recorder:
            return self.step(model, batch)
