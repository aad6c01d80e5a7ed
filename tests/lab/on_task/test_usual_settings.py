"""All experiments with their usual settings, on sound networks."""

import pytest
import torch
from torch.nn import functional

from isometry.anatomy.task import Task, make_task
from isometry.lab.experiment import ON_TASK
from tests.lab.on_task.tasks import cnn, digits, measure, refuted


def gpt2() -> Task:
    """Return a language model that reads the pixels of an image as tokens, and names the digit."""
    import transformers as hf  # noqa: PLC0415 - an extra

    images, labels = digits()
    torch.manual_seed(0)
    configuration = hf.GPT2Config(
        n_layer=2,
        n_embd=32,
        n_head=4,
        vocab_size=17,
        n_positions=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        id2label={each: str(each) for each in range(10)},
    )
    model = hf.GPT2ForSequenceClassification(configuration)
    tokens = ((images[:200] - images.min()) / (images.max() - images.min()) * 16).round().long()
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return make_task(model, inputs, labels[:200], loss=lambda out, given: functional.cross_entropy(out.logits, given))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ON_TASK))
def test_a_sound_network_holds(name: str) -> None:
    assert refuted(name, measure(name, cnn(count=800))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["depth-scale", "kernels", "symmetry", "vanishing", "xavier"])
def test_a_language_model_holds(name: str) -> None:
    changes = {"symmetry": {"num_steps": 2}}

    assert refuted(name, measure(name, gpt2(), **changes.get(name, {}))) == []
