"""Tokenization of one row group of a Parquet file, the unit of parallel work."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from blossomtune.artifacts.tokenized_manifest import RowFormat, TokenCounts
from blossomtune.data.tokenization.arrow_batches import (
    HELD_OUT_SCHEMA,
    PACKED_SCHEMA,
    TRAINING_SCHEMA,
    ExampleBatchBuilder,
    HeldOutTexts,
)
from blossomtune.data.tokenization.examples import Example, build_examples
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import ERROR_KINDS, MAX_SHOWN_ROWS, RowError
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.encoding import extract_answer
from blossomtune.worker_notes import note_file

_BATCH_ROWS = 250
"""Rows that are tokenized at a time; tokenizers need much memory per call."""


class RowGroup(NamedTuple):
    """A row group of a file.

    Attributes:
        source: a Parquet file.
        group_index: index of the row group.
        first_row: index of its first row in the file.
        is_held_out: whether it is for evaluation: it is not packed, and its texts are stored.
    """

    source: Path
    group_index: int
    first_row: int
    is_held_out: bool

    def read_rows(self, builder: MessageBuilder) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield the columns that a builder reads, some rows at a time, with the first's index."""
        row = self.first_row
        with parquet.ParquetFile(self.source) as file:
            columns = builder.select_columns(file.schema_arrow.names) or None
            # Arrow's threads do not survive a fork
            for batch in file.iter_batches(
                _BATCH_ROWS, [self.group_index], columns, use_threads=False
            ):
                yield row, batch.to_pylist()
                row += batch.num_rows


@dataclass
class ExampleCounts:
    """Counts of examples, of their tokens, and of dropped rows per kind of error.

    Attributes:
        rows: number of examples.
        dropped: number of dropped rows per kind of error.
        truncated: number of truncated examples.
        packed: number of packed sequences.
        tokens: number of all tokens.
        completion_tokens: number of tokens with a label.
        longest: tokens of the longest example.
    """

    rows: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ERROR_KINDS, 0))
    truncated: int = 0
    packed: int = 0
    tokens: int = 0
    completion_tokens: int = 0
    longest: int = 0

    def add(self, other: "ExampleCounts") -> None:
        """Add the counts of other rows."""
        for key in ("rows", "truncated", "packed", "tokens", "completion_tokens"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.dropped = {kind: self.dropped[kind] + other.dropped[kind] for kind in ERROR_KINDS}
        self.longest = max(self.longest, other.longest)

    def to_artifact(self, sha256: str, *, is_packed: bool) -> TokenCounts:
        """Return the counts for the manifest.

        Args:
            sha256: digest of the file of token ids.
            is_packed: whether the examples were packed.

        Returns:
            The counts of the file.
        """
        counts = asdict(self) | {"packed": self.packed if is_packed else None}
        return TokenCounts(**counts, sha256=sha256)


@dataclass
class TokenizedRowGroup:
    """Examples of a row group.

    Attributes:
        batch: the examples; None without any.
        counts: their counts.
        row_errors: the first errors per kind.
        dropped_rows: indices of rows without an example.
    """

    batch: pa.RecordBatch | None
    counts: ExampleCounts
    row_errors: dict[str, list[RowError]]
    dropped_rows: list[int]


class RowGroupTokenizer:
    """Tokenizer of row groups in one format.

    Args:
        config: a preprocessing block.
        row_format: the rows' format.
        template: the model's chat template.

    Attributes:
        config: the preprocessing block.
        row_format: the rows' format.
        message_builder: converter of rows to messages.
        leaks: per file and row that may not be trained on, the held-out row that it repeats.

    Raises:
        UserError: if a template is not valid.
    """

    def __init__(
        self, config: Mapping[str, Any], row_format: RowFormat, template: ChatTemplate
    ) -> None:
        self.config, self.row_format, self._template = config, row_format, template
        self.message_builder = MessageBuilder(row_format, config, template.control_tokens)
        self.leaks: Mapping[Path, Mapping[int, str]] = {}

    def select_schema(self, is_held_out: bool) -> pa.Schema:
        """Return the schema of a file of examples."""
        if is_held_out:
            return HELD_OUT_SCHEMA
        return PACKED_SCHEMA if self.config["packing"] else TRAINING_SCHEMA

    def __call__(self, row_group: RowGroup) -> TokenizedRowGroup:
        """Read a row group and tokenize its rows."""
        note_file(row_group.source.name)
        builder, counts = ExampleBatchBuilder(), ExampleCounts()
        row_errors: dict[str, list[RowError]] = {kind: [] for kind in ERROR_KINDS}
        leaks = self.leaks.get(row_group.source, {})
        with_examples, dropped = set[int](), set[int]()
        for example in self._read_examples(row_group):
            if isinstance(example, Example):
                example = self._enforce_max_length(example, counts)
            if isinstance(example, Example) and example.row in leaks:
                example = RowError(example.row, "leaks", UserError(leaks[example.row]))
            (dropped if isinstance(example, RowError) else with_examples).add(example.row)
            if isinstance(example, RowError):
                counts.dropped[example.kind] += 1
                if len(row_errors[example.kind]) < MAX_SHOWN_ROWS:
                    row_errors[example.kind].append(example)
            elif row_group.is_held_out:
                builder.add(example, self._build_held_out_texts(example))
            else:
                builder.add(example)
        dropped_rows = sorted(dropped - with_examples)
        if not builder.lengths:
            return TokenizedRowGroup(None, counts, row_errors, dropped_rows)
        schema = self.select_schema(row_group.is_held_out)
        batch = builder.build_batch(schema, self.config["max_length"])
        counts.rows, counts.tokens = len(builder.lengths), sum(builder.lengths)
        counts.longest, counts.completion_tokens = max(builder.lengths), builder.completion_tokens
        counts.packed = batch.num_rows if schema is PACKED_SCHEMA else 0
        return TokenizedRowGroup(batch, counts, row_errors, dropped_rows)

    def _read_examples(self, row_group: RowGroup) -> Iterator[Example | RowError]:
        for first_row, rows in row_group.read_rows(self.message_builder):
            yield from build_examples(
                rows,
                first_row,
                self.message_builder,
                self._template,
                allow_prompt_mismatch=self.config["prompt_mismatch"] == "warn",
                last_only=row_group.is_held_out,
            )

    def _enforce_max_length(self, example: Example, counts: ExampleCounts) -> Example | RowError:
        max_length = self.config["max_length"]
        if example.num_tokens <= max_length:
            return example
        if self.config["too_long"] == "truncate" and (truncated := example.truncate(max_length)):
            counts.truncated += 1
            return truncated
        reason = UserError(f"{example.num_tokens} tokens; max_length is {max_length}")
        return RowError(example.row, "too_long", reason)

    def _build_held_out_texts(self, example: Example) -> HeldOutTexts:
        *earlier, last = example.turns
        prompt = "".join("".join(turn) for turn in earlier) + last.context
        completion = last.answer
        if last.end_of_turn:
            completion = extract_answer(self._template, completion)
        unescape = self._template.control_tokens.unescape
        texts = HeldOutTexts(unescape(prompt), unescape(completion))
        if (conversation := example.conversation) is None:
            return texts
        return texts._replace(
            references=[unescape(text) for text in conversation.references],
            question=unescape(conversation.question),
            tool_calls=unescape(conversation.tool_calls),
        )
