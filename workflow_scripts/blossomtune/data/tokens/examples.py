"""Rows as examples: token ids in turns, prompt and answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from blossomtune.chat import Turn
from blossomtune.data.tokens import pairs
from blossomtune.data.tokens.problems import Problem
from blossomtune.data.tokens.turns import Reader
from blossomtune.encoding import encode_pairs, encode_texts
from blossomtune.errors import UserError


class Example(NamedTuple):
    """A row that can be learned from.

    Attributes:
        row: its number in the file.
        turns: token ids of prompt, answer, prompt, answer and so on; the prompt of plain text is
            empty.
        pairs: their texts.
    """

    row: int
    turns: list[list[int]]
    pairs: list[pairs.Pair]

    @property
    def tokens(self) -> int:
        """How many there are."""
        return sum(map(len, self.turns))

    def truncated(self, limit: int) -> "Example | None":
        """The first ``limit`` tokens, up to the last of an answer; None if there is none."""
        turns: list[list[int]] = []
        for turn in self.turns:
            turns.append(turn[:limit])
            limit -= len(turns[-1])
        answers = [i for i in range(1, len(turns), 2) if turns[i]]
        if not answers:
            return None
        last = answers[-1] + 1
        return Example(self.row, turns[:last], self.pairs[: last // 2])


def make(
    rows: Sequence[Mapping[str, Any]], first: int, reader: Reader, tokenizer: Any, every_turn: bool
) -> Iterator[Example | Problem]:
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
    read = [_read(reader, row) for row in rows]
    texts = [text for text in read if isinstance(text, str)]
    plain = zip(([[], ids] for ids in encode_texts(tokenizer, texts)), texts, strict=True)
    cut = pairs.cut(tokenizer, [t for t in read if isinstance(t, list)], every_turn=every_turn)
    parts, encoded = iter(cut), _encode(tokenizer, [c for c in cut if isinstance(c, list)])
    for row, seen in enumerate(read, first):
        if isinstance(seen, str):
            turns, text = next(plain)
            yield Example(row, turns, [("", text)])
            continue
        found = seen if isinstance(seen, UserError) else next(parts)
        if isinstance(found, UserError):
            yield Problem(row, "unrenderable", found)
        else:
            yield Example(row, next(encoded), found)


def _read(reader: Reader, row: Mapping[str, Any]) -> list[Turn] | str | UserError:
    try:
        return reader.read(row)
    except UserError as error:
        return error


def _encode(tokenizer: Any, cut: Sequence[Sequence[pairs.Pair]]) -> Iterator[list[list[int]]]:
    follows = [i > 0 for each in cut for i in range(len(each))]
    ids = iter(encode_pairs(tokenizer, [pair for each in cut for pair in each], follows))
    for each in cut:
        yield [turn for _ in each for turn in next(ids)]
