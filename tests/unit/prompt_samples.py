"""Prompts with answers, and random models to score and answer them."""

from functools import partial

from tiny_architectures import TEXT_MODELS, build_text_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)

SMALL = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
END = 2

PROMPTS = [[1, 7, 8, 9], [1, 7, 8, 10, 11, 12, 13, 14], [1, 7, 8, 15, 16]]
ANSWERS = [[[20, END], [21, 22, 23, END]], [[END], [24, END]], [[25, END], [26, END]]]


def sliding():  # attends to four tokens: counting padding as distance would show
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4))


def gpt2():
    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    config.initializer_range = 0.3
    return GPT2LMHeadModel(config)


MODELS = {"sliding": sliding, "gpt2": gpt2}
MODELS |= {name: partial(build_text_model, name) for name in TEXT_MODELS}
