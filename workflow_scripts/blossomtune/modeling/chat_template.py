"""How a model's own chat template writes conversations."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blossomtune.errors import UserError

ChatMessage = dict[str, str]
"""A turn of a conversation: ``role`` (system, user or assistant) and ``content``."""

# Some templates write today's date. Shadowed by this macro, they write the same one every day.
_FIXED_DATE_MACRO = "{% macro strftime_now(format) %}01 Jan 2025{% endmacro +%}"


def render_prompts(tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]]) -> list[str]:
    """Conversations up to where the model answers, as the chat template writes them.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        conversations: turns; one at least in each.

    Raises:
        UserError: where the template refuses one of them, as Gemma's does a system turn.
    """
    return _apply_chat_template(tokenizer, conversations, add_generation_prompt=True)


def _apply_chat_template(
    tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]], *, add_generation_prompt: bool
) -> list[str]:
    from jinja2 import TemplateError

    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _FIXED_DATE_MACRO + template
    try:
        return tokenizer.apply_chat_template(
            conversations,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except TemplateError as error:
        hint = "many models know no system turn: leave `system` out, and say it in `prompt`"
        system = any(turn["role"] == "system" for turns in conversations for turn in turns)
        message = f"the model's chat template refuses these turns: {error}"
        raise UserError(message, hint if system else None) from None


@dataclass(frozen=True)
class TurnFormat:
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

    answer_prefix: str
    answer_suffix: str
    end_of_turn_id: int
    end_of_turn_token: str
    last_special_token: str
    prompt_suffix: str


@functools.lru_cache(maxsize=4)
def detect_turn_format(tokenizer: Any) -> TurnFormat:
    """Finds out how the tokenizer's chat template writes turns, by letting it write some.

    Raises:
        UserError: where neither template nor tokenizer names a token that ends a turn.
    """
    word = "blossomtune"
    turns = [{"role": "user", "content": word}, {"role": "assistant", "content": word}]
    (asked,) = _apply_chat_template(tokenizer, [turns[:1]], add_generation_prompt=True)
    before, _, after = _apply_chat_template(tokenizer, [turns], add_generation_prompt=False)[
        0
    ].rpartition(word)
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
    return TurnFormat(
        answer_prefix=lead if lead.isspace() else "",
        answer_suffix=tail if tail.isspace() else "",
        end_of_turn_id=end,
        end_of_turn_token=end_text,
        last_special_token=mark,
        prompt_suffix=suffix[ends[mark] :] if mark else "",
    )


def render_prompt(tokenizer: Any, prompt: str, system: str | None = None) -> str:
    """A conversation up to where the model answers, as the model's own chat template writes it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: the user's turn.
        system: a system turn before it, or None.

    Raises:
        UserError: where the template refuses such turns, as Gemma's does a system turn.
    """
    turns = [{"role": "system", "content": system}] if system is not None else []
    return render_prompts(tokenizer, [[*turns, {"role": "user", "content": prompt}]])[0]
