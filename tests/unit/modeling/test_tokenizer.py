"""Tests of loaded tokenizers and their special tokens."""

import pytest
from tiny_models import build_all_tokenizers, build_byte_tokenizer

from blossomtune.errors import UserError
from blossomtune.modeling.tokenizer import get_end_of_turn_id, load_tokenizer

TOKENIZERS = build_all_tokenizers()


@pytest.fixture(params=TOKENIZERS)
def family(request):
    return TOKENIZERS[request.param]


def test_template_decides_the_end_of_turn(family):
    tokenizer, end = family
    assert get_end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(end)


def test_template_without_end_of_turn_falls_back_to_eos():
    tokenizer = build_byte_tokenizer(
        "{% for m in messages %}{{ m.content }}{% endfor %}", None, "<eos>", []
    )
    assert get_end_of_turn_id(tokenizer) == tokenizer.eos_token_id


def test_missing_end_of_turn_and_eos_is_reported():
    tokenizer = build_byte_tokenizer(
        "{% for m in messages %}{{ m.content }}{% endfor %}", None, None, []
    )
    with pytest.raises(UserError, match="no token that ends a turn\n  hint: add eos_token"):
        get_end_of_turn_id(tokenizer)


def test_missing_chat_template_is_reported(tmp_path):
    build_byte_tokenizer(None, None, "<eos>", []).save_pretrained(tmp_path)
    with pytest.raises(UserError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        "the model has no chat template, so there is no right way to write a prompt for it\n"
        "  hint: choose an instruction-tuned model, "
        "or add chat_template.jinja to the model's folder"
    )
