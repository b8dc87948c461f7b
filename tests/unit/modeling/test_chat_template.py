"""Tests of rendered prompts and detected turn formats, for chat templates of four families."""

import pytest
from chat_examples import render_prompt
from tiny_models import CHATML, FAMILIES, MISTRAL, build_all_tokenizers, build_byte_tokenizer

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format

TOKENIZERS = build_all_tokenizers()


@pytest.fixture(params=TOKENIZERS)
def family(request):
    return TOKENIZERS[request.param]


def test_answer_prefix_is_the_templates_white_space(family):
    tokenizer, _ = family
    spaced = tokenizer.chat_template == MISTRAL
    assert detect_turn_format(ChatTemplate(tokenizer)).answer_prefix == (" " if spaced else "")


def test_system_turn_comes_first():
    tokenizer = build_byte_tokenizer(*FAMILIES["chatml"][:-1])
    assert render_prompt(tokenizer, "Hi", "Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_refused_system_turn_is_reported():
    tokenizer = build_byte_tokenizer(*FAMILIES["gemma"][:-1])
    with pytest.raises(
        UserError, match=r"refuses these turns: System role not supported(.|\n)*hint"
    ):
        render_prompt(tokenizer, "Hi", "Be brief.")


def test_templates_date_is_fixed():
    dated = build_byte_tokenizer(
        "\nIt is {{ strftime_now('%d %b %Y') }}\n" + CHATML, None, "<|im_end|>", []
    )
    assert render_prompt(dated, "Hi").startswith("\nIt is 01 Jan 2025\n<|im_start|>user")


def test_template_decides_the_end_of_turn(family):
    tokenizer, end = family
    assert detect_turn_format(
        ChatTemplate(tokenizer)
    ).end_of_turn_id == tokenizer.convert_tokens_to_ids(end)


def test_template_without_end_of_turn_falls_back_to_eos():
    tokenizer = build_byte_tokenizer(
        "{% for m in messages %}{{ m.content }}{% endfor %}", None, "<eos>", []
    )
    assert detect_turn_format(ChatTemplate(tokenizer)).end_of_turn_id == tokenizer.eos_token_id


def test_missing_end_of_turn_and_eos_is_reported():
    tokenizer = build_byte_tokenizer(
        "{% for m in messages %}{{ m.content }}{% endfor %}", None, None, []
    )
    with pytest.raises(UserError, match="no token that ends a turn\n  hint: add eos_token"):
        detect_turn_format(ChatTemplate(tokenizer))
