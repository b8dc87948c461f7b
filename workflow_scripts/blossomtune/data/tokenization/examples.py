"""Conversion of rows to examples: token ids of contexts and answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.data.tokenization.conversation import Conversation
from blossomtune.data.tokenization.learnt_turns import split_conversation
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import RowError
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.encoding import TurnText, encode_texts, encode_turns
from blossomtune.work_limits import limit_work
from blossomtune.worker_notes import note_row


class Example(NamedTuple):
    """A tokenized row, or one answer of a row.

    Attributes:
        row: index of the row in the file.
        turn_ids: token ids of context, answer, context, answer and so on; the context of plain
            text is empty.
        turns: their texts; one without context for plain text.
        conversation: the row's messages; None for plain text, and if the last answer was truncated
            away.
    """

    row: int
    turn_ids: list[list[int]]
    turns: list[TurnText]
    conversation: Conversation | None = None

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return sum(map(len, self.turn_ids))

    def truncate(self, max_length: int) -> "Example | None":
        """Truncate to ``max_length`` tokens and end with an answer; None if none is left."""
        ids: list[list[int]] = []
        for turn in self.turn_ids:
            ids.append(turn[:max_length])
            max_length -= len(ids[-1])
        answers = [i for i in range(1, len(ids), 2) if ids[i]]
        if not answers:
            return None
        end = answers[-1] + 1
        conversation = self.conversation if end == len(ids) else None
        return Example(self.row, ids[:end], self.turns[: end // 2], conversation)


def build_examples(
    rows: Sequence[Mapping[str, Any]],
    first_row: int,
    message_builder: MessageBuilder,
    template: ChatTemplate,
    *,
    allow_prompt_mismatch: bool,
    last_only: bool = False,
) -> Iterator[Example | RowError]:
    """Tokenize rows.

    Args:
        rows: the rows, each a mapping of column to value.
        first_row: index of the first row in the file.
        message_builder: converts rows to messages or text.
        template: the model's chat template.
        allow_prompt_mismatch: whether an answer may follow another text than at inference.
        last_only: whether only a row's last example is returned.

    Yields:
        Examples or an error per row, in order. A row has several examples if the chat template
        rewrites earlier turns.
    """
    first = -1 if last_only else 0
    parsed: list[_SplitRow | str | UserError] = []
    with limit_work():
        for row, values in enumerate(rows, first_row):
            note_row(row)
            parsed.append(_try_split(message_builder, values, template, allow_prompt_mismatch))
    texts = [value for value in parsed if isinstance(value, str)]
    text_ids = iter(encode_texts(template, texts))
    examples = [
        turns
        for value in parsed
        if isinstance(value, _SplitRow)
        for turns in value.examples[first:]
    ]
    example_ids = _encode_examples(template, examples)
    for row, value in enumerate(parsed, first_row):
        if isinstance(value, UserError):
            yield RowError(row, "unrenderable", value)
        elif isinstance(value, str):
            yield Example(row, [[], next(text_ids)], [TurnText("", value, "")])
        else:
            for turns in value.examples[first:]:
                yield Example(row, next(example_ids), turns, value.conversation)


class _SplitRow(NamedTuple):
    examples: list[list[TurnText]]
    conversation: Conversation


def _try_split(
    message_builder: MessageBuilder,
    row: Mapping[str, Any],
    template: ChatTemplate,
    allow_prompt_mismatch: bool,
) -> _SplitRow | str | UserError:
    try:
        value = message_builder.build_conversation(row)
        if isinstance(value, str):
            return value
        column = message_builder.messages_column
        examples = split_conversation(template, value, column, allow_prompt_mismatch)
        return _SplitRow(examples, value)
    except UserError as error:
        return error


def _encode_examples(
    template: ChatTemplate, examples: Sequence[Sequence[TurnText]]
) -> Iterator[list[list[int]]]:
    turns = [turn for example in examples for turn in example]
    previous = [
        example[i - 1].end_of_turn if i else "" for example in examples for i in range(len(example))
    ]
    ids = iter(encode_turns(template, turns, previous))
    for example in examples:
        yield [part for _ in example for part in next(ids)]
