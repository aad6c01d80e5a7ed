"""Weights in a file: written as safetensors, and read into a model of the same class."""

import os
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from isometry._errors import BuilderError, OutputError, describe
from isometry._files import write_atomically
from isometry.planning.materialise import memory_for


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's parameters and buffers as safetensors, tied tensors once; load them with `load_model`.

    Raises:
        OutputError: If the file cannot be written; then nothing is left half written.
    """

    def write(draft: Path) -> None:
        try:
            save_model(model, str(draft))
        except (AttributeError, NotImplementedError, RuntimeError, SafetensorError) as error:
            raise OutputError(
                f"the weights of {type(model).__name__} cannot be written as safetensors: {describe(error)}. Save them "
                "from Python instead: torch.save(model.state_dict(), path)."
            ) from error

    write_atomically(path, write)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read what `save_weights` wrote into a model of the same class and settings, in place.

    A model on the meta device gets its memory so; buffers that the file lacks are computed again.

    Raises:
        BuilderError: If there is no such file, or it does not fit the model.
        PlanError: If the file lacks a buffer of a model on the meta device, and nothing computes it again.
    """
    try:
        with safe_open(path, framework="pt") as file:
            given = frozenset(file.keys())
        with memory_for(model, torch.device("cpu"), given=given) if _is_meta(model) else nullcontext():
            load_model(model, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BuilderError(
            f"the weights {os.fspath(path)!r} cannot be read into {type(model).__name__}: {describe(error)}. Give a "
            "safetensors file with the weights of this model."
        ) from error


def _is_meta(model: nn.Module) -> bool:
    return any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
