"""A row group of a partition's file as a batch of examples: the work that cores share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from blossomtune.data.tokenization import prompt_completion
from blossomtune.data.tokenization.arrow_batches import (
    HELD_OUT_SCHEMA,
    PACKED_SCHEMA,
    TRAINING_SCHEMA,
    ExampleBatchBuilder,
)
from blossomtune.data.tokenization.examples import Example, build_examples
from blossomtune.data.tokenization.formats import RowFormat
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import ERROR_KINDS, MAX_SHOWN_ROWS, RowError
from blossomtune.errors import UserError

_BATCH_ROWS = (
    250  # rows that are rendered and tokenised at a time; tokenizers need much memory for it
)


class RowGroup(NamedTuple):
    """Which row group.

    Attributes:
        source: a Parquet file.
        group: the number of the row group.
        first: the number of its first row in the file.
        held_out: whether metrics are measured on it: it is never packed, and keeps its texts.
    """

    source: Path
    group_index: int
    first_row: int
    is_held_out: bool


@dataclass
class ExampleCounts:
    """What became of rows: examples and their tokens, and ``dropped`` ones by kind."""

    rows: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ERROR_KINDS, 0))
    truncated: int = 0
    packed: int = 0
    tokens: int = 0
    completion_tokens: int = 0
    longest: int = 0

    def add(self, other: "ExampleCounts") -> None:
        """Counts other rows, too."""
        for key in ("rows", "truncated", "packed", "tokens", "completion_tokens"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.dropped = {kind: self.dropped[kind] + other.dropped[kind] for kind in ERROR_KINDS}
        self.longest = max(self.longest, other.longest)


@dataclass
class TokenizedRowGroup:
    """A row group's examples, what became of the other rows, and the first of them by kind."""

    batch: pa.RecordBatch | None
    counts: ExampleCounts
    row_errors: dict[str, list[RowError]]


class RowGroupTokenizer:
    """Makes parts of tasks, all in the same way.

    Attributes:
        config: the preprocessing block.
        shape: what the rows are.
    """

    def __init__(self, config: Mapping[str, Any], row_format: RowFormat, tokenizer: Any) -> None:
        """Compiles the templates.

        Args:
            config: a preprocessing block.
            shape: what the rows are.
            tokenizer: a Hugging Face tokenizer with a chat template.

        Raises:
            UserError: where a template is not valid.
        """
        self.config, self.row_format = config, row_format
        self._message_builder, self._tokenizer = MessageBuilder(row_format), tokenizer

    def select_schema(self, is_held_out: bool) -> pa.Schema:
        """The columns of a file of examples."""
        return (
            HELD_OUT_SCHEMA
            if is_held_out
            else PACKED_SCHEMA
            if self.config["packing"]
            else TRAINING_SCHEMA
        )

    def __call__(self, row_group: RowGroup) -> TokenizedRowGroup:
        """Reads a row group and makes its examples."""
        part, kept = (
            TokenizedRowGroup(None, ExampleCounts(), {kind: [] for kind in ERROR_KINDS}),
            ExampleBatchBuilder(),
        )
        for made in self._read_examples(row_group):
            example = (
                self._enforce_max_length(made, part.counts) if isinstance(made, Example) else made
            )
            if isinstance(example, RowError):
                part.counts.dropped[example.kind] += 1
                if len(part.row_errors[example.kind]) < MAX_SHOWN_ROWS:
                    part.row_errors[example.kind].append(example)
            else:
                kept.add(
                    example,
                    self._render_prompt_completion(example) if row_group.is_held_out else ("", ""),
                )
        if kept.lengths:
            schema = self.select_schema(row_group.is_held_out)
            part.batch = kept.build_batch(schema, self.config["max_length"])
            part.counts.rows, part.counts.tokens = len(kept.lengths), sum(kept.lengths)
            part.counts.longest = max(kept.lengths)
            part.counts.completion_tokens = kept.completion_tokens
            part.counts.packed = part.batch.num_rows if schema is PACKED_SCHEMA else 0
        return part

    def _read_examples(self, row_group: RowGroup) -> Iterator[Example | RowError]:
        every, at = self.config["loss"] == "every_turn", row_group.first_row
        with parquet.ParquetFile(row_group.source) as file:
            columns = self._message_builder.select_columns(file.schema_arrow.names)
            # threads of Arrow's own would not survive a fork
            read = {
                "row_groups": [row_group.group_index],
                "columns": columns or None,
                "use_threads": False,
            }
            for batch in file.iter_batches(_BATCH_ROWS, **read):
                yield from build_examples(
                    batch.to_pylist(), at, self._message_builder, self._tokenizer, every
                )
                at += batch.num_rows

    def _enforce_max_length(self, example: Example, counts: ExampleCounts) -> Example | RowError:
        limit = self.config["max_length"]
        if example.num_tokens <= limit:
            return example
        if self.config["too_long"] == "truncate" and (shorter := example.truncate(limit)):
            counts.truncated += 1
            return shorter
        reason = UserError(f"{example.num_tokens} tokens; max_length is {limit}")
        return RowError(example.row, "too_long", reason)

    def _render_prompt_completion(self, example: Example) -> prompt_completion.PromptCompletion:
        return prompt_completion.render_full_prompt(
            self._tokenizer, example.prompt_completions
        ), example.prompt_completions[-1][1]
