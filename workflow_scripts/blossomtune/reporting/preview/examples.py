"""Read tokenized examples from the files of the preprocess stage."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blossomtune.artifacts.files import invalid_file_error, missing_file_error
from blossomtune.modeling.encoding import IGNORE_INDEX


class Example(NamedTuple):
    """A tokenized example.

    Attributes:
        name: Its place: the index of its row, or of its packed sequence.
        ids: Token ids.
        is_learnt: Per token, whether it contributes to the loss.
        texts: Names and texts of a held-out row: prompt, completion, other right completions.
    """

    name: str
    ids: list[int]
    is_learnt: list[bool]
    texts: list[tuple[str, str]]


class ExampleFile:
    """The examples of an Arrow file, which stays on the disk.

    Args:
        path: client_<i>.arrow, test.arrow or another file of the preprocess stage.

    Attributes:
        num_tokens: Tokens per example.
        num_learnt: Tokens per example that contribute to the loss.

    Raises:
        UserError: If the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
                batches = [batch for batch in stream if batch.num_rows]
        except FileNotFoundError:
            raise missing_file_error(path) from None
        except pa.ArrowInvalid as error:
            raise invalid_file_error(path, f"not a file of tokens: {error}") from None
        self._parts = [_Part(batch) for batch in batches]
        empty = [np.zeros(0, np.int64)]
        self.num_tokens = np.concatenate(empty + [part.lengths for part in self._parts])
        self.num_learnt = np.concatenate(empty + [part.num_learnt for part in self._parts])

    def __getitem__(self, position: int) -> Example:
        """Return one example."""
        first_sequence = 0
        for part in self._parts:
            if position < len(part.lengths):
                return part.get(position, first_sequence)
            position -= len(part.lengths)
            first_sequence += part.batch.num_rows
        raise IndexError(position)


class _Part:
    """The examples of a batch."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch, self._is_packed = batch, "seq_lengths" in batch.schema.names
        lengths = (
            batch["seq_lengths"].flatten()
            if self._is_packed
            else pc.list_value_length(batch["input_ids"])
        )
        self.lengths = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._ids = batch["input_ids"].flatten().to_numpy()
        self._is_learnt = batch["labels"].flatten().to_numpy() != IGNORE_INDEX
        self._is_learnt[self._starts] = False  # nothing predicts the first token of an example
        self.num_learnt = np.add.reduceat(self._is_learnt, self._starts, dtype=np.int64)

    def get(self, position: int, first_sequence: int) -> Example:
        start = self._starts[position]
        tokens = slice(start, start + self.lengths[position])
        texts = []
        if "prompt" in self.batch.schema.names:
            row = self.batch.slice(position, 1).to_pylist()[0]
            texts = [(name, row[name]) for name in ("prompt", "completion")]
            texts += [("also right", text) for text in row["references"]]
        return Example(
            self._get_name(position, first_sequence),
            self._ids[tokens].tolist(),
            self._is_learnt[tokens].tolist(),
            texts,
        )

    def _get_name(self, position: int, first_sequence: int) -> str:
        if not self._is_packed:
            return f"row {self.batch['row'][position].as_py()}"
        sizes = pc.list_value_length(self.batch["seq_lengths"]).to_numpy()
        ends = np.cumsum(sizes)
        sequence = int(np.searchsorted(ends, position, side="right"))
        place = position - ends[sequence] + sizes[sequence] + 1
        return f"sequence {first_sequence + sequence}, example {place} of {sizes[sequence]}"
