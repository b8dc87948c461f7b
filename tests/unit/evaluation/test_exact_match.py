"""Tests of the comparison of generated answers."""

import pytest

from blossomtune.evaluation.exact_match import AnswerMatcher
from blossomtune.evaluation.rows import EvaluationRow
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def template(tiny_model):
    return ChatTemplate(load_tokenizer(tiny_model))


@pytest.fixture
def matcher(template):
    row = EvaluationRow(
        prompt="", completion="sehr gut", input_ids=(5, 6), completion_start=1, references=["für"]
    )
    return AnswerMatcher(template, row)


def encode(template, text):
    return template.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("text", "is_match"),
    [
        ("sehr gut", True),
        (" sehr gut\n", True),
        ("für", True),
        ("sehr", False),
        ("sehr gut!", False),
    ],
)
def test_answer_is_compared_to_the_letter(template, matcher, text, is_match):
    assert matcher.matches(encode(template, text)) == is_match


def test_every_beginning_of_a_right_answer_can_match(template, matcher):
    for text in ("sehr gut", "  sehr gut \n", "für"):
        ids = encode(template, text)
        assert all(matcher.can_match(ids[:n]) for n in range(len(ids) + 1))


@pytest.mark.parametrize("text", ["gut", "sehr schlecht", "x", "f x"])
def test_answer_that_differs_cannot_match(template, matcher, text):
    assert not matcher.can_match(encode(template, text))
