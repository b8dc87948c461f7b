"""A row group of a partition's file as a batch of examples: the work that cores share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.tokens import pairs
from blossomtune.data.tokens.batches import HELD_OUT, PACKED, TRAINING, Gathered
from blossomtune.data.tokens.examples import Example, make
from blossomtune.data.tokens.problems import KINDS, SHOWN, Problem
from blossomtune.data.tokens.shapes import Shape
from blossomtune.data.tokens.turns import Reader
from blossomtune.errors import UserError

_BATCH = 250  # rows that are rendered and tokenised at a time; tokenizers need much memory for it


class Task(NamedTuple):
    """Which row group.

    Attributes:
        source: a Parquet file.
        group: the number of the row group.
        first: the number of its first row in the file.
        held_out: whether metrics are measured on it: it is never packed, and keeps its texts.
    """

    source: Path
    group: int
    first: int
    held_out: bool


@dataclass
class Counts:
    """What became of rows: examples and their tokens, and ``dropped`` ones by kind."""

    rows: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    truncated: int = 0
    packed: int = 0
    tokens: int = 0
    completion_tokens: int = 0
    longest: int = 0

    def add(self, other: "Counts") -> None:
        """Counts other rows, too."""
        for key in ("rows", "truncated", "packed", "tokens", "completion_tokens"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.dropped = {kind: self.dropped[kind] + other.dropped[kind] for kind in KINDS}
        self.longest = max(self.longest, other.longest)


@dataclass
class Part:
    """A row group's examples, what became of the other rows, and the first of them by kind."""

    batch: pa.RecordBatch | None
    counts: Counts
    problems: dict[str, list[Problem]]


class Work:
    """Makes parts of tasks, all in the same way.

    Attributes:
        config: the preprocessing block.
        shape: what the rows are.
    """

    def __init__(self, config: Mapping[str, Any], shape: Shape, tokenizer: Any) -> None:
        """Compiles the templates.

        Args:
            config: a preprocessing block.
            shape: what the rows are.
            tokenizer: a Hugging Face tokenizer with a chat template.

        Raises:
            UserError: where a template is not valid.
        """
        self.config, self.shape = config, shape
        self._reader, self._tokenizer = Reader(shape), tokenizer

    def schema(self, held_out: bool) -> pa.Schema:
        """The columns of a file of examples."""
        return HELD_OUT if held_out else PACKED if self.config["packing"] else TRAINING

    def __call__(self, task: Task) -> Part:
        """Reads a row group and makes its examples."""
        part, kept = Part(None, Counts(), {kind: [] for kind in KINDS}), Gathered()
        for made in self._examples(task):
            example = self._fitted(made, part.counts) if isinstance(made, Example) else made
            if isinstance(example, Problem):
                part.counts.dropped[example.kind] += 1
                if len(part.problems[example.kind]) < SHOWN:
                    part.problems[example.kind].append(example)
            else:
                kept.add(example, self._texts(example) if task.held_out else ("", ""))
        if kept.lengths:
            schema = self.schema(task.held_out)
            part.batch = kept.batch(schema, self.config["max_length"])
            part.counts.rows, part.counts.tokens = len(kept.lengths), sum(kept.lengths)
            part.counts.longest = max(kept.lengths)
            part.counts.completion_tokens = kept.completion_tokens
            part.counts.packed = part.batch.num_rows if schema is PACKED else 0
        return part

    def _examples(self, task: Task) -> Iterator[Example | Problem]:
        every, at = self.config["loss"] == "every_turn", task.first
        with parquet.ParquetFile(task.source) as file:
            columns = self._reader.columns(file.schema_arrow.names)
            # threads of Arrow's own would not survive a fork
            read = {"row_groups": [task.group], "columns": columns or None, "use_threads": False}
            for batch in file.iter_batches(_BATCH, **read):
                yield from make(batch.to_pylist(), at, self._reader, self._tokenizer, every)
                at += batch.num_rows

    def _fitted(self, example: Example, counts: Counts) -> Example | Problem:
        limit = self.config["max_length"]
        if example.tokens <= limit:
            return example
        if self.config["too_long"] == "truncate" and (shorter := example.truncated(limit)):
            counts.truncated += 1
            return shorter
        reason = UserError(f"{example.tokens} tokens; max_length is {limit}")
        return Problem(example.row, "too_long", reason)

    def _texts(self, example: Example) -> pairs.Pair:
        return pairs.whole(self._tokenizer, example.pairs), example.pairs[-1][1]
