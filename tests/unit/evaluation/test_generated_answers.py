"""Tests of the texts of generated answers."""

import pytest

from blossomtune.evaluation.generated_answers import decode_answer
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def template(tiny_model):
    return ChatTemplate(load_tokenizer(tiny_model))


@pytest.mark.parametrize("text", ["sehr gut", " sehr gut\n", "sehr gut<|im_end|>\nuser"])
def test_answer_ends_with_the_token_of_the_right_answer(template, text):
    ids = template.tokenizer(text, add_special_tokens=False)["input_ids"]
    end = template.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert decode_answer(template, ids, end) == "sehr gut"


def test_answer_without_an_end_is_kept_whole(template):
    ids = template.tokenizer("sehr gut gut", add_special_tokens=False)["input_ids"]
    assert decode_answer(template, ids, None) == "sehr gut gut"
