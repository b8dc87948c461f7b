"""Rows as examples: token ids in turns, prompt and answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.data.tokenization import prompt_completion
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import RowError
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage
from blossomtune.modeling.encoding import encode_pairs, encode_texts


class Example(NamedTuple):
    """A row that can be learned from.

    Attributes:
        row: its number in the file.
        turns: token ids of prompt, answer, prompt, answer and so on; the prompt of plain text is
            empty.
        pairs: their texts.
    """

    row: int
    turn_ids: list[list[int]]
    prompt_completions: list[prompt_completion.PromptCompletion]

    @property
    def num_tokens(self) -> int:
        """How many there are."""
        return sum(map(len, self.turn_ids))

    def truncate(self, max_length: int) -> "Example | None":
        """The first ``limit`` tokens, up to the last of an answer; None if there is none."""
        turns: list[list[int]] = []
        for turn in self.turn_ids:
            turns.append(turn[:max_length])
            max_length -= len(turns[-1])
        answers = [i for i in range(1, len(turns), 2) if turns[i]]
        if not answers:
            return None
        last = answers[-1] + 1
        return Example(self.row, turns[:last], self.prompt_completions[: last // 2])


def build_examples(
    rows: Sequence[Mapping[str, Any]],
    first_row: int,
    message_builder: MessageBuilder,
    tokenizer: Any,
    train_on_every_turn: bool,
) -> Iterator[Example | RowError]:
    """Makes an example of each row.

    Args:
        rows: the rows, column by column.
        first: the number of the first of them.
        reader: what makes turns or text of a row.
        tokenizer: a Hugging Face tokenizer with a chat template.
        every_turn: whether the loss is on every answer of the model, or on the last.

    Yields:
        In the order of the rows, an example, or why the row cannot be rendered.
    """
    read = [_try_build_messages(message_builder, row) for row in rows]
    texts = [text for text in read if isinstance(text, str)]
    plain = zip(([[], ids] for ids in encode_texts(tokenizer, texts)), texts, strict=True)
    cut = prompt_completion.split_conversations(
        tokenizer, [t for t in read if isinstance(t, list)], train_on_every_turn=train_on_every_turn
    )
    parts, encoded = (
        iter(cut),
        _encode_conversations(tokenizer, [c for c in cut if isinstance(c, list)]),
    )
    for row, seen in enumerate(read, first_row):
        if isinstance(seen, str):
            turns, text = next(plain)
            yield Example(row, turns, [("", text)])
            continue
        found = seen if isinstance(seen, UserError) else next(parts)
        if isinstance(found, UserError):
            yield RowError(row, "unrenderable", found)
        else:
            yield Example(row, next(encoded), found)


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
    follows = [i > 0 for each in conversations for i in range(len(each))]
    ids = iter(encode_pairs(tokenizer, [pair for each in conversations for pair in each], follows))
    for each in conversations:
        yield [turn for _ in each for turn in next(ids)]
