"""Tests of the preview as text."""

from blossomtune.reporting.preview.text import render_text, render_tokens
from blossomtune.reporting.preview.tokens import Token

CONVERSATION = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "A\nb"},
    ]
}


def test_learnt_tokens_stand_between_marks(preview):
    text = render_text(preview({"north": [CONVERSATION]}, test=[CONVERSATION]))
    turn = "⟨<|im_start|>⟩│u│s│e│r│⏎│\n  H│i│⟨<|im_end|>⟩│⏎│\n"
    answer = "⟨<|im_start|>⟩│a│s│s│i│s│t│a│n│t│⏎\n  ⟦A│⏎│\n  b│⟨<|im_end|>⟩⟧\n"
    assert f"row 0: 25 tokens, 4 learnt\n  {turn}  {answer}" in text
    assert "  prompt: <|im_start|>user⏎Hi<|im_end|>⏎<|im_start|>assistant⏎\n" in text
    assert "  completion: A⏎b\n" in text


def test_a_line_ends_after_the_mark_behind_a_newline():
    tokens = [Token((1,), "a\n", True, False), Token((2,), "b", False, False)]
    assert render_tokens(tokens) == "⟦a⏎⟧\nb"


def test_head_says_what_the_manifest_says(preview):
    rows = [{"text": "long " * 30}, {"text": "short"}]
    config = {"text": "{{ text }}", "max_length": 20, "too_long": "drop", "packing": True}
    text = render_text(preview({"a\nb": rows}, test=rows, external=["south"], **config))
    assert text.startswith(
        "What tiny reads and learns\n"
        "partition halves, preprocessing plain\n"
        "One client with one example and 6 tokens, of which 100.0\u202f% are learnt.\n\n"
        "shape: text\n"
        "text: {{ text }}\n"
        "columns: text\n"
        "control tokens: rows whose text holds one are refused\n"
        "at most: 20 tokens per example\n"
        "packing: yes: one sequence; an example in a sequence attends only to itself\n"
    )
    assert "The rows of other clients are elsewhere and not shown: south." in text
    assert "client: a⏎b\n===========\n" in text
    assert (
        "1 example, 6 tokens, 6 of them learnt, the longest has 6; one row dropped (too long)"
        in text
    )
