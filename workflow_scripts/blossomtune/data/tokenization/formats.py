"""Row formats: prompt and completion, conversations, or plain text."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from blossomtune.artifacts.tokenized_manifest import FormatName, RowFormat
from blossomtune.data.columns import is_list_type, require_column
from blossomtune.errors import UserError

_ALPACA_TEMPLATES = {
    "prompt": "{{ instruction }}{% if input and input | trim %}\n\n{{ input }}{% endif %}",
    "completion": "{{ output }}",
}
_PROMPT_COMPLETION_TEMPLATES = {"prompt": "{{ prompt }}", "completion": "{{ completion }}"}
# columns by which a format is detected
_REQUIRED_COLUMNS: dict[FormatName, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "input_ideal": ("input", "ideal"),
    "text": ("text",),
}
_NESTED_COLUMNS = ("messages", "conversations", "prompt", "completion", "input", "ideal")


def resolve_format(config: Mapping[str, Any], schema: pa.Schema) -> RowFormat:
    """Return the configured row format, or else detect it by the columns.

    Args:
        config: a preprocessing block.
        schema: the rows' schema.

    Returns:
        The format.

    Raises:
        UserError: if a column is missing, the rows are preference pairs, or no format fits.
    """
    keys = ("system", "prompt", "completion", "text")
    templates = {key: config[key] for key in keys if config[key] is not None}
    if "text" in templates or "prompt" in templates:
        name: FormatName = "text" if "text" in templates else "prompt_completion"
        return RowFormat(name=name, detected=False, columns={}, templates=templates)
    name, detected = config["shape"], config["shape"] is None
    if detected:
        name = _detect_format_name(schema)
        if name == "text" and templates:
            raise UserError(
                "system: the rows are plain text, which has no turns",
                "leave `system` out, or write `prompt` and `completion`",
            )
    columns = _select_columns(config, name, schema)
    if "messages" not in columns and "text" not in columns and "prompt" not in columns:
        templates |= _get_default_templates(name, schema)
    if name != "text":
        columns |= _select_optional_columns(config, name, schema)
    return RowFormat(name=name, detected=detected, columns=columns, templates=templates)


def _select_columns(
    config: Mapping[str, Any], name: FormatName, schema: pa.Schema
) -> dict[str, str]:
    """Return the columns that a format reads without a template, by use."""
    required = _REQUIRED_COLUMNS[name]
    if name in ("messages", "sharegpt", "text"):
        column = config["column"] or required[0]
        require_column("column" if config["column"] else f"shape: {name}", column, schema.names)
        return {"text" if name == "text" else "messages": column}
    for column in required:
        require_column(f"shape: {name}", column, schema.names)
    has_turns = any(_is_list(schema, column) for column in required)
    if name == "input_ideal" or (name == "prompt_completion" and has_turns):
        return dict(zip(("prompt", "answer"), required, strict=True))
    return {}


def _select_optional_columns(
    config: Mapping[str, Any], name: FormatName, schema: pa.Schema
) -> dict[str, str]:
    """Return the columns with system turns, tools and earlier turns, where rows have them."""
    optional = ["tools"]
    if config["system"] is None:
        optional.append("system")
    if name == "alpaca":
        optional.append("history")
    ignored = config["ignore_columns"]
    return {
        column: column for column in optional if column in schema.names and column not in ignored
    }


def _get_default_templates(name: str, schema: pa.Schema) -> dict[str, str]:
    if name == "prompt_completion":
        return _PROMPT_COMPLETION_TEMPLATES
    if "input" in schema.names:
        return _ALPACA_TEMPLATES
    return _ALPACA_TEMPLATES | {"prompt": "{{ instruction }}"}


def _detect_format_name(schema: pa.Schema) -> FormatName:
    columns = ", ".join(schema.names)
    if {"chosen", "rejected"} <= set(schema.names):
        raise UserError(
            "the rows are preference pairs (chosen and rejected), and preference tuning is not "
            f"what this workflow does; columns: {columns}",
            'completion: "{{ chosen }}" with a `prompt` trains on the preferred answer'
            if _is_flat(schema, "chosen")
            else "shape: messages with column: chosen trains on the preferred answer",
        )
    for name, required in _REQUIRED_COLUMNS.items():
        if all(
            c in schema.names and (c in _NESTED_COLUMNS or _is_flat(schema, c)) for c in required
        ):
            return name
    raise UserError(
        f"the columns are of no shape that is known; columns: {columns}",
        'say what the rows become with templates, such as prompt: "{{ question }}" and '
        'completion: "{{ answer }}", or text: "{{ body }}" for plain text; '
        "or name a column of conversations with `shape` and `column`",
    )


def _is_flat(schema: pa.Schema, column: str) -> bool:
    return not pa.types.is_nested(schema.field(column).type)


def _is_list(schema: pa.Schema, column: str) -> bool:
    return is_list_type(schema.field(column).type)
