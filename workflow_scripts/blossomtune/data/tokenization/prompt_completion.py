"""Conversations cut into prompts and answers.

What stands before an answer is exactly what the model sees when it is asked for it, and the loss
is on the answers and their ends, and on nothing else.
"""

from collections.abc import Sequence
from typing import Any

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage, detect_turn_format, render_prompts

PromptCompletion = tuple[str, str]
"""What the chat template writes since the last answer's end, and the next answer without its."""


def split_conversations(
    tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]], *, train_on_every_turn: bool
) -> list[list[PromptCompletion] | UserError]:
    """The pairs of each conversation.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        conversations: turns, each ending with the model's.
        every_turn: whether every answer to a user counts, or only the last.

    Returns:
        For each conversation its pairs, which together are the whole of it but for the end of its
        last turn; or why it has none.
    """
    answers = [
        _find_answer_positions(turns) if train_on_every_turn else [len(turns) - 1]
        for turns in conversations
    ]
    asked = [turns[:i] for turns, at in zip(conversations, answers, strict=True) for i in at]
    texts = iter(_try_render_prompts(tokenizer, asked))
    return [
        _build_prompt_completions(
            tokenizer, [turns[i]["content"] for i in at], [next(texts) for _ in at]
        )
        for turns, at in zip(conversations, answers, strict=True)
    ]


def render_full_prompt(tokenizer: Any, prompt_completions: Sequence[PromptCompletion]) -> str:
    """The prompt of the last of some pairs, with all that stands before it."""
    *earlier, (last, _) = prompt_completions
    how = detect_turn_format(tokenizer)
    told = (
        prompt + how.answer_prefix + answer + how.answer_suffix + how.end_of_turn_token
        for prompt, answer in earlier
    )
    return "".join(told) + last


def _find_answer_positions(messages: Sequence[ChatMessage]) -> list[int]:
    """Where the model answers; what it says before any user does is nobody's answer."""
    first = next(i for i, turn in enumerate(messages) if turn["role"] == "user")
    return [i for i, turn in enumerate(messages) if turn["role"] == "assistant" and i > first]


def _try_render_prompts(
    tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]]
) -> list[str | UserError]:
    if not conversations:
        return []
    try:
        return render_prompts(tokenizer, conversations)
    except UserError as error:
        if len(conversations) == 1:
            return [error]
        middle = len(conversations) // 2  # find those that the template refuses
        halves = conversations[:middle], conversations[middle:]
        return [text for half in halves for text in _try_render_prompts(tokenizer, half)]


def _build_prompt_completions(
    tokenizer: Any, answers: Sequence[str], prompts: Sequence[str | UserError]
) -> list[PromptCompletion] | UserError:
    how, told, pairs = detect_turn_format(tokenizer), "", []
    for answer, text in zip(answers, prompts, strict=True):
        if isinstance(text, UserError):
            return text
        if not text.startswith(told):
            return UserError(
                "the model's chat template rewrites earlier turns, so that not every turn can be "
                "learned from at once",
                "loss: last_turn trains on the last answer alone",
            )
        pairs.append((text[len(told) :], answer))
        told = text + how.answer_prefix + answer + how.answer_suffix + how.end_of_turn_token
    return pairs
