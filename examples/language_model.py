"""A GPT-2 of four layers from its configuration, without a download; needs the package transformers.

isometry check examples/language_model.py:build
"""

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel


def build() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    config = GPT2Config(
        n_layer=4, n_embd=128, n_head=4, vocab_size=1000, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    tokens = torch.randint(config.vocab_size, (8, 64))
    return GPT2LMHeadModel(config), {"input_ids": tokens, "labels": tokens}
