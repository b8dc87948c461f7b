"""Conversations cut into prompts and answers.

What stands before an answer is exactly what the model sees when it is asked for it, and the loss
is on the answers and their ends, and on nothing else.
"""

from collections.abc import Sequence
from typing import Any

from blossomtune.chat import Turn, manner, prompt_texts
from blossomtune.errors import UserError

Pair = tuple[str, str]
"""What the chat template writes since the last answer's end, and the next answer without its."""


def cut(
    tokenizer: Any, conversations: Sequence[Sequence[Turn]], *, every_turn: bool
) -> list[list[Pair] | UserError]:
    """The pairs of each conversation.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        conversations: turns, each ending with the model's.
        every_turn: whether every answer to a user counts, or only the last.

    Returns:
        For each conversation its pairs, which together are the whole of it but for the end of its
        last turn; or why it has none.
    """
    answers = [_answers(turns) if every_turn else [len(turns) - 1] for turns in conversations]
    asked = [turns[:i] for turns, at in zip(conversations, answers, strict=True) for i in at]
    texts = iter(_each(tokenizer, asked))
    return [
        _pairs(tokenizer, [turns[i]["content"] for i in at], [next(texts) for _ in at])
        for turns, at in zip(conversations, answers, strict=True)
    ]


def whole(tokenizer: Any, pairs: Sequence[Pair]) -> str:
    """The prompt of the last of some pairs, with all that stands before it."""
    *earlier, (last, _) = pairs
    how = manner(tokenizer)
    told = (prompt + how.lead + answer + how.tail + how.end_text for prompt, answer in earlier)
    return "".join(told) + last


def _answers(turns: Sequence[Turn]) -> list[int]:
    """Where the model answers; what it says before any user does is nobody's answer."""
    first = next(i for i, turn in enumerate(turns) if turn["role"] == "user")
    return [i for i, turn in enumerate(turns) if turn["role"] == "assistant" and i > first]


def _each(tokenizer: Any, conversations: Sequence[Sequence[Turn]]) -> list[str | UserError]:
    if not conversations:
        return []
    try:
        return prompt_texts(tokenizer, conversations)
    except UserError as error:
        if len(conversations) == 1:
            return [error]
        middle = len(conversations) // 2  # find those that the template refuses
        halves = conversations[:middle], conversations[middle:]
        return [text for half in halves for text in _each(tokenizer, half)]


def _pairs(
    tokenizer: Any, answers: Sequence[str], asked: Sequence[str | UserError]
) -> list[Pair] | UserError:
    how, told, pairs = manner(tokenizer), "", []
    for answer, text in zip(answers, asked, strict=True):
        if isinstance(text, UserError):
            return text
        if not text.startswith(told):
            return UserError(
                "the model's chat template rewrites earlier turns, so that not every turn can be "
                "learned from at once",
                "loss: last_turn trains on the last answer alone",
            )
        pairs.append((text[len(told) :], answer))
        told = text + how.lead + answer + how.tail + how.end_text
    return pairs
