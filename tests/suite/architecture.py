"""How a real architecture is made from its configuration, small, at its own initialisation, and with which batch."""

import importlib
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isometry.anatomy.task import Task, make_task

Batch = dict[str, Any]
Settings = Mapping[str, Any]

ARCHITECTURES: dict[str, Callable[[], Task]] = {}

VOCABULARY, SAMPLES, LENGTH, CLASSES, SIDE = 96, 6, 16, 10, 32
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
RATE = 1e-3  # of Adam, as all trials of these models use


def tokens() -> Tensor:
    """Rows of tokens without the special ones."""
    return torch.randint(3, VOCABULARY, (SAMPLES, LENGTH))


def language() -> Batch:
    """Tokens that are to be predicted from themselves or from those before them."""
    rows = tokens()
    return {"input_ids": rows, "labels": rows.clone()}


def hidden_language() -> Batch:
    """Tokens of which a part is replaced and to be restored."""
    rows = tokens()
    hidden = torch.rand(rows.shape) < 0.3
    return {"input_ids": rows.masked_fill(hidden, 3), "labels": rows.masked_fill(~hidden, -100)}


def labelled_language() -> Batch:
    return {"input_ids": tokens(), "labels": torch.randint(2, (SAMPLES,))}


def translation() -> Batch:
    return {"input_ids": tokens(), "labels": tokens()}


def labelled_images() -> Batch:
    return {"pixel_values": torch.randn(16, 3, SIDE, SIDE), "labels": torch.randint(CLASSES, (16,))}


def plain_images() -> Batch:
    return {"pixel_values": torch.randn(SAMPLES, 3, SIDE, SIDE)}


def segmented_images() -> Batch:
    """Pictures of coloured squares, and the colour of each pixel."""
    labels = torch.randint(CLASSES, (SAMPLES, 4, 4)).repeat_interleave(SIDE // 4, 1).repeat_interleave(SIDE // 4, 2)
    colours = torch.randn(CLASSES, 3)[labels].permute(0, 3, 1, 2)
    return {"pixel_values": colours + 0.3 * torch.randn_like(colours), "labels": labels}


def speech() -> Batch:
    return {"input_values": torch.randn(SAMPLES, 800), "labels": torch.randint(3, VOCABULARY, (SAMPLES, 5))}


def spectra() -> Batch:
    return {"input_features": torch.randn(SAMPLES, 16, 32), "labels": tokens()[:, :8]}


def pictures_with_words() -> Batch:
    return {"input_ids": tokens(), **plain_images(), "return_loss": True}


def from_transformers(
    model: str, settings: Settings, batch: Callable[[], Batch], *, config: str = "", name: str = ""
) -> None:
    """Enter a model class of transformers; the name of its configuration follows from its own if none is given."""
    config = config or re.sub(r"(For(?!mer)[A-Z]\w*|LMHeadModel|Model)$", "", model) + "Config"

    def build() -> Task:
        transformers = importlib.import_module("transformers")
        made = getattr(transformers, model)(getattr(transformers, config)(**settings))
        return make_task(made, batch(), optimizer_factory=_adam)

    assert (name or model) not in ARCHITECTURES, model
    ARCHITECTURES[name or model] = build


def from_geometric(name: str, make: Callable[[Any], tuple[nn.Module, Any, Callable[[Any], Tensor]]]) -> None:
    """Enter a graph network; `make` gets the package and returns the model, its inputs and a loss of its outputs."""

    def build() -> Task:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            model, inputs, loss = make(importlib.import_module("torch_geometric.nn"))
        return make_task(model, inputs, loss=lambda out, _: loss(out), optimizer_factory=_adam)

    assert name not in ARCHITECTURES, name
    ARCHITECTURES[name] = build


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam([each for each in parameters if each.requires_grad], lr=RATE)
