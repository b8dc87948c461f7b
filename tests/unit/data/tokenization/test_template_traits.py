"""Tests of messages that are adapted to how a chat template takes thoughts and calls."""

import pytest
from tiny_models import CHATML, build_byte_tokenizer

from blossomtune.data.tokenization.template_traits import adapt_message
from blossomtune.modeling.chat_template import ChatTemplate

CALLS = "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}</call>{% endfor %}"
READS_FIELD = (
    "{% for m in messages %}{{ m.role }}:{% if m.reasoning_content %}"
    "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<eos>{% endfor %}"
)
READS_INLINE = "{# <think> #}{% for m in messages %}{{ m.role }}:{{ m.content }}<eos>{% endfor %}"
FIELD = {"role": "assistant", "content": "so", "reasoning_content": "why"}
INLINE = {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nso"}


def adapt(source, message):
    return adapt_message(ChatTemplate(build_byte_tokenizer(source, None, "<eos>", [])), message)


@pytest.mark.parametrize(
    ("source", "expected"), [(READS_FIELD, FIELD), (READS_INLINE, INLINE)], ids=["field", "inline"]
)
def test_thought_goes_where_the_template_reads_it(source, expected):
    assert adapt(source, FIELD) == expected
    assert adapt(source, INLINE) == expected


def test_template_without_thoughts_gets_the_message_as_it_is():
    assert adapt(CHATML, FIELD) == FIELD
    assert adapt(CHATML, INLINE) == INLINE


def test_empty_thought_is_left_to_the_template():
    message = {"role": "assistant", "content": "<think>\n\n</think>\n\nso"}
    assert adapt(READS_FIELD, message) == {"role": "assistant", "content": "so"}


def test_other_roles_are_not_changed():
    message = {"role": "user", "content": "<think>why</think>so"}
    assert adapt(READS_FIELD, message) == message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ m.content }}" + CALLS, ""),
        ("{% if m.content is defined %}{{ m.content }}{% else %}" + CALLS + "{% endif %}", None),
        ("{{ m.content }}", ""),
    ],
)
def test_call_without_content_gets_what_the_template_expects(body, expected):
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    source = "{% for m in messages %}{{ m.role }}:" + body + "<eos>{% endfor %}"
    assert adapt(source, message)["content"] == expected
