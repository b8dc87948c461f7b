"""How a model's own chat template writes conversations."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blossomtune.errors import UserError

Turn = dict[str, str]
"""A turn of a conversation: ``role`` (system, user or assistant) and ``content``."""

# Some templates write today's date. Shadowed by this macro, they write the same one every day.
_ONE_DAY = "{% macro strftime_now(format) %}01 Jan 2025{% endmacro +%}"


def prompt_texts(tokenizer: Any, conversations: Sequence[Sequence[Turn]]) -> list[str]:
    """Conversations up to where the model answers, as the chat template writes them.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        conversations: turns; one at least in each.

    Raises:
        UserError: where the template refuses one of them, as Gemma's does a system turn.
    """
    return _written(tokenizer, conversations, ask=True)


def _written(tokenizer: Any, conversations: Sequence[Sequence[Turn]], *, ask: bool) -> list[str]:
    from jinja2 import TemplateError

    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _ONE_DAY + template
    try:
        return tokenizer.apply_chat_template(
            conversations, chat_template=template, tokenize=False, add_generation_prompt=ask
        )
    except TemplateError as error:
        hint = "many models know no system turn: leave `system` out, and say it in `prompt`"
        system = any(turn["role"] == "system" for turns in conversations for turn in turns)
        message = f"the model's chat template refuses these turns: {error}"
        raise UserError(message, hint if system else None) from None


@dataclass(frozen=True)
class Manner:
    """How a model's chat template writes the model's turns.

    Attributes:
        lead: white space between the prompt and an answer, which the model writes itself; Mistral's
            template has a space there.
        tail: white space between an answer and its end.
        end: the id of the token that ends a turn.
        end_text: how that token is written.
        mark: the last special token of every prompt; empty where there is none. What follows a
            special token is tokenised by itself, whatever stands before.
        rest: what a prompt says after ``mark``.
    """

    lead: str
    tail: str
    end: int
    end_text: str
    mark: str
    rest: str


@functools.lru_cache(maxsize=4)
def manner(tokenizer: Any) -> Manner:
    """Finds out how the tokenizer's chat template writes turns, by letting it write some.

    Raises:
        UserError: where neither template nor tokenizer names a token that ends a turn.
    """
    word = "blossomtune"
    turns = [{"role": "user", "content": word}, {"role": "assistant", "content": word}]
    (asked,) = _written(tokenizer, [turns[:1]], ask=True)
    before, _, after = _written(tokenizer, [turns], ask=False)[0].rpartition(word)
    lead = before.removeprefix(asked) if before.startswith(asked) else ""

    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"]
    known = tokenizer.added_tokens_decoder
    end = ids[0] if ids and ids[0] in known else tokenizer.eos_token_id
    if end is None:
        raise UserError(
            "the model's tokenizer has no token that ends a turn",
            "add eos_token to the model's tokenizer_config.json",
        )
    end_text = tokenizer.convert_ids_to_tokens(end)
    tail = after.partition(end_text)[0] if end_text in after else ""

    suffix = asked.rpartition(word)[2]
    # a token that is only found between spaces, or in normalised text, parts nothing for certain
    marks = [t.content for t in known.values() if not t.single_word and not t.normalized]
    ends = {mark: suffix.rfind(mark) + len(mark) for mark in marks if mark in suffix}
    mark = max(ends, key=lambda m: (ends[m], len(m)), default="")
    return Manner(
        lead=lead if lead.isspace() else "",
        tail=tail if tail.isspace() else "",
        end=end,
        end_text=end_text,
        mark=mark,
        rest=suffix[ends[mark] :] if mark else "",
    )
