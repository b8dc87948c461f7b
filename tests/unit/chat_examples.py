"""Prompts and examples of a tokenizer's chat template, for tests of later stages."""

from blossomtune.modeling import encoding
from blossomtune.modeling.chat_template import ChatTemplate


def render_prompt(tokenizer, prompt, system=None):
    """Render one user turn, after a system turn if there is one, up to the model's answer."""
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": prompt})
    return ChatTemplate(tokenizer).render(turns, add_generation_prompt=True)


def encode_example(tokenizer, prompt, completion):
    """Return ``encoding.encode_example`` by a tokenizer's chat template."""
    return encoding.encode_example(ChatTemplate(tokenizer), prompt, completion)
