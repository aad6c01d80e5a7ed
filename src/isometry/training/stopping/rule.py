"""What a stopping rule is: evaluations in, one decision at a time."""

from dataclasses import dataclass
from typing import Any, Protocol

from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a rule makes of the evaluations so far.

    Attributes:
        should_stop: Whether training has gone far enough.
        reason: Why, in a sentence; also why it goes on.
        is_best: Whether this evaluation is the best so far, so that its weights are the ones to keep.
    """

    should_stop: bool
    reason: Phrase
    is_best: bool


class StoppingRule(Protocol):
    """One rule over one training; a new training needs a new rule, or its saved state."""

    @property
    def best(self) -> Evaluation | None:
        """The evaluation whose weights are the ones to keep; None before there is one."""
        ...

    def update(self, evaluation: Evaluation) -> Decision:
        """Take one evaluation in."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs: plain numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a saved state was."""
        ...
