"""Tests of the errors of preprocessing blocks."""

import pytest
from config_samples import get_errors_of_blocks

TEMPLATES = [
    ({"prompt": "x"}, "prompt needs completion beside it"),
    ({"completion": "x"}, "completion needs prompt beside it"),
    ({"text": "x", "prompt": "y", "completion": "z"}, "text and prompt exclude each other"),
    ({"text": "x", "system": "y"}, "system and text exclude each other: plain text has no turns"),
    ({"shape": "text", "system": "y"},
     "system and text exclude each other: plain text has no turns"),
    ({"shape": "alpaca", "prompt": "y", "completion": "z"},
     "shape alpaca and the template prompt exclude each other; "
     "a template says itself what the rows become"),
    ({"column": "turns"}, "column needs shape: messages, sharegpt or text beside it"),
    ({"column": "turns", "prompt": "y", "completion": "z"},
     "column and the template prompt exclude each other"),
]  # fmt: skip


@pytest.mark.parametrize(("block", "message"), TEMPLATES)
def test_conflicting_templates_are_rejected(block, message):
    assert get_errors_of_blocks(preprocessing={"p": block}) == [f"preprocessing.p: {message}"]
