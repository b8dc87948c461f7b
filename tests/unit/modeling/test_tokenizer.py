"""Tests of loaded tokenizers and their special tokens."""

import pytest
from tiny_models import build_byte_tokenizer

from blossomtune.errors import UserError
from blossomtune.modeling.tokenizer import load_tokenizer


def test_missing_chat_template_is_reported(tmp_path):
    build_byte_tokenizer(None, None, "<eos>", []).save_pretrained(tmp_path)
    with pytest.raises(UserError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        "the model has no chat template, so there is no right way to write a prompt for it\n"
        "  hint: choose an instruction-tuned model, "
        "or add chat_template.jinja to the model's folder"
    )
