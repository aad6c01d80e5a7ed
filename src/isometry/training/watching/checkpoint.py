"""A training on disk: weights as safetensors, the rest as a file that torch loads without running code.

Both files are written whole beside their places before the first is moved there. A process that is killed between the
two moves leaves the weights of the new step and, as `checkpoint.pt.next`, the state that belongs to them.
"""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from isometry._errors import OutputError, RunError, describe
from isometry.training.watching.snapshot import RandomState, Stateful, Training
from isometry.training.watching.wrappers import unwrapped

WEIGHTS, STATE = "checkpoint.safetensors", "checkpoint.pt"
NEXT = ".next"  # ends the name of a file that is whole and waits to be moved


class Checkpoint:
    """The state of a training in a folder; whenever the process is killed, one whole checkpoint is left.

    Args:
        folder: Where; it must exist.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    def save(self, training: Training, *, step: int) -> None:
        """Write the state of a training over the one before.

        Args:
            training: What to write.
            step: The optimiser's steps that were made, counts.

        Raises:
            OutputError: If the system, or the format, refuses to write it.
        """
        if any(hasattr(each, "to_local") for each in training.model.parameters()):
            raise OutputError(
                "each process holds a part of the weights, and a checkpoint holds whole ones. "
                "Save them by torch.distributed.checkpoint, and give snapshot_every=None here if you do not roll back"
            )
        try:
            _save(self._folder / WEIGHTS, self._folder / STATE, training=training, step=step)
        except (
            OSError,
            SafetensorError,
            RuntimeError,
            TypeError,
        ) as error:  # torch's writer raises RuntimeError on a full disk
            raise OutputError(
                f"no checkpoint can be written into {str(self._folder)!r}: {describe(error)}. "
                "Free the disk, or give snapshot_every=None for none."
            ) from error


def load_checkpoint(
    folder: str | os.PathLike[str],
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: Stateful | None = None,
    scaler: Stateful | None = None,
    stopping: Stateful | None = None,
) -> int:
    """Put a training back as its last checkpoint holds it, and the random states with it.

    Args:
        folder: Of the watched run.
        model: Of the same class and sizes as the one that was trained; its weights and buffers are written.
        optimizer: Over the same parameters; None leaves its state out.
        scheduler: As it was given to `watch`; None leaves its state out.
        scaler: Likewise.
        stopping: Likewise; the weights of its best evaluation are taken up by the run that resumes in the same folder.

    Returns:
        The optimiser's steps that were made until then: what `watch(..., first_step=...)` goes on from.

    Raises:
        RunError: If the folder holds no checkpoint, or one of another training.
    """
    weights, path = Path(folder) / WEIGHTS, Path(folder) / STATE
    whole = _state_of(weights, path)
    if whole is None:
        if weights.exists():
            raise RunError(
                f"the checkpoint in {str(folder)!r} is torn: its weights and its state do not belong together, or "
                "one of them cannot be read. Take both files from a copy, or start the training anew."
            )
        raise RunError(
            f"{str(folder)!r} holds no checkpoint. One is written there by isometry.watch(..., to=[folder], "
            "snapshot_every=100) when the run begins, and after every so many steps."
        )
    state: dict[str, Any] = torch.load(whole, weights_only=True, map_location="cpu")
    given: dict[str, Any] = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    given |= {"stopping": stopping}
    missing = [name for name, each in given.items() if each is not None and name not in state]
    if missing:
        raise RunError(
            f"the checkpoint in {str(folder)!r} holds no {missing[0]}. Give {missing[0]}=None, "
            f"or give watch(..., {missing[0]}=...) when the run is recorded."
        )
    _require_same_groups(folder, state, optimizer)
    try:
        load_model(unwrapped(model), str(weights))
    except RuntimeError as error:
        raise RunError(
            f"the checkpoint in {str(folder)!r} is of another model than {type(unwrapped(model)).__name__}: "
            f"{' '.join(str(error).split())}. Make the model as it was made for the run."
        ) from error
    for name, each in given.items():
        if each is not None:
            each.load_state_dict(state[name])
    _restore_random(state["random"])
    return int(state["step"])


def checkpoint_step(folder: Path) -> int | None:
    """Return after how many steps the checkpoint in a folder was written; None without one that is whole."""
    whole = _state_of(folder / WEIGHTS, folder / STATE)
    return None if whole is None else int(_step_of(whole) or 0)


def best_weights_in(folder: Path) -> dict[str, Tensor]:
    """Return the weights of the best evaluation that a checkpoint holds; none if it holds none."""
    whole = _state_of(folder / WEIGHTS, folder / STATE)
    return {} if whole is None else torch.load(whole, weights_only=True, map_location="cpu").get("best", {})


def _save(*place: Path, training: Training, step: int) -> None:
    weights, state = place
    if (pending := _state_of(weights, state)) is not None and pending != state:
        pending.replace(state)  # a process that was killed between its two moves
    for name, value in unwrapped(training.model).state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{name!r} of the model's state is a {type(value).__name__}, and a checkpoint holds tensors"
            )
    drafts = [path.with_name(path.name + NEXT) for path in place]
    try:
        save_model(unwrapped(training.model), str(drafts[0]), metadata={"format": "pt", "step": str(step)})
        torch.save(_states(training, step), drafts[1])
    except BaseException:
        for draft in drafts:  # halves, which fill a disk that is full already
            draft.unlink(missing_ok=True)
        raise
    drafts[0].chmod(drafts[1].stat().st_mode)  # safetensors makes private files
    drafts[0].replace(weights)
    drafts[1].replace(state)


def _states(training: Training, step: int) -> dict[str, Any]:
    now = RandomState.now(training.model)
    kind, words, *rest = now.numpy_state
    return {
        "step": step,
        "optimizer_class": type(training.optimizer).__name__,
        "optimizer": training.optimizer.state_dict(),
        **{name: each.state_dict() for name, each in (training.stateful | training.beside).items()},
        "random": {
            "torch": now.torch_state,
            "cuda": dict(now.cuda_states),
            "numpy": [kind, torch.from_numpy(words.astype(np.int64)), *rest],
            "python": now.python_state,
        },
    }


def _require_same_groups(
    folder: str | os.PathLike[str], state: dict[str, Any], optimizer: torch.optim.Optimizer | None
) -> None:
    """Refuse an optimiser of another kind or shape before anything is written."""
    if optimizer is None:
        return
    held, given = (
        [len(group["params"]) for group in groups]
        for groups in (state["optimizer"]["param_groups"], optimizer.param_groups)
    )
    kinds = state.get("optimizer_class", type(optimizer).__name__), type(optimizer).__name__
    if held != given or kinds[0] != kinds[1]:
        raise RunError(
            f"the checkpoint in {str(folder)!r} is of {kinds[0]} over groups of {held} parameters, and {kinds[1]} over "
            f"groups of {given} was given. Make the optimiser as it was made for the run; nothing has been written."
        )


def _restore_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    for card, held in state["cuda"].items():
        if card < torch.cuda.device_count():
            torch.cuda.set_rng_state(held, card)
    kind, words, *rest = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - what the loop may draw from
    random.setstate(state["python"])


def _state_of(weights: Path, state: Path) -> Path | None:
    """Return the file of the step whose weights are there; None if there is none."""
    if not weights.is_file():
        return None
    try:
        with safe_open(str(weights), "pt") as opened:
            step = (opened.metadata() or {}).get("step")
    except SafetensorError:  # torn
        return None
    for path in (state, state.with_name(state.name + NEXT)):
        if path.is_file() and _step_of(path) == step:
            return path
    return None


def _step_of(path: Path) -> str | None:
    try:
        return str(torch.load(path, weights_only=True, map_location="cpu", mmap=True)["step"])
    except (RuntimeError, OSError, KeyError):  # torn: the process was killed while it wrote
        return None
