"""Account for every column and turn field: what is read, and what is ignored."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from blossomtune.artifacts.tokenized_manifest import ColumnUse
from blossomtune.data.columns import is_list_type, require_column
from blossomtune.data.template_columns import format_row_access
from blossomtune.data.tokenization.turns import TURN_FIELDS
from blossomtune.errors import UserError

_CONTENT_COLUMNS = frozenset(
    (
        *("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns"),
        *("prompt", "completion", "instruction", "input", "output", "ideal", "response"),
        *("question", "answer", "query", "context", "passage", "system", "history", "chosen"),
        *("rejected", "reasoning", "reasoning_content", "thinking", "thought", "chain_of_thought"),
        *("cot", "rationale", "explanation", "solution", "tools", "functions", "tool_calls"),
        *("image", "images", "audio", "audios", "video", "videos", "text", "documents"),
    )
)
_CONTENT_FIELDS = frozenset(
    (
        *("tools", "functions", "tool_results", "images", "image", "audio", "audios", "video"),
        *("videos", "input_audio", "text", "parts", "output", "refusal", "context", "documents"),
    )
)
_HINTS = {
    "system": 'system: "{{ system }}"',
    "tools": "shape: messages, or another shape without templates",
    "history": "shape: alpaca without templates",
}


def check_column_use(
    config: Mapping[str, Any], used: Iterable[str], files: Sequence[Path]
) -> ColumnUse:
    """Refuse columns and turn fields that look like training content and are not read.

    A name that a common format uses for content counts, and a column of turns. Columns without a
    value do not, nor those that ``ignore_columns`` names.

    Args:
        config: a preprocessing block.
        used: names of the columns that are read.
        files: Parquet files with the same columns.

    Returns:
        The columns and turn fields that are used and ignored.

    Raises:
        UserError: if content is not read, or ``ignore_columns`` names something that does not
            exist or is read.
    """
    schema, used = parquet.read_schema(files[0]), set(used)
    fields = {
        f"{column.name}.{name}": (column.name, name)
        for column in schema
        if column.name in used
        for name in _list_turn_fields(column.type)
    }
    for name in config["ignore_columns"]:
        require_column("ignore_columns", name, [*schema.names, *sorted(fields)])
        if name in used:
            raise UserError(f"ignore_columns: {name!r} is a column that is read")
    ignored = [name for name in schema.names if name not in used]
    read_fields = {
        name
        for name in fields
        if name.rpartition(".")[2] in TURN_FIELDS and name not in config["ignore_columns"]
    }
    ignored_fields = sorted(set(fields) - read_fields)
    suspects = [
        name
        for name in ignored * (used <= set(schema.names))  # else rows name the missing column
        if name.lower() in _CONTENT_COLUMNS or _list_turn_fields(schema.field(name).type)
        if not (name == "rejected" and "chosen" in used)
    ]
    suspects += [name for name in ignored_fields if name.rpartition(".")[2] in _CONTENT_FIELDS]
    for name in suspects:
        if name not in config["ignore_columns"] and _has_value(files, *fields.get(name, (name,))):
            access = name if name.isidentifier() else format_row_access(name)
            hint = _HINTS.get(
                name, f"a template that reads it, such as prompt: '{{{{ {access} }}}}'"
            )
            if name in fields:
                hint = "a column derived from it"
            raise UserError(
                f"{'turn field' if name in fields else 'column'} {name!r} looks like training "
                "content, and nothing reads it",
                f"use it by {hint}; or leave it out by ignore_columns: [{name}]",
            )
    return ColumnUse(
        columns=[name for name in schema.names if name in used],
        ignored_columns=ignored,
        turn_fields=sorted(read_fields),
        ignored_turn_fields=ignored_fields,
    )


def _list_turn_fields(kind: pa.DataType) -> list[str]:
    """Return the fields of a column of turns; an empty list for other columns."""
    if not is_list_type(kind):
        return []
    turn = kind.value_type
    if not pa.types.is_struct(turn):
        return []
    names = [field.name for field in turn]
    has_speaker, has_text = {"role", "from"} & set(names), {"content", "value"} & set(names)
    return names if has_speaker and has_text else []


def _has_value(files: Sequence[Path], column: str, field: str | None = None) -> bool:
    """Return whether a column or turn field is neither null nor empty in some row."""
    for path in files:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[column]):
                values = batch.column(column)  # `a.b` also reads the field b of a column a
                if field is not None:
                    values = values.flatten().field(field)
                if any(value not in (None, "", [], {}) for value in values.to_pylist()):
                    return True
    return False
