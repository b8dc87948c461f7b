"""Conversion of rows to examples: token ids of prompts and completions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.data.tokenization import prompt_completion
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import RowError
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage
from blossomtune.modeling.encoding import encode_pairs, encode_texts


class Example(NamedTuple):
    """A tokenized row.

    Attributes:
        row: index of the row in the file.
        turn_ids: token ids of prompt, completion, prompt, completion and so on; the prompt of
            plain text is empty.
        prompt_completions: their texts.
    """

    row: int
    turn_ids: list[list[int]]
    prompt_completions: list[prompt_completion.PromptCompletion]

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return sum(map(len, self.turn_ids))

    def truncate(self, max_length: int) -> "Example | None":
        """Truncate to ``max_length`` tokens and end with a completion; None if none is left."""
        turns: list[list[int]] = []
        for turn in self.turn_ids:
            turns.append(turn[:max_length])
            max_length -= len(turns[-1])
        completions = [i for i in range(1, len(turns), 2) if turns[i]]
        if not completions:
            return None
        end = completions[-1] + 1
        return Example(self.row, turns[:end], self.prompt_completions[: end // 2])


def build_examples(
    rows: Sequence[Mapping[str, Any]],
    first_row: int,
    message_builder: MessageBuilder,
    tokenizer: Any,
    train_on_every_turn: bool,
) -> Iterator[Example | RowError]:
    """Tokenize rows.

    Args:
        rows: the rows, each a mapping of column to value.
        first_row: index of the first row in the file.
        message_builder: converts rows to messages or text.
        tokenizer: a Hugging Face tokenizer with a chat template.
        train_on_every_turn: whether the loss is on every completion, or on the last one.

    Yields:
        An example or error per row, in order.
    """
    parsed = [_try_build_messages(message_builder, row) for row in rows]
    texts = [text for text in parsed if isinstance(text, str)]
    text_ids = iter(encode_texts(tokenizer, texts))
    conversations = prompt_completion.split_conversations(
        tokenizer,
        [messages for messages in parsed if isinstance(messages, list)],
        train_on_every_turn=train_on_every_turn,
    )
    conversation_ids = _encode_conversations(
        tokenizer, [pairs for pairs in conversations if isinstance(pairs, list)]
    )
    split = iter(conversations)
    for row, value in enumerate(parsed, first_row):
        if isinstance(value, str):
            yield Example(row, [[], next(text_ids)], [("", value)])
            continue
        pairs = value if isinstance(value, UserError) else next(split)
        if isinstance(pairs, UserError):
            yield RowError(row, "unrenderable", pairs)
        else:
            yield Example(row, next(conversation_ids), pairs)


def _try_build_messages(
    message_builder: MessageBuilder, row: Mapping[str, Any]
) -> list[ChatMessage] | str | UserError:
    try:
        return message_builder.build_messages(row)
    except UserError as error:
        return error


def _encode_conversations(
    tokenizer: Any, conversations: Sequence[Sequence[prompt_completion.PromptCompletion]]
) -> Iterator[list[list[int]]]:
    pairs = [pair for conversation in conversations for pair in conversation]
    is_continuation = [i > 0 for conversation in conversations for i in range(len(conversation))]
    ids = iter(encode_pairs(tokenizer, pairs, is_continuation))
    for conversation in conversations:
        yield [turn for _ in conversation for turn in next(ids)]
