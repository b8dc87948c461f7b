"""Fixtures of the training tests."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    """Use one thread, as a client does by default."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def training_setup(tiny_model):
    """Return a PEFT model, its tokenizer and a dataset of 8 short rows."""
    from adapter_training import LORA, encode_texts

    from blossomtune.modeling.load import load_model
    from blossomtune.modeling.tokenizer import load_tokenizer
    from blossomtune.training import adapter

    tokenizer = load_tokenizer(tiny_model)
    model = adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)
    return model, tokenizer, encode_texts(tokenizer)
