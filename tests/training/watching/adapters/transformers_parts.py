"""What the tests of TrainerWatch train; imported by their fixture, since transformers takes seconds to import."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, Trainer
from transformers import TrainingArguments as Arguments

from isometry.training import TrainerWatch

__all__ = ["Trainer", "TrainerWatch", "Weighted", "classifier", "labelled", "language_model", "texts", "trainer"]

SMALL = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(**SMALL, intermediate_size=32, num_labels=3))


def language_model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=32, n_positions=16))


def labelled(num_rows: int = 24) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 32, (num_rows, 8), generator=generator)
    return [{"input_ids": each, "labels": each.sum() % 3} for each in ids]


def texts(num_rows: int = 24) -> list[dict[str, Tensor]]:
    """Texts of different lengths, so that micro-batches hold different numbers of targets."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 32, (num_rows, 8), generator=generator)
    hidden = torch.arange(8) >= torch.randint(3, 8, (num_rows, 1), generator=generator)
    return [{"input_ids": each, "labels": each.masked_fill(mask, -100)} for each, mask in zip(ids, hidden, strict=True)]


class Weighted(Trainer):
    """Computes a loss of its own, past that of the model."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        outputs = model(**inputs)
        loss = 7 * functional.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


def trainer(kind: type[Trainer], model: Any, folder: Path, *, callbacks: Any = (), **settings: Any) -> Trainer:
    data = settings.pop("data", None) or labelled()
    evaluated = settings.pop("evaluated", None)
    plain = {"per_device_train_batch_size": 4, "num_train_epochs": 1, "use_cpu": True, "report_to": "none"}
    quiet = {"disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no"}
    arguments = Arguments(output_dir=str(folder / "trainer"), **(plain | quiet | settings))
    return kind(model, arguments, train_dataset=data, eval_dataset=evaluated, callbacks=list(callbacks))
