"""Split of conversations into prompts and completions.

A prompt is exactly the text that the model sees at inference. The loss is on completions and their
end-of-turn tokens only.
"""

from collections.abc import Sequence
from typing import Any

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import (
    ChatMessage,
    TurnFormat,
    detect_turn_format,
    render_prompts,
)

PromptCompletion = tuple[str, str]
"""Template text after the previous end of turn, and the next answer without its end of turn."""


def split_conversations(
    tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]], *, train_on_every_turn: bool
) -> list[list[PromptCompletion] | UserError]:
    """Split conversations into prompt-completion pairs.

    The pairs of a conversation join to its whole text, except for its last end of turn.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        conversations: messages; the last of each is the assistant's.
        train_on_every_turn: whether every answer to a user is a completion, or only the last.

    Returns:
        Pairs, or the error, per conversation.
    """
    positions = [
        _find_answer_positions(messages) if train_on_every_turn else [len(messages) - 1]
        for messages in conversations
    ]
    histories = [
        messages[:i] for messages, at in zip(conversations, positions, strict=True) for i in at
    ]
    prompts = iter(_try_render_prompts(tokenizer, histories))
    return [
        _build_prompt_completions(
            tokenizer, [messages[i]["content"] for i in at], [next(prompts) for _ in at]
        )
        for messages, at in zip(conversations, positions, strict=True)
    ]


def render_full_prompt(tokenizer: Any, prompt_completions: Sequence[PromptCompletion]) -> str:
    """Return the last pair's prompt with the whole text before it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt_completions: the pairs of a conversation.

    Returns:
        The text that the model sees at inference.
    """
    *earlier, (last_prompt, _) = prompt_completions
    turn_format = detect_turn_format(tokenizer)
    return "".join(p + _format_answer(turn_format, answer) for p, answer in earlier) + last_prompt


def _find_answer_positions(messages: Sequence[ChatMessage]) -> list[int]:
    """Return the indices of the assistant's messages after the first user message."""
    roles = [message["role"] for message in messages]
    first_user = roles.index("user")
    return [i for i, role in enumerate(roles) if role == "assistant" and i > first_user]


def _try_render_prompts(
    tokenizer: Any, conversations: Sequence[Sequence[ChatMessage]]
) -> list[str | UserError]:
    if not conversations:
        return []
    try:
        return [*render_prompts(tokenizer, conversations)]
    except UserError as error:
        if len(conversations) == 1:
            return [error]
        middle = len(conversations) // 2  # bisect for those that the template refuses
        halves = conversations[:middle], conversations[middle:]
        return [text for half in halves for text in _try_render_prompts(tokenizer, half)]


def _build_prompt_completions(
    tokenizer: Any, answers: Sequence[str], prompts: Sequence[str | UserError]
) -> list[PromptCompletion] | UserError:
    turn_format, previous, pairs = detect_turn_format(tokenizer), "", []
    for answer, text in zip(answers, prompts, strict=True):
        if isinstance(text, UserError):
            return text
        if not text.startswith(previous):
            return UserError(
                "the model's chat template rewrites earlier turns, so that not every turn can be "
                "learned from at once",
                "loss: last_turn trains on the last answer alone",
            )
        pairs.append((text[len(previous) :], answer))
        previous = text + _format_answer(turn_format, answer)
    return pairs


def _format_answer(turn_format: TurnFormat, answer: str) -> str:
    """Return an answer as the chat template writes it, with its end of turn."""
    text = turn_format.answer_prefix + answer + turn_format.answer_suffix
    return text + turn_format.end_of_turn_token
