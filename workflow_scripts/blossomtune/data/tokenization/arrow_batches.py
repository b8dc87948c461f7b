"""Collection of tokenized examples into Arrow batches."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from blossomtune.data.tokenization.examples import Example
from blossomtune.data.tokenization.packing import pack_examples
from blossomtune.modeling.encoding import IGNORE_INDEX

_ID_LIST = pa.list_(pa.int32())
TRAINING_SCHEMA = pa.schema([("row", pa.int32()), ("input_ids", _ID_LIST), ("labels", _ID_LIST)])
"""Columns of a client's training examples; ``row`` is the index of the client's row."""

PACKED_SCHEMA = pa.schema(
    [("input_ids", _ID_LIST), ("labels", _ID_LIST), ("seq_lengths", _ID_LIST)]
)
"""Columns of packed training examples; ``seq_lengths`` are the lengths of a row's examples."""

HELD_OUT_SCHEMA = pa.schema(
    [
        *TRAINING_SCHEMA,
        pa.field("prompt", pa.string()),
        pa.field("completion", pa.string()),
        pa.field("references", pa.list_(pa.string())),
        pa.field("question", pa.string()),
        pa.field("tool_calls", pa.string()),
    ]
)
"""Columns of held-out examples, with their texts: those of ``HeldOutTexts``."""

_MAX_PENDING_TURNS = 2000  # lists of token ids before they are converted to an array


class HeldOutTexts(NamedTuple):
    """Texts of a held-out example.

    Attributes:
        prompt: whole text before the answer; empty for plain text.
        completion: the answer without what the template adds; or plain text.
        references: other right completions.
        question: the user's text that the answer follows; empty for plain text.
        tool_calls: calls in the answer, a JSON list of name and arguments; empty without any.
    """

    prompt: str
    completion: str
    references: Sequence[str] = ()
    question: str = ""
    tool_calls: str = ""


_NO_TEXTS = HeldOutTexts("", "")


class ExampleBatchBuilder:
    """Builder of a batch from single examples.

    Attributes:
        lengths: number of tokens per example.
        completion_tokens: number of all tokens with a label.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.completion_tokens = 0
        self._rows: list[int] = []
        self._texts: list[HeldOutTexts] = []
        self._pending_turns: list[list[int]] = []
        self._input_ids: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, example: Example, texts: HeldOutTexts = _NO_TEXTS) -> None:
        """Add an example.

        Args:
            example: the example.
            texts: its texts, for ``HELD_OUT_SCHEMA``.
        """
        self.lengths.append(example.num_tokens)
        self._rows.append(example.row)
        self._texts.append(texts)
        self._pending_turns.extend(example.turn_ids)
        if len(self._pending_turns) >= _MAX_PENDING_TURNS:
            self._flatten()

    def build_batch(self, schema: pa.Schema, max_length: int) -> pa.RecordBatch:
        """Build a batch of all examples; there must be at least one.

        Args:
            schema: ``TRAINING_SCHEMA``, ``PACKED_SCHEMA`` or ``HELD_OUT_SCHEMA``.
            max_length: maximum number of tokens of a packed row.

        Returns:
            The batch.
        """
        self._flatten()
        ids, labels = (
            pa.array(np.concatenate(arrays)) for arrays in (self._input_ids, self._labels)
        )
        if schema is PACKED_SCHEMA:
            sequences = pack_examples(self.lengths, max_length)
            order = pa.array(chain.from_iterable(sequences), pa.int64())
            seq_lengths = [[self.lengths[i] for i in sequence] for sequence in sequences]
            row_lengths = [sum(lengths) for lengths in seq_lengths]
            ordered = (
                _build_list_array(a, self.lengths).take(order).flatten() for a in (ids, labels)
            )
            packed = (_build_list_array(a, row_lengths) for a in ordered)
            return pa.record_batch([*packed, seq_lengths], schema)
        columns = [
            self._rows,
            _build_list_array(ids, self.lengths),
            _build_list_array(labels, self.lengths),
        ]
        if schema is HELD_OUT_SCHEMA:
            columns += map(list, zip(*self._texts, strict=True))
        return pa.record_batch(columns, schema)

    def _flatten(self) -> None:
        lengths = [len(turn) for turn in self._pending_turns]
        ids = np.fromiter(chain.from_iterable(self._pending_turns), np.int32, sum(lengths))
        is_completion = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        self._input_ids.append(ids)
        self._labels.append(np.where(is_completion, ids, np.int32(IGNORE_INDEX)))
        self.completion_tokens += int(is_completion.sum())
        self._pending_turns = []


def _build_list_array(values: pa.Array, lengths: Sequence[int]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
