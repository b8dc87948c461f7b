"""Tests of chat templates as fixed texts around messages."""

import pytest
from chat_families import FAMILIES, build_tokenizer

from blossomtune.errors import UserError
from blossomtune.export.turn_texts import derive_turn_texts
from blossomtune.modeling.chat_template import ChatTemplate

REFUSED = {
    # without a system turn, it writes one that is not like those that it is given
    "llama3",
    # the system text is a part of another turn
    *("gemma3", "gpt_oss", "mistral_nemo"),
}
CONVERSATION = [
    {"role": "system", "content": 'Answer {{ briefly }}, "please".'},
    {"role": "user", "content": "1 + 1?\n\n\tDo the `sum`."},
    {"role": "assistant", "content": "2 \\ 漢"},
    {"role": "user", "content": "a"},
]


def build_template(name):
    return ChatTemplate(build_tokenizer(name), FAMILIES[name].arguments)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - REFUSED))
def test_texts_give_the_prompts_of_the_template(name):
    template = build_template(name)
    texts = derive_turn_texts(template)
    starts = (0, 1, 3) if "system" in texts.around else (1, 3)
    for messages in (CONVERSATION[start:] for start in starts):
        assert texts.render(messages) == template.render(messages, add_generation_prompt=True)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_other_templates_are_refused(name):
    with pytest.raises(UserError, match=r"cannot be written for Ollama: .*\n  hint: .*--jinja"):
        derive_turn_texts(build_template(name))


def test_default_system_text_and_trimming_are_found():
    texts = derive_turn_texts(build_template("qwen2_5"))
    assert (texts.default_system, texts.trims) == ("You are a helpful assistant.", False)
    texts = derive_turn_texts(build_template("gemma2"))
    assert (texts.default_system, texts.trims, texts.bos) == ("", True, "<bos>")
