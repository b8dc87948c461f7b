"""Examples gathered as flat arrays, and given out as an Arrow batch."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from blossomtune.data.tokens import pairs
from blossomtune.data.tokens.examples import Example
from blossomtune.data.tokens.packing import pack
from blossomtune.encoding import IGNORED

_IDS = pa.list_(pa.int32())
TRAINING = pa.schema([("row", pa.int32()), ("input_ids", _IDS), ("labels", _IDS)])
"""Columns of a client's training examples; ``row`` is the number of the client's row."""

PACKED = pa.schema([("input_ids", _IDS), ("labels", _IDS), ("seq_lengths", _IDS)])
"""Columns of packed ones: each row holds examples of these lengths."""

HELD_OUT = pa.schema(
    [*TRAINING, pa.field("prompt", pa.string()), pa.field("completion", pa.string())]
)
"""Columns of what metrics are measured on."""

_PIECES = 2000  # lists of ids that are kept as lists until they become an array


class Gathered:
    """Examples, one after the other.

    Attributes:
        lengths: the tokens of each.
        completion_tokens: how many have a label, in all.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.completion_tokens = 0
        self._rows: list[int] = []
        self._texts: list[pairs.Pair] = []
        self._turns: list[list[int]] = []
        self._ids: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, example: Example, texts: pairs.Pair = ("", "")) -> None:
        """Adds an example, and its prompt and completion where they are wanted."""
        self.lengths.append(example.tokens)
        self._rows.append(example.row)
        self._texts.append(texts)
        self._turns.extend(example.turns)
        if len(self._turns) >= _PIECES:
            self._flatten()

    def batch(self, schema: pa.Schema, max_length: int) -> pa.RecordBatch:
        """All of them; there must be one.

        Args:
            schema: TRAINING, PACKED or HELD_OUT.
            max_length: tokens that a packed row may have.
        """
        self._flatten()
        ids, labels = (pa.array(np.concatenate(arrays)) for arrays in (self._ids, self._labels))
        if schema is PACKED:
            sequences = pack(self.lengths, max_length)
            order = pa.array(chain.from_iterable(sequences), pa.int64())
            inside = [[self.lengths[i] for i in sequence] for sequence in sequences]
            sums = [sum(lengths) for lengths in inside]
            moved = (_lists(a, self.lengths).take(order).flatten() for a in (ids, labels))
            return pa.record_batch([*(_lists(a, sums) for a in moved), inside], schema)
        columns = [self._rows, _lists(ids, self.lengths), _lists(labels, self.lengths)]
        if schema is HELD_OUT:
            columns += map(list, zip(*self._texts, strict=True))
        return pa.record_batch(columns, schema)

    def _flatten(self) -> None:
        lengths = [len(turn) for turn in self._turns]
        ids = np.fromiter(chain.from_iterable(self._turns), np.int32, sum(lengths))
        answers = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        self._ids.append(ids)
        self._labels.append(np.where(answers, ids, np.int32(IGNORED)))
        self.completion_tokens += int(answers.sum())
        self._turns = []


def _lists(values: pa.Array, lengths: Sequence[int]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
