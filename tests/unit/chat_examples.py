"""Prompts and examples of a tokenizer's chat template, for tests of later stages."""

from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.encoding import IGNORE_INDEX, encode_turns, format_answer


def render_prompt(tokenizer, prompt, system=None):
    """Render one user turn, after a system turn if there is one, up to the model's answer."""
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": prompt})
    return ChatTemplate(tokenizer).render(turns, add_generation_prompt=True)


def encode_example(tokenizer, prompt, completion):
    """Return token ids of a prompt and its answer, and labels of the answer."""
    template = ChatTemplate(tokenizer)
    ((context, answer),) = encode_turns(template, [format_answer(template, prompt, completion)])
    return [*context, *answer], [IGNORE_INDEX] * len(context) + answer
